//! Temporary copies of a golden model to tamper with, and a writer of safetensors.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test uses a part of it

use std::path::{Path, PathBuf};

use rldp_model::{ModelConfig, ModelFiles, ModelSource};
use safetensors::{Dtype, tensor::TensorView};
use tempfile::TempDir;

/// Path of a golden case.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/goldens").join(name)
}

/// A copy of a golden case in a temporary folder.
pub fn copy_of(name: &str) -> TempDir {
    let target = TempDir::new().unwrap();
    copy(&golden(name), target.path());
    target
}

fn copy(source: &Path, target: &Path) {
    fs_err::create_dir_all(target).unwrap();
    for entry in fs_err::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let target = target.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs_err::copy(&path, target).unwrap();
        }
    }
}

/// A tensor to write: name, type, shape, bytes.
pub type Entry = (String, Dtype, Vec<usize>, Vec<u8>);

/// Writes a safetensors file.
pub fn write(path: &Path, entries: &[Entry]) {
    fs_err::write(path, bytes(entries)).unwrap();
}

/// The bytes of a safetensors file.
pub fn bytes(entries: &[Entry]) -> Vec<u8> {
    let views = entries
        .iter()
        .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// Reads all entries of a safetensors file.
pub fn entries(path: &Path) -> Vec<Entry> {
    let bytes = fs_err::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let entry = |(name, view): (String, TensorView)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec());
    tensors.tensors().into_iter().map(entry).collect()
}

/// Changes a JSON file in place.
pub fn edit_json(path: &Path, edit: impl FnOnce(&mut serde_json::Value)) {
    let mut value = serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
    edit(&mut value);
    fs_err::write(path, value.to_string()).unwrap();
}

const TEN_BLOCKS: &str = r#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 2000,
    "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 10, "num_attention_heads": 8,
    "num_key_value_heads": 4, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "hidden_act": "silu", "tie_word_embeddings": true}"#;

/// A model with ten blocks of 256 features, written to a folder.
pub fn ten_blocks(folder: &Path) -> ModelFiles {
    let tensors = ModelConfig::from_json(TEN_BLOCKS).unwrap().tensors();
    let entries: Vec<Entry> = tensors
        .into_iter()
        .map(|spec| {
            let count: usize = spec.shape.iter().product();
            let values = (0..count).flat_map(|i| (((i * 7919 % 1009) as f32 - 504.0) / 16_000.0).to_le_bytes());
            (spec.name, Dtype::F32, spec.shape, values.collect())
        })
        .collect();
    fs_err::write(folder.join("config.json"), TEN_BLOCKS).unwrap();
    write(&folder.join("model.safetensors"), &entries);
    ModelSource::open(folder).unwrap()
}
