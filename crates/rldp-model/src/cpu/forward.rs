//! The forward pass of one block over a micro-batch.

use std::ops::Range;

use super::{
    angles::Angles,
    batch::Batch,
    factors::{PairView, Prepared},
    head_norm::{self, HeadNormCache},
    linear::Columns,
    products::Products,
    weights::{BaseModel, Block, Linear, Norm},
};
use crate::{
    config::LinearKind,
    kernels::{
        activation, attention,
        attention::Group,
        norm::{self, RowStatistics},
    },
};

/// What the backward pass of a block needs. All buffers are (N, ·) and reused from step to step.
#[derive(Debug, Default)]
pub(crate) struct BlockCache {
    /// Input of the block (C).
    pub(crate) input: Vec<f32>,
    /// Queries, keys (both rotated) and values.
    pub(crate) fused: Vec<f32>,
    /// Queries and keys before their norms, where there are any.
    pub(crate) head_norm: HeadNormCache,
    /// Log-sum-exp of each head's scores: (H, N).
    pub(crate) lse: Vec<f32>,
    /// Output of the heads (H · D).
    pub(crate) attended: Vec<f32>,
    /// Stream after attention (C).
    pub(crate) middle: Vec<f32>,
    /// Before the activation (M).
    pub(crate) gate: Vec<f32>,
    /// What the activation multiplies (M); empty without a gate.
    pub(crate) up: Vec<f32>,
    /// x Aᵀ of each map (R), in the block's order; empty without an adapter.
    pub(crate) inner: Vec<Vec<f32>>,
}

/// Inputs of a block's maps that follow from its cache in a few operations a float. The backward pass makes them again, which
/// takes less than to keep every block's in memory that no cache holds. Buffers are (N, ·), reused from block to block.
#[derive(Debug, Default)]
pub(crate) struct MapInputs {
    /// The norm's output (C), input of the attention's maps and then of the MLP's.
    pub(crate) normed: Vec<f32>,
    /// Of that norm (N).
    pub(crate) statistics: Vec<RowStatistics>,
    /// The activation's output (M), input of the MLP's last map.
    pub(crate) activated: Vec<f32>,
}

/// Which adapter pair sits on which map: `pairs[layer][map]`.
pub(crate) type PairIndex = Vec<Vec<Option<usize>>>;

/// Everything that a pass over a micro-batch shares.
pub(crate) struct Pass<'a> {
    pub(crate) model: &'a BaseModel,
    pub(crate) adapter: Option<&'a Prepared<'a>>,
    pub(crate) pairs: &'a PairIndex,
    pub(crate) batch: &'a Batch,
    /// Cosines and sines of each position.
    pub(crate) angles: &'a Angles,
}

