//! The base model as the engine holds it: matrices stay in the mapped file, vectors are widened once.

use super::products::KeptTiles;
use crate::{
    ModelConfig, ModelError, ModelFiles, TensorView, Weights,
    config::{Family, LinearSpec},
};

/// One frozen linear map.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// Name of the weight tensor.
    pub(crate) weight: String,
    /// (out), empty without a bias.
    pub(crate) bias: Vec<f32>,
    /// Whether it is stored as (in, out).
    pub(crate) transposed: bool,
    /// Sizes and role.
    pub(crate) spec: LinearSpec,
    /// The weight in tiles, if the model keeps them.
    pub(crate) kept: KeptTiles,
}

/// Weight, and bias for LayerNorm.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Option<Vec<f32>>,
}

/// One block's maps in the order of the forward pass, and its norms.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) linears: Vec<Linear>,
    pub(crate) norms: [Norm; 2],
    /// Norms of every query and key head (D).
    pub(crate) head_norms: Option<[Norm; 2]>,
}

/// The base model.
#[derive(Clone, Debug)]
pub(crate) struct BaseModel {
    pub(crate) config: ModelConfig,
    pub(crate) weights: Weights,
    pub(crate) blocks: Vec<Block>,
    pub(crate) final_norm: Norm,
    /// Whether products in bf16 keep the matrices they have laid out.
    pub(crate) keeps_tiles: bool,
    /// Whether the backward pass makes each block's activations again from the block's input.
    pub(crate) recomputes: bool,
    /// The head's matrix in tiles.
    pub(crate) kept_head: KeptTiles,
}

impl BaseModel {
    pub(crate) fn new(files: &ModelFiles) -> Result<Self, ModelError> {
        let (config, weights) = (files.config.clone(), files.weights.clone());
        weights.check(&config)?;
        let centred = config.family == Family::Gpt2;
        let vector = |name: &str| Ok::<_, ModelError>(weights.tensor(name)?.to_f32_vec());
        let norm = |module: &str| {
            let bias = if centred { Some(vector(&format!("{module}.bias"))?) } else { None };
            let mut weight = vector(&format!("{module}.weight"))?;
            weight.iter_mut().for_each(|weight| *weight += config.norm_offset());
            Ok::<_, ModelError>(Norm { weight, bias })
        };
        let linear = |spec: LinearSpec| {
            let bias = if spec.bias { vector(&format!("{}.bias", spec.name))? } else { Vec::new() };
            let transposed = weights.stores_transposed(&spec);
            Ok::<_, ModelError>(Linear {
                weight: format!("{}.weight", spec.name),
                bias,
                transposed,
                spec,
                kept: KeptTiles::default(),
            })
        };
        let block = |layer: usize| {
            let [first, second] = config.block_norms(layer);
            let linears = config.block_linears(layer).into_iter().map(linear).collect::<Result<_, _>>()?;
            let head_norms = match config.head_norms(layer) {
                Some([query, key]) => Some([norm(&query)?, norm(&key)?]),
                None => None,
            };
            Ok::<_, ModelError>(Block { linears, norms: [norm(&first)?, norm(&second)?], head_norms })
        };
        let blocks = (0..config.layers).map(block).collect::<Result<_, _>>()?;
        let final_norm = norm(config.final_norm())?;
        let kept_head = KeptTiles::default();
        Ok(Self { config, weights, blocks, final_norm, keeps_tiles: false, recomputes: false, kept_head })
    }

    /// A tensor whose presence and shape were checked when the model was opened.
    pub(crate) fn tensor(&self, name: &str) -> TensorView<'_> {
        self.weights.tensor(name).expect("every tensor was checked when the model was opened")
    }

    /// Floats of the head's matrix (V, C).
    pub(crate) fn head(&self) -> TensorView<'_> {
        self.tensor(self.config.head_name())
    }

    /// Width of a row that holds queries, keys and values: (H + 2 KV) · D.
    pub(crate) fn fused_width(&self) -> usize {
        (self.config.heads + 2 * self.config.kv_heads) * self.config.head_dim
    }

    /// Width of queries and keys, which rotary positions turn: (H + KV) · D.
    pub(crate) fn turned_width(&self) -> usize {
        (self.config.heads + self.config.kv_heads) * self.config.head_dim
    }

    /// Width of the attention's output, H · D.
    pub(crate) fn attention_width(&self) -> usize {
        self.config.heads * self.config.head_dim
    }

    /// Floats of one token that the forward pass leaves for the backward pass: every block's activations, or every block's
    /// input and one block's activations when those are made again.
    pub(crate) fn floats_per_token(&self, recomputes: bool) -> usize {
        let config = &self.config;
        let mlp = if config.family == Family::Gpt2 { 1 } else { 2 } * config.intermediate_size;
        let heads = if self.blocks.iter().any(|block| block.head_norms.is_some()) { self.turned_width() } else { 0 };
        let block = 2 * config.hidden_size + self.fused_width() + self.attention_width() + mlp + heads;
        if recomputes { config.layers * config.hidden_size + block } else { config.layers * block }
    }

    /// Bytes of one core for each token of a micro-batch.
    pub(crate) fn bytes_per_token(&self, recomputes: bool) -> usize {
        let config = &self.config;
        // Streams, norms, the head's rows and the backward pass, inputs that are made again, and an operand in bf16.
        let scratch = 13 * config.hidden_size
            + 2 * self.fused_width()
            + 2 * self.attention_width()
            + 5 * config.intermediate_size;
        let narrow = if recomputes { 1 } else { config.layers } * (config.heads + 7 * 16);
        4 * (self.floats_per_token(recomputes) + scratch + narrow)
    }

    /// Bytes of all tensors as they are stored.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.config.tensors().iter().map(|spec| self.tensor(&spec.name).stored_bytes()).sum()
    }

    /// Bytes of all matrices in tiles, in both orientations.
    pub(crate) fn tile_bytes(&self) -> usize {
        let config = &self.config;
        let maps = config.linears().iter().map(|linear| linear.in_features * linear.out_features).sum::<usize>();
        2 * 2 * (maps + config.vocab_size * config.hidden_size)
    }
}
