//! Base weights: memory-mapped safetensors or GGUF, kept in their stored precision and never copied.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{ModelConfig, ModelError, config::LinearSpec};

mod blocks;
mod shard;
mod shards;
mod strays;
mod view;

pub use blocks::BlockFormat;
pub(crate) use shard::{Shard, Stored};
pub use view::{StoredType, TensorView};

/// The output head's matrix, where it is stored by itself.
const HEAD: &str = "lm_head.weight";
/// The families' embeddings.
const EMBEDDINGS: [&str; 2] = ["transformer.wte.weight", "model.embed_tokens.weight"];

/// All tensors of a model. Cloning is cheap: the clones share the same mapping.
#[derive(Clone)]
pub struct Weights {
    inner: Arc<Inner>,
    /// Whether the head's matrix stands for the embedding, which a tied model may leave out.
    embeds_by_head: bool,
}

struct Inner {
    shards: Vec<Shard>,
    tensors: HashMap<String, (usize, Stored)>,
    /// Whether all maps are stored (out, in), as in GGUF, also those of families whose safetensors have (in, out).
    out_first: bool,
}

impl Weights {
    /// Maps `model.safetensors`, or without it the shards that `model.safetensors.index.json` lists, of a Hugging Face directory.
    ///
    /// The files must not change while the weights are in use.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        Self::from_shards(shards::list(directory)?.iter().map(|path| Shard::map(path)).collect::<Result<_, _>>()?)
    }

    /// Maps one safetensors file.
    pub fn open_file(path: &Path) -> Result<Self, ModelError> {
        Self::from_shards(vec![Shard::map(path)?])
    }

    /// Reads a safetensors file held in memory, such as one embedded in the binary.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, ModelError> {
        Self::from_shards(vec![Shard::from_bytes(bytes.into())])
    }

    fn from_shards(shards: Vec<Shard>) -> Result<Self, ModelError> {
        let mut tensors = HashMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for (name, stored) in shard.read_header()? {
                if tensors.contains_key(&name) {
                    return Err(shard.refuse(format!("tensor `{name}` is stored in another shard as well")));
                }
                tensors.insert(name, (index, stored));
            }
        }
        Ok(Self { inner: Arc::new(Inner { shards, tensors, out_first: false }), embeds_by_head: false })
    }

    /// The tensors of a GGUF file under Hugging Face's names; every range lies inside the shard.
    pub(crate) fn from_gguf(shard: Shard, stored: Vec<(String, Stored)>) -> Result<Self, ModelError> {
        let mut tensors = HashMap::new();
        for (name, stored) in stored {
            if tensors.insert(name.clone(), (0, stored)).is_some() {
                return Err(shard.refuse(format!("tensor `{name}` is stored twice")));
            }
        }
        let inner = Inner { shards: vec![shard], tensors, out_first: true };
        Ok(Self { inner: Arc::new(inner), embeds_by_head: false })
    }

    /// The weights as `config` reads them: where the head is tied and stored alone, it is the embedding.
    #[must_use]
    pub(crate) fn tied(self, config: &ModelConfig) -> Self {
        let embeds_by_head =
            config.tie_word_embeddings && !self.contains(config.embedding_name()) && self.contains(HEAD);
        Self { embeds_by_head, ..self }
    }

    /// Whether the weight of a linear map is stored as (in, out).
    pub fn stores_transposed(&self, linear: &LinearSpec) -> bool {
        linear.transposed && !self.inner.out_first
    }

    /// One tensor by its full name. A checkpoint of the bare decoder, whose names lack the leading `transformer.` or
    /// `model.`, is found too.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, ModelError> {
        let (shard, stored) =
            self.find(name).ok_or_else(|| ModelError::MissingTensor { name: name.to_owned(), hint: "" })?;
        let dtype = stored.dtype.clone();
        let dtype = dtype.map_err(|dtype| ModelError::StoredType { name: name.to_owned(), dtype })?;
        let view = TensorView::new(dtype, &stored.shape, &self.inner.shards[*shard].bytes()[stored.range.clone()]);
        Ok(stored.interleaved.map_or(view, |head_dim| view.interleaved(head_dim)))
    }

    /// Whether a tensor is stored, under its full name or without the leading module.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The name under which the file has a tensor.
    pub(crate) fn stored_name(&self, name: &str) -> Option<&str> {
        let bare = || name.strip_prefix("transformer.").or_else(|| name.strip_prefix("model."));
        let stored = |name: &str| self.inner.tensors.get_key_value(name).map(|(name, _)| name.as_str());
        let by_head = || (self.embeds_by_head && EMBEDDINGS.contains(&name)).then_some(HEAD);
        stored(name).or_else(|| stored(bare()?)).or_else(|| stored(by_head()?))
    }

    /// Path, where it is a file, and bytes of every shard.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (Option<&Path>, &[u8])> {
        self.inner.shards.iter().map(|shard| (shard.path(), shard.bytes()))
    }

    /// Names of all stored tensors as they are in the files, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.inner.tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The files that are mapped, empty for embedded bytes.
    pub fn files(&self) -> Vec<PathBuf> {
        self.inner.shards.iter().filter_map(|shard| shard.path().map(Path::to_owned)).collect()
    }

    /// Checks that every tensor of `config` is stored in a readable type and in the right shape.
    pub fn check(&self, config: &ModelConfig) -> Result<(), ModelError> {
        let turned: HashSet<String> = config
            .linears()
            .iter()
            .filter(|linear| linear.transposed && self.inner.out_first)
            .map(|linear| format!("{}.weight", linear.name))
            .collect();
        for mut spec in config.tensors() {
            if turned.contains(&spec.name) {
                spec.shape.reverse();
            }
            let view = self.tensor(&spec.name).map_err(|error| match error {
                ModelError::MissingTensor { name, .. } => ModelError::MissingTensor { hint: hint(config, &name), name },
                other => other,
            })?;
            if view.shape() != spec.shape {
                return Err(ModelError::Shape { name: spec.name, expected: spec.shape, found: view.shape().to_vec() });
            }
        }
        self.check_tied_head(config)
    }

    /// A stored copy of a tied head must be the embedding; otherwise nobody can say which one is meant.
    fn check_tied_head(&self, config: &ModelConfig) -> Result<(), ModelError> {
        if !config.tie_word_embeddings || !self.contains(HEAD) {
            return Ok(());
        }
        let (head, embedding) = (self.tensor(HEAD)?, self.tensor(config.embedding_name())?);
        if head.dtype() == embedding.dtype() && head.bytes() == embedding.bytes() {
            Ok(())
        } else {
            Err(ModelError::AmbiguousHead)
        }
    }

    fn find(&self, name: &str) -> Option<&(usize, Stored)> {
        self.inner.tensors.get(self.stored_name(name)?)
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weights").field("tensors", &self.inner.tensors.len()).finish_non_exhaustive()
    }
}

fn hint(config: &ModelConfig, name: &str) -> &'static str {
    if name == HEAD && !config.tie_word_embeddings {
        "; if the head is the embedding, set `tie_word_embeddings` to true in config.json"
    } else {
        ", which config.json asks for"
    }
}
