//! GGUF files: configuration, weights and tokenizer in one file, as llama.cpp uses them.
//!
//! Weights stay quantised in the mapped file; engines unpack the piece that a product needs. Llama's query and key maps keep
//! GGUF's order of rows and are read in Hugging Face's; GPT-2's maps are stored (out, in) there.

mod config;
mod header;
mod names;
mod tokenizer;
mod value;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use crate::{
    Family, ModelConfig, ModelError, ModelFiles, StoredType, Weights,
    weights::{Shard, Stored},
};
use header::{Header, Tensor, shown};

/// Factors of rotary frequencies; part of the configuration.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Maps a GGUF file and checks its weights against its metadata.
pub(crate) fn open(path: &Path) -> Result<ModelFiles, ModelError> {
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    read(Shard::map(path)?, Some(directory))
}

/// Reads a GGUF file held in memory.
pub fn from_bytes(bytes: Vec<u8>) -> Result<ModelFiles, ModelError> {
    read(Shard::from_bytes(bytes.into()), None)
}

fn read(shard: Shard, directory: Option<PathBuf>) -> Result<ModelFiles, ModelError> {
    let refuse = |reason: String| shard.refuse(reason);
    let header = Header::read(shard.bytes()).map_err(|reason| refuse(format!("not a readable GGUF file: {reason}")))?;
    let factors = rope_factors(&header, shard.bytes()).map_err(refuse)?;
    let json = config::json(&header, factors.as_deref()).map_err(refuse)?;
    let config = ModelConfig::from_json(&json.to_string())
        .map_err(|reason| refuse(format!("the metadata give no usable configuration: {reason}")))?;
    let tensors = header.tensors.iter().filter(|tensor| tensor.name != ROPE_FACTORS);
    let stored = tensors.map(|tensor| stored(tensor, &header, shard.bytes(), &config)).collect::<Result<Vec<_>, _>>();
    let stored = stored.map_err(refuse)?;
    check_names(&stored, &config).map_err(refuse)?;
    let tokenizer = tokenizer::json(&header.metadata).map(|json| json.map(|json| json.to_string()));
    let chat = tokenizer::chat(&header.metadata).map_err(refuse)?;
    let weights = Weights::from_gguf(shard, stored)?;
    weights.check(&config)?;
    Ok(ModelFiles {
        config,
        weights,
        directory,
        embedded: Some(Embedded { config: json.to_string(), tokenizer, chat }),
        left_out: Vec::new(),
    })
}

/// What a GGUF file holds beside the weights, in Hugging Face's forms.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Text of a `config.json`.
    pub config: String,
    /// Text of a `tokenizer.json`; `None` when the file has no tokenizer, and the reason when it has one that cannot be
    /// translated.
    pub tokenizer: Result<Option<String>, String>,
    /// The chat template, when the file has one.
    pub chat: Option<Chat>,
}

/// A chat template and the tokens that it may name.
#[derive(Clone, Debug)]
pub struct Chat {
    /// Jinja source.
    pub template: String,
    /// Text of the token that opens a sequence; empty without one.
    pub bos: String,
    /// Text of the token that ends a sequence; empty without one.
    pub eos: String,
}

/// The tensor under Hugging Face's name, and where it lies.
fn stored(tensor: &Tensor, header: &Header, bytes: &[u8], config: &ModelConfig) -> Result<(String, Stored), String> {
    let shown = shown(&tensor.name);
    let name = names::hugging_face(config.family, &tensor.name)
        .ok_or_else(|| format!("tensor `{shown}` is not part of a {} model", config.family))?;
    let dtype = tensor.dtype.map_err(|number| {
        format!(
            "tensor `{shown}` has GGML's type {number}; supported: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K"
        )
    })?;
    let range = range(tensor, dtype, header, bytes.len()).ok_or_else(|| {
        format!("tensor `{shown}` does not lie inside the file, or its rows are not whole blocks; the file is truncated or damaged")
    })?;
    let turned =
        config.family == Family::Llama && (tensor.name.contains(".attn_q.") || tensor.name.contains(".attn_k."));
    let shape = tensor.shape.clone();
    Ok((name, Stored { dtype: Ok(dtype), shape, range, interleaved: turned.then_some(config.head_dim) }))
}

fn range(tensor: &Tensor, dtype: StoredType, header: &Header, length: usize) -> Option<std::ops::Range<usize>> {
    let elements = tensor.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))?;
    if !tensor.shape.last().copied().unwrap_or(1).is_multiple_of(dtype.piece()) {
        return None;
    }
    let bytes = (elements / dtype.piece()).checked_mul(dtype.piece_bytes())?;
    let start = header.data.checked_add(usize::try_from(tensor.offset).ok()?)?;
    let end = start.checked_add(bytes)?;
    (end <= length).then_some(start..end)
}

fn rope_factors(header: &Header, bytes: &[u8]) -> Result<Option<Vec<f32>>, String> {
    let Some(tensor) = header.tensors.iter().find(|tensor| tensor.name == ROPE_FACTORS) else { return Ok(None) };
    let range = (tensor.dtype == Ok(StoredType::F32)).then(|| range(tensor, StoredType::F32, header, bytes.len()));
    let range = range.flatten().ok_or_else(|| format!("`{ROPE_FACTORS}` is not stored as F32 inside the file"))?;
    let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(Some(bytes[range].chunks_exact(4).map(value).collect()))
}

/// A tensor that the configuration does not use would be left out of the computation: it is refused.
fn check_names(stored: &[(String, Stored)], config: &ModelConfig) -> Result<(), String> {
    let known: HashSet<String> = config.tensors().into_iter().map(|tensor| tensor.name).collect();
    match stored.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => {
            Err(format!("tensor `{name}` (Hugging Face's name) has no place in this {} model", config.family))
        }
        None => Ok(()),
    }
}
