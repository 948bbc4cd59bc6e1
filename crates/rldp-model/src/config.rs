//! What a supported architecture is made of, independent of where its weights lie.

use std::fmt;

use serde::{Deserialize, Serialize};

mod json;
mod keys;
mod rope;
mod rotary;
mod tensors;
mod validate;

pub use json::ConfigError;
pub use rope::Rotation;
pub use tensors::TensorSpec;

/// The model families that rldp can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// GPT-2: learned positions, LayerNorm, fused query-key-value, weights stored as (in, out).
    Gpt2,
    /// Llama: RoPE, RMSNorm, gated MLP, grouped-query attention.
    Llama,
    /// Mistral: Llama with a sliding attention window.
    Mistral,
    /// Qwen 2 and 2.5: Llama with biases on query, key and value.
    Qwen2,
    /// Qwen 3: Llama with a norm on every query and key head.
    Qwen3,
    /// Gemma 1: Llama with GELU in the gate, scaled embeddings and norms whose weights are stored less one.
    Gemma,
}

impl Family {
    /// All supported families.
    pub const ALL: [Self; 6] = [Self::Gpt2, Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3, Self::Gemma];

    /// The name in `config.json`'s `model_type`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma => "gemma",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type())
    }
}

/// The MLP's activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU by the tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// GELU by the error function (`gelu`).
    Gelu,
    /// x · sigmoid(x) (`silu`, `swish`).
    Silu,
}

/// Rotary position embedding, in the half-split convention of Hugging Face.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the geometric progression of wavelengths.
    pub theta: f64,
    /// How frequencies are stretched for long contexts.
    pub scaling: RopeScaling,
}

/// Frequency scaling of RoPE.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// All frequencies divided by `factor` (`rope_type: linear`).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3's interpolation between scaled low and unscaled high frequencies (`rope_type: llama3`).
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` are scaled.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` are left alone.
        high_freq_factor: f64,
        /// Context length of pretraining.
        original_max_positions: f64,
    },
    /// Longer sequences take a larger base (NTK scaling of bloc97 and emozilla; `rope_type: dynamic`).
    Dynamic {
        /// How much of the excess length goes into the base.
        factor: f64,
        /// Sequences up to this length turn as they are.
        max_positions: usize,
    },
    /// Low frequencies are stretched and high ones left alone, with a ramp between (Peng et al., arXiv 2309.00071;
    /// `rope_type: yarn`).
    Yarn {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Turns over the original context from which frequencies are left alone.
        beta_fast: f64,
        /// Turns over the original context up to which they are divided by `factor`.
        beta_slow: f64,
        /// Context length of pretraining.
        original_max_positions: f64,
        /// Whether the ramp begins and ends at whole pairs of features.
        truncate: bool,
        /// What cosines and sines are multiplied with.
        magnitude: f64,
    },
    /// A divisor for every frequency, one set for short sequences and one for long ones (Ding et al., arXiv 2402.13753;
    /// `rope_type: longrope`).
    LongRope {
        /// Divisors (D / 2) of sequences up to the original context.
        short: Vec<f64>,
        /// Divisors (D / 2) of longer ones.
        long: Vec<f64>,
        /// Context length of pretraining.
        original_max_positions: f64,
        /// What cosines and sines are multiplied with.
        magnitude: f64,
    },
}

/// The role of a linear map inside a block; each may carry an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LinearKind {
    /// GPT-2's `attn.c_attn`: query, key and value stacked, (C → 3C).
    QueryKeyValue,
    /// `self_attn.q_proj`.
    Query,
    /// `self_attn.k_proj`.
    Key,
    /// `self_attn.v_proj`.
    Value,
    /// `self_attn.o_proj` or `attn.c_proj`.
    AttentionOutput,
    /// `mlp.gate_proj`.
    MlpGate,
    /// `mlp.up_proj` or `mlp.c_fc`.
    MlpUp,
    /// `mlp.down_proj` or `mlp.c_proj`.
    MlpDown,
}

