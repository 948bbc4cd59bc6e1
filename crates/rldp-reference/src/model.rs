//! The decoder: embedding, blocks of attention and MLP, output head.

use std::collections::HashMap;

use candle_core::{Device, Result, Tensor};
use rldp_model::{EngineError, Family, LinearKind, LinearSpec, ModelConfig, ModelFiles, Weights};

use crate::{
    lora::Lora,
    nn::{Norm, activate, backend, softmax},
    positions::{Rotation, mask},
};

/// A model with all weights in f32 on one device.
pub(crate) struct Model {
    pub(crate) config: ModelConfig,
    pub(crate) device: Device,
    weights: HashMap<String, Tensor>,
    /// The stored weights, which know how they are laid out.
    stored: Weights,
}

/// What is the same in all blocks of one forward pass.
struct Pass<'a> {
    model: &'a Model,
    lora: Option<&'a Lora>,
    /// (T, T).
    mask: Tensor,
    rotation: Option<Rotation>,
}

impl Model {
    pub(crate) fn load(files: &ModelFiles, device: Device) -> std::result::Result<Self, EngineError> {
        let mut weights = HashMap::new();
        for spec in files.config.tensors() {
            let view = files.weights.tensor(&spec.name).map_err(|error| EngineError::Backend(error.to_string()))?;
            let tensor = Tensor::from_vec(view.to_f32_vec(), view.shape(), &device).map_err(backend)?;
            weights.insert(spec.name, tensor);
        }
        Ok(Self { config: files.config.clone(), device, weights, stored: files.weights.clone() })
    }

    /// Logits (T, V) of one sequence of at least one token.
    pub(crate) fn logits(&self, tokens: &[u32], lora: Option<&Lora>) -> Result<Tensor> {
        let config = &self.config;
        let length = tokens.len();
        let rotation =
            config.rope.as_ref().map(|rope| Rotation::new(rope, config, length, &self.device)).transpose()?;
        let pass = Pass { model: self, lora, mask: mask(length, config.sliding_window, &self.device)?, rotation };
        let mut x = self.embed(tokens)?;
        for layer in 0..config.layers {
            x = pass.block(layer, &x)?;
        }
        let x = self.norm(config.final_norm()).apply(&x)?;
        x.matmul(&self.weights[config.head_name()].t()?)
    }

    /// Token embeddings plus, in GPT-2, those of the positions, (T, C).
    fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        let ids = Tensor::from_slice(tokens, tokens.len(), &self.device)?;
        let x = self.weights[self.config.embedding_name()].index_select(&ids, 0)?;
        let x = (x * f64::from(self.config.embedding_scale()))?;
        match self.config.position_name() {
            Some(name) => x + self.weights[name].narrow(0, 0, tokens.len())?,
            None => Ok(x),
        }
    }

    fn norm(&self, module: &str) -> Norm {
        Norm {
            weight: self.weights[&format!("{module}.weight")].clone(),
            offset: f64::from(self.config.norm_offset()),
            bias: self.weights.get(&format!("{module}.bias")).cloned(),
            epsilon: f64::from(self.config.norm_epsilon),
        }
    }
}

