//! Opens what `--model` names.

use std::path::{Path, PathBuf};

use crate::{
    ModelConfig, ModelError, Weights,
    gguf::{self, Embedded},
};

/// A model whose configuration and weights fit each other.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// The architecture.
    pub config: ModelConfig,
    /// The base weights.
    pub weights: Weights,
    /// The directory it came from, or that of its GGUF file; `None` for an embedded model.
    pub directory: Option<PathBuf>,
    /// What a GGUF file holds beside the weights; `None` for other models.
    pub embedded: Option<Embedded>,
    /// Names of stored tensors that are no part of the model, such as heads of other tasks.
    pub left_out: Vec<String>,
}

impl ModelFiles {
    /// Reads an embedded model: the text of its `config.json` and its safetensors.
    pub fn from_bytes(config: &str, weights: &'static [u8]) -> Result<Self, ModelError> {
        let config = ModelConfig::from_json(config)
            .map_err(|reason| ModelError::Config { path: "embedded config.json".into(), reason })?;
        Self::fitted(config, Weights::from_bytes(weights)?, None)
    }
}

impl ModelFiles {
    /// Checks that configuration and weights fit each other.
    fn fitted(config: ModelConfig, weights: Weights, directory: Option<PathBuf>) -> Result<Self, ModelError> {
        let weights = weights.tied(&config);
        weights.check(&config)?;
        let left_out = weights.strays(&config)?;
        Ok(Self { config, weights, directory, embedded: None, left_out })
    }
}

/// The forms in which a model may be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// A Hugging Face directory: `config.json` and safetensors.
    Directory(PathBuf),
    /// A `.gguf` file.
    Gguf(PathBuf),
    /// Nothing of that name is on disk, but it reads like a name on the Hugging Face hub.
    HubId(String),
    /// None of these.
    Absent(PathBuf),
    /// A file that is not a model.
    OtherFile(PathBuf),
}

impl ModelSource {
    /// Tells the forms apart; looks at the disk but opens nothing.
    pub fn classify(path: &Path) -> Self {
        let gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        match path {
            _ if path.is_dir() => Self::Directory(path.to_owned()),
            _ if gguf => Self::Gguf(path.to_owned()),
            _ if path.exists() => Self::OtherFile(path.to_owned()),
            _ => match path.to_str().filter(|name| reads_like_hub_id(name)) {
                Some(name) => Self::HubId(name.to_owned()),
                None => Self::Absent(path.to_owned()),
            },
        }
    }

    /// Opens the model that `path` names and checks its weights against its configuration.
    pub fn open(path: &Path) -> Result<ModelFiles, ModelError> {
        let refuse = |reason: String| Err(ModelError::Source { path: path.to_owned(), reason });
        match Self::classify(path) {
            Self::Directory(directory) => open_directory(directory),
            Self::Gguf(file) => gguf::open(&file),
            Self::HubId(id) => refuse(format!(
                "no such directory; to fetch {id} from the Hugging Face hub run `hf download {id} --local-dir DIR` and name DIR"
            )),
            Self::OtherFile(path) if is_pickle(&path) => refuse(
                "this reads like a pickle of PyTorch, which can run code when read and is refused; load the model in Python and \
                 call save_pretrained(DIR, safe_serialization=True), then name DIR"
                    .into(),
            ),
            Self::OtherFile(_) => refuse(
                "not a directory; name the Hugging Face directory that holds `config.json` and the weights".into(),
            ),
            Self::Absent(_) => refuse("no such directory".into()),
        }
    }
}

fn open_directory(directory: PathBuf) -> Result<ModelFiles, ModelError> {
    let path = directory.join("config.json");
    if !path.exists() {
        let adapter = directory.join("adapter_config.json").exists();
        let reason = if adapter {
            "this is an adapter, not a model: it has no `config.json`; name its base model, and the adapter with --adapter"
        } else {
            "no `config.json` in this directory; it is not a Hugging Face model"
        };
        return Err(ModelError::Source { path: directory, reason: reason.into() });
    }
    let mut config = ModelConfig::from_json(&fs_err::read_to_string(&path)?)
        .map_err(|reason| ModelError::Config { path: path.clone(), reason })?;
    let generation = directory.join("generation_config.json");
    if generation.exists() {
        let text = fs_err::read_to_string(&generation)?;
        config.take_generation(&text).map_err(|reason| ModelError::Config { path: generation, reason })?;
    }
    let weights = Weights::open(&directory)?;
    ModelFiles::fitted(config, weights, Some(directory))
}

fn is_pickle(path: &Path) -> bool {
    let known = ["bin", "pt", "pth", "pkl", "ckpt"];
    path.extension().is_some_and(|extension| known.iter().any(|pickle| extension.eq_ignore_ascii_case(pickle)))
}

/// `owner/name` or `owner/name@revision` of plain characters, with no dots that a path would have in front.
fn reads_like_hub_id(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    plain(revision) && id.split_once('/').is_some_and(|(owner, model)| plain(owner) && plain(model))
}
