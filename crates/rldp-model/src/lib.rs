//! Model configurations, weights, LoRA adapters and the CPU engine for per-unit gradients.
//!
//! Shapes used throughout: B sequences in a micro-batch, T tokens of one sequence, N flattened tokens of a
//! micro-batch, C hidden size, H heads, D head dimension, V vocabulary, L layers, R LoRA rank, K adapter pairs,
//! P parameters of all pairs together.

pub mod adapter;
mod block_length;
pub mod config;
pub mod cpu;
mod device;
pub mod engine;
pub mod error;
pub mod generate;
pub mod gguf;
mod kernels;
mod merge;
mod sampling;
mod sink;
pub mod source;
mod sum_rule;
mod token_stats;
pub mod weights;

pub use adapter::{Adapter, AdapterLayout, LoraSettings, Pair, peft};
pub use config::{Activation, Family, LinearKind, LinearSpec, ModelConfig, Rope, RopeScaling, Rotation};
pub use device::DeviceChoice;
pub use engine::{Engine, EngineError, Sequence, SequenceLoss, UnitInput, UnitInvariance};
pub use error::ModelError;
pub use merge::merge;
pub use sink::{UnitGradient, UnitSink, UnitSinks};
pub use source::{ModelFiles, ModelSource};
pub use sum_rule::{NormRule, StatisticRule, SumRule, UnitSum};
pub use token_stats::{TokenStats, token_stats};
pub use weights::{BlockFormat, StoredType, TensorView, Weights};