impl Pass<'_> {
    /// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
    fn block(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let [before_attention, before_mlp] = self.model.config.block_norms(layer).map(|name| self.model.norm(&name));
        let linears = self.model.config.block_linears(layer);
        let x = (x + self.attention(layer, &linears, &before_attention.apply(x)?)?)?;
        &x + self.mlp(&linears, &before_mlp.apply(&x)?)?
    }

    /// Causal attention with grouped queries, (T, C) to (T, C).
    fn attention(&self, layer: usize, linears: &[LinearSpec], x: &Tensor) -> Result<Tensor> {
        let ModelConfig { heads, kv_heads, head_dim, .. } = self.model.config;
        let [q, k, v] = self.queries_keys_values(linears, x)?;
        let (mut q, mut k) = (split_heads(&q, heads, head_dim)?, split_heads(&k, kv_heads, head_dim)?);
        let v = repeat_heads(&split_heads(&v, kv_heads, head_dim)?, heads / kv_heads)?;
        if let Some([query, key]) = self.model.config.head_norms(layer) {
            (q, k) = (self.model.norm(&query).apply(&q)?, self.model.norm(&key).apply(&k)?);
        }
        if let Some(rotation) = &self.rotation {
            (q, k) = (rotation.apply(&q)?, rotation.apply(&k)?);
        }
        let k = repeat_heads(&k, heads / kv_heads)?;
        let scores = (q.matmul(&k.t()?)? / (head_dim as f64).sqrt())?.broadcast_add(&self.mask)?;
        let mixed = softmax(&scores)?.matmul(&v)?;
        let merged = mixed.transpose(0, 1)?.reshape((x.dim(0)?, heads * head_dim))?;
        self.linear(linears, LinearKind::AttentionOutput, &merged)
    }

    /// Projections, each (T, heads · D); GPT-2 has all three in one map.
    fn queries_keys_values(&self, linears: &[LinearSpec], x: &Tensor) -> Result<[Tensor; 3]> {
        if self.model.config.family == Family::Gpt2 {
            let stacked = self.linear(linears, LinearKind::QueryKeyValue, x)?;
            let width = self.model.config.hidden_size;
            let part = |index: usize| stacked.narrow(1, index * width, width);
            return Ok([part(0)?, part(1)?, part(2)?]);
        }
        let part = |kind| self.linear(linears, kind, x);
        Ok([part(LinearKind::Query)?, part(LinearKind::Key)?, part(LinearKind::Value)?])
    }

    /// `down(f(up(x)))`, or `down(f(gate(x)) · up(x))` where there is a gate.
    fn mlp(&self, linears: &[LinearSpec], x: &Tensor) -> Result<Tensor> {
        let up = self.linear(linears, LinearKind::MlpUp, x)?;
        let inner = if self.model.config.family == Family::Gpt2 {
            activate(self.model.config.activation, &up)?
        } else {
            (activate(self.model.config.activation, &self.linear(linears, LinearKind::MlpGate, x)?)? * up)?
        };
        self.linear(linears, LinearKind::MlpDown, &inner)
    }

    /// `W x + b + scaling · B (A x)` of the block's map of this kind, (T, in) to (T, out).
    fn linear(&self, linears: &[LinearSpec], kind: LinearKind, x: &Tensor) -> Result<Tensor> {
        let spec = linears.iter().find(|spec| spec.kind == kind);
        let spec = spec.ok_or_else(|| candle_core::Error::msg(format!("this family's block has no {kind:?}")))?;
        let stored = &self.model.weights[&format!("{}.weight", spec.name)];
        let mut y = if self.model.stored.stores_transposed(spec) { x.matmul(stored)? } else { x.matmul(&stored.t()?)? };
        if spec.bias {
            y = y.broadcast_add(&self.model.weights[&format!("{}.bias", spec.name)])?;
        }
        match self.lora.map(|lora| lora.update(&spec.name, x)).transpose()?.flatten() {
            Some(update) => y + update,
            None => Ok(y),
        }
    }
}

/// (T, heads · D) to (heads, T, D).
fn split_heads(x: &Tensor, heads: usize, head_dim: usize) -> Result<Tensor> {
    x.reshape((x.dim(0)?, heads, head_dim))?.transpose(0, 1)?.contiguous()
}

/// Each head `times` times in a row, (H, T, D) to (H · times, T, D).
fn repeat_heads(x: &Tensor, times: usize) -> Result<Tensor> {
    let (heads, length, head_dim) = x.dims3()?;
    x.unsqueeze(1)?.broadcast_as((heads, times, length, head_dim))?.reshape((heads * times, length, head_dim))
}