/// One linear map of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearSpec {
    /// Hugging Face module path, such as `model.layers.0.self_attn.q_proj` or `transformer.h.0.attn.c_attn`.
    pub name: String,
    /// Block index, counted from the input.
    pub layer: usize,
    /// Role in the block.
    pub kind: LinearKind,
    /// Input features.
    pub in_features: usize,
    /// Output features.
    pub out_features: usize,
    /// Whether the map adds a bias.
    pub bias: bool,
    /// Whether the weight is stored as (in, out), as GPT-2's Conv1D does, instead of (out, in).
    pub transposed: bool,
}

/// A supported architecture with all sizes resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Which family's block is built.
    pub family: Family,
    /// V, vocabulary size (rows of the embedding).
    pub vocab_size: usize,
    /// C, hidden size.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// L, number of blocks.
    pub layers: usize,
    /// H, query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// D, size of one head.
    pub head_dim: usize,
    /// Longest sequence the positions support, in tokens.
    pub max_positions: usize,
    /// Epsilon inside the norm's square root.
    pub norm_epsilon: f32,
    /// The MLP's activation.
    pub activation: Activation,
    /// Rotary embedding; `None` for GPT-2's learned positions.
    pub rope: Option<Rope>,
    /// Attention reaches back over at most this many tokens, the token itself included.
    pub sliding_window: Option<usize>,
    /// Whether the output head is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// Whether q, k, v and o projections have biases (always true for GPT-2; in Qwen 2 all but o have them).
    pub attention_bias: bool,
    /// Whether the MLP's maps have biases (always true for GPT-2).
    pub mlp_bias: bool,
    /// Token that opens a sequence, when the model has one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a sequence.
    pub eos_token_ids: Vec<u32>,
}

impl ModelConfig {
    /// The linear maps of one block in the order of the forward pass.
    pub fn block_linears(&self, layer: usize) -> Vec<LinearSpec> {
        let (c, m) = (self.hidden_size, self.intermediate_size);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let spec = |path: &str, kind, in_features, out_features, bias, transposed| LinearSpec {
            name: match self.family {
                Family::Gpt2 => format!("transformer.h.{layer}.{path}"),
                _ => format!("model.layers.{layer}.{path}"),
            },
            layer,
            kind,
            in_features,
            out_features,
            bias,
            transposed,
        };
        match self.family {
            Family::Gpt2 => vec![
                spec("attn.c_attn", LinearKind::QueryKeyValue, c, 3 * c, true, true),
                spec("attn.c_proj", LinearKind::AttentionOutput, c, c, true, true),
                spec("mlp.c_fc", LinearKind::MlpUp, c, m, true, true),
                spec("mlp.c_proj", LinearKind::MlpDown, m, c, true, true),
            ],
            _ => vec![
                spec("self_attn.q_proj", LinearKind::Query, c, q, self.attention_bias, false),
                spec("self_attn.k_proj", LinearKind::Key, c, kv, self.attention_bias, false),
                spec("self_attn.v_proj", LinearKind::Value, c, kv, self.attention_bias, false),
                spec("self_attn.o_proj", LinearKind::AttentionOutput, q, c, self.attention_output_bias(), false),
                spec("mlp.gate_proj", LinearKind::MlpGate, c, m, self.mlp_bias, false),
                spec("mlp.up_proj", LinearKind::MlpUp, c, m, self.mlp_bias, false),
                spec("mlp.down_proj", LinearKind::MlpDown, m, c, self.mlp_bias, false),
            ],
        }
    }

    fn attention_output_bias(&self) -> bool {
        self.attention_bias && self.family != Family::Qwen2
    }

    /// What token embeddings are multiplied with: √C in Gemma, else 1.
    pub fn embedding_scale(&self) -> f32 {
        if self.family == Family::Gemma { (self.hidden_size as f32).sqrt() } else { 1.0 }
    }

    /// What is added to the stored weight of every norm: 1 in Gemma, else 0.
    pub fn norm_offset(&self) -> f32 {
        if self.family == Family::Gemma { 1.0 } else { 0.0 }
    }

    /// All linear maps of the model, block after block.
    pub fn linears(&self) -> Vec<LinearSpec> {
        (0..self.layers).flat_map(|layer| self.block_linears(layer)).collect()
    }
}
