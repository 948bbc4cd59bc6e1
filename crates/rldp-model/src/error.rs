//! Why a model or an adapter could not be opened.

use std::{io, path::PathBuf};

use crate::config::ConfigError;

/// Error of opening, checking or writing a model or an adapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Reading or writing a file failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The path does not hold a model in a supported form.
    #[error("{path}: {reason}")]
    Source {
        /// The path as given.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The configuration was refused.
    #[error("{path}: {reason}")]
    Config {
        /// The file, or a name for an embedded one.
        path: PathBuf,
        /// What is wrong.
        reason: ConfigError,
    },
    /// A weights file is truncated, damaged or not what its index says.
    #[error("{path}: {reason}")]
    Weights {
        /// The file, or a name for embedded bytes.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A step does not fit the memory limit.
    #[error(
        "a step on {workers} threads takes about {needed} bytes of memory even with one sequence a thread, but the limit is \
         {limit}; raise the limit, cut records into shorter blocks, or run on fewer threads (RAYON_NUM_THREADS)"
    )]
    Memory {
        /// Bytes allowed.
        limit: usize,
        /// Bytes that the smallest step takes.
        needed: usize,
        /// Threads.
        workers: usize,
    },
    /// The configuration needs a tensor that no file holds.
    #[error("the weights have no tensor `{name}`{hint}")]
    MissingTensor {
        /// Full name of the tensor.
        name: String,
        /// Advice, or nothing.
        hint: &'static str,
    },
    /// A stored tensor of the decoder has no place in the configuration.
    #[error("tensor `{name}`{} is stored, but the configuration has no place for it, so that it would be left out; {hint}",
        if *others == 0 { String::new() } else { format!(" (and {others} more)") })]
    StrayTensor {
        /// Full name of the tensor.
        name: String,
        /// How many others there are.
        others: usize,
        /// What to do.
        hint: String,
    },
    /// A stored tensor does not have the shape that the configuration needs.
    #[error("tensor `{name}` is stored as {found:?}, but the configuration needs {expected:?}")]
    Shape {
        /// Full name of the tensor.
        name: String,
        /// What the configuration needs.
        expected: Vec<usize>,
        /// What is stored.
        found: Vec<usize>,
    },
    /// A tensor is stored in a type that cannot be read.
    #[error("tensor `{name}` is stored as {dtype}; supported: F32, F16, BF16")]
    StoredType {
        /// Full name of the tensor.
        name: String,
        /// The type's name in safetensors.
        dtype: String,
    },
    /// The head is declared tied to the embedding but is stored with other values.
    #[error(
        "`config.json` ties the output head to the embedding, but `lm_head.weight` is stored with other values; \
         set `tie_word_embeddings` to what the model was trained with, or remove the tensor that is not meant"
    )]
    AmbiguousHead,
    /// A LoRA setting was refused.
    #[error("{0}")]
    Lora(#[from] LoraError),
    /// An adapter folder was refused.
    #[error("{path}: {reason}")]
    Adapter {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Why LoRA settings do not fit a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// A target names no linear map of the model.
    #[error("target module `{target}` names no linear map of this {family} model; it has: {known}")]
    UnknownTarget {
        /// The refused name.
        target: String,
        /// The model's family.
        family: String,
        /// Suffix names that exist.
        known: String,
    },
    /// An empty list of targets.
    #[error("the list of target modules is empty; name at least one of: {known}")]
    NoTargets {
        /// Suffix names that exist.
        known: String,
    },
    /// The rank is zero or beyond the bound.
    #[error("LoRA rank {rank} is outside 1..={limit}")]
    Rank {
        /// The refused rank.
        rank: usize,
        /// Largest accepted rank.
        limit: usize,
    },
    /// Alpha is not a positive finite number.
    #[error("lora_alpha {alpha} is not a positive finite number")]
    Alpha {
        /// The refused value.
        alpha: f64,
    },
}
