//! Finds the safetensors files of a Hugging Face directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use crate::ModelError;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// `model.safetensors.index.json`: which shard holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Paths of the shards, in the order of their names.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, ModelError> {
    // As in `transformers`: beside a single file, an index is what an earlier version of the model left behind.
    let single = directory.join(SINGLE);
    if single.exists() {
        return Ok(vec![single]);
    }
    let index = directory.join(INDEX);
    if index.exists() {
        return from_index(directory, &index);
    }
    Err(ModelError::Source { path: directory.to_owned(), reason: absent(directory) })
}

fn from_index(directory: &Path, path: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let refuse = |reason: String| ModelError::Weights { path: path.to_owned(), reason };
    let index: Index = serde_json::from_str(&fs_err::read_to_string(path)?)
        .map_err(|error| refuse(format!("not a valid index of shards: {error}")))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(refuse("`weight_map` lists no shard".into()));
    }
    names.iter().map(|name| shard(directory, name).map_err(refuse)).collect()
}

/// A shard must be a plain file name: an index may not reach outside its own directory.
fn shard(directory: &Path, name: &str) -> Result<PathBuf, String> {
    let mut components = Path::new(name).components();
    let plain = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    if !plain || name.contains(['/', '\\']) {
        return Err(format!("shard `{name}` is not a plain file name inside the model's directory"));
    }
    let path = directory.join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("shard `{name}` is listed but absent; the download is incomplete"))
    }
}

/// Why there are no weights, as precisely as the directory tells.
fn absent(directory: &Path) -> String {
    let pickles = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
    if let Some(pickle) = pickles.into_iter().find(|name| directory.join(name).exists()) {
        return format!(
            "the weights are a pickle (`{pickle}`), which can run code when read and is refused; convert it to safetensors in Python: \
             AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR, safe_serialization=True)"
        );
    }
    format!("no `{SINGLE}` and no `{INDEX}` in this directory")
}