impl Pass<'_> {
    pub(crate) fn pair(&self, layer: usize, map: usize) -> Option<PairView<'_>> {
        Some(self.adapter?.pair(self.pairs[layer][map]?))
    }

    /// Runs block `layer` on `cache.input`; the output replaces `stream`.
    pub(crate) fn block(
        &self,
        layer: usize,
        products: &mut Products,
        cache: &mut BlockCache,
        made: &mut MapInputs,
        stream: &mut Vec<f32>,
    ) {
        let block = &self.model.blocks[layer];
        cache.inner.resize_with(block.linears.len(), Vec::new);
        self.norm(&block.norms[0], &cache.input, &mut made.normed, &mut made.statistics);
        self.attention_maps(layer, block, products, &made.normed, cache);
        self.attend(cache);
        stream.clone_from(&cache.input);
        let BlockCache { attended, inner, .. } = cache;
        self.residual(layer, LinearKind::AttentionOutput, products, attended, inner, stream);
        cache.middle.clone_from(stream);
        self.norm(&block.norms[1], &cache.middle, &mut made.normed, &mut made.statistics);
        self.mlp_maps(layer, block, products, &made.normed, cache);
        self.activate(cache, &mut made.activated);
        self.residual(layer, LinearKind::MlpDown, products, &made.activated, &mut cache.inner, stream);
    }

    fn attention_maps(
        &self,
        layer: usize,
        block: &Block,
        products: &mut Products,
        normed: &[f32],
        cache: &mut BlockCache,
    ) {
        let rows = self.batch.rows();
        let width = self.model.fused_width();
        resize(&mut cache.fused, rows * width);
        for (map, linear) in block.linears.iter().enumerate() {
            let Some(offset) = self.fused_offset(linear.spec.kind) else { continue };
            let columns = Columns { offset, stride: width };
            let (pair, inner) = (self.pair(layer, map), &mut cache.inner[map]);
            linear.forward(self.model, products, rows, normed, pair, inner, &mut cache.fused, columns, false);
        }
        head_norm::forward(self.model, block, &mut cache.fused, &mut cache.head_norm);
        let turned = self.model.turned_width();
        self.angles.turn(&self.batch.sequences, &mut cache.fused, width, turned, 1.0);
    }

    /// Where a map of the attention writes in a fused row.
    pub(crate) fn fused_offset(&self, kind: LinearKind) -> Option<usize> {
        let config = &self.model.config;
        match kind {
            LinearKind::QueryKeyValue | LinearKind::Query => Some(0),
            LinearKind::Key => Some(config.heads * config.head_dim),
            LinearKind::Value => Some((config.heads + config.kv_heads) * config.head_dim),
            _ => None,
        }
    }

    fn attend(&self, cache: &mut BlockCache) {
        let (rows, heads, dim) = (self.batch.rows(), self.model.config.heads, self.model.config.head_dim);
        let (width, out_width) = (self.model.fused_width(), self.model.attention_width());
        resize(&mut cache.attended, rows * out_width);
        resize(&mut cache.lse, heads * rows);
        for Range { start, end } in self.batch.sequences.iter().filter(|range| !range.is_empty()).cloned() {
            let fused = &cache.fused[start * width..end * width];
            for group in head_groups(self.model) {
                let out = &mut cache.attended[start * out_width + group.query..];
                let lse = &mut cache.lse[group.query / dim * rows + start..];
                attention::forward(group, fused, end - start, out, out_width, lse, rows);
            }
        }
    }

    fn mlp_maps(&self, layer: usize, block: &Block, products: &mut Products, normed: &[f32], cache: &mut BlockCache) {
        let rows = self.batch.rows();
        let width = self.model.config.intermediate_size;
        let gated = block.linears.iter().any(|linear| linear.spec.kind == LinearKind::MlpGate);
        for (map, linear) in block.linears.iter().enumerate() {
            let BlockCache { gate, up, inner, .. } = cache;
            let out = match linear.spec.kind {
                LinearKind::MlpUp if gated => up,
                LinearKind::MlpUp | LinearKind::MlpGate => gate,
                _ => continue,
            };
            resize(out, rows * width);
            let columns = Columns::all(width);
            let pair = self.pair(layer, map);
            linear.forward(self.model, products, rows, normed, pair, &mut inner[map], out, columns, false);
        }
    }

    /// The input of the MLP's last map.
    fn activate(&self, cache: &BlockCache, activated: &mut Vec<f32>) {
        resize(activated, cache.gate.len());
        let up = Some(cache.up.as_slice()).filter(|up| !up.is_empty());
        activation::forward(self.model.config.activation, &cache.gate, up, activated);
    }

    /// stream += map of the branch.
    fn residual(
        &self,
        layer: usize,
        kind: LinearKind,
        products: &mut Products,
        input: &[f32],
        inner: &mut [Vec<f32>],
        stream: &mut [f32],
    ) {
        let rows = self.batch.rows();
        let (map, linear) = required(&self.model.blocks[layer], kind);
        let columns = Columns::all(linear.spec.out_features);
        let pair = self.pair(layer, map);
        linear.forward(self.model, products, rows, input, pair, &mut inner[map], stream, columns, true);
    }

    pub(crate) fn norm(&self, norm: &Norm, x: &[f32], out: &mut Vec<f32>, statistics: &mut Vec<RowStatistics>) {
        resize(out, x.len());
        statistics.resize(x.len() / norm.weight.len(), RowStatistics::default());
        let bias = norm.bias.as_deref();
        norm::forward(x, &norm.weight, bias, self.model.config.norm_epsilon, out, statistics);
    }

    /// Token and position embeddings (N, C).
    pub(crate) fn embed(&self, stream: &mut Vec<f32>) {
        embed(self.model, &self.batch.tokens, &self.batch.positions, stream);
    }
}

/// Embeddings of tokens at positions.
pub(crate) fn embed(model: &BaseModel, tokens: &[u32], positions: &[usize], stream: &mut Vec<f32>) {
    let width = model.config.hidden_size;
    let table = model.tensor(model.config.embedding_name());
    let learned = model.config.position_name().map(|name| model.tensor(name));
    resize(stream, tokens.len() * width);
    let (mut offset, scale) = (vec![0.0; width], model.config.embedding_scale());
    for ((row, &token), &position) in stream.chunks_exact_mut(width).zip(tokens).zip(positions) {
        table.row_to_f32(token as usize, row);
        if scale != 1.0 {
            row.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(learned) = &learned {
            learned.row_to_f32(position, &mut offset);
            row.iter_mut().zip(&offset).for_each(|(x, offset)| *x += offset);
        }
    }
}

/// Where the heads that share keys lie in a fused row of the model.
pub(crate) fn head_groups(model: &BaseModel) -> impl Iterator<Item = Group> {
    let config = &model.config;
    let heads = config.heads / config.kv_heads;
    (0..config.kv_heads).map(move |shared| Group {
        stride: model.fused_width(),
        heads,
        query: shared * heads * config.head_dim,
        key: (config.heads + shared) * config.head_dim,
        value: (config.heads + config.kv_heads + shared) * config.head_dim,
        dim: config.head_dim,
        window: config.sliding_window.unwrap_or(usize::MAX),
    })
}

/// The block's map of a kind with its index.
pub(crate) fn find(block: &Block, kind: LinearKind) -> Option<(usize, &Linear)> {
    block.linears.iter().enumerate().find(|(_, linear)| linear.spec.kind == kind)
}

/// The block's map of a kind that the blocks of every family have.
pub(crate) fn required(block: &Block, kind: LinearKind) -> (usize, &Linear) {
    find(block, kind).unwrap_or_else(|| unreachable!("a block without {kind:?}"))
}

/// Sets the length without caring for the content: every kernel overwrites it.
pub(crate) fn resize(buffer: &mut Vec<f32>, length: usize) {
    buffer.resize(length, 0.0);
}
