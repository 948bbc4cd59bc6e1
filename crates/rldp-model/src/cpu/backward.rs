//! The backward pass of one block: gradients of the stream, and per-unit gradients of every adapter.

use std::ops::Range;

use super::{
    forward::{BlockCache, Pass, find, head_groups, resize},
    head_norm,
    linear::Columns,
    products::Products,
    weights::{Block, Linear},
};
use crate::{
    config::LinearKind,
    kernels::{
        activation, attention,
        lora::{self, Outer},
        norm,
    },
};

/// Rows of the micro-batch that belong to one unit.
#[derive(Clone, Debug)]
pub(crate) struct UnitRows {
    pub(crate) rows: Range<usize>,
    /// The unit's slot in the gradient buffer.
    pub(crate) slot: usize,
    /// Whether earlier rows of the micro-batch have written to the slot; otherwise its content does not count.
    pub(crate) adds: bool,
}

/// Per-unit gradients (slots, P).
pub(crate) struct Gradients<'a> {
    pub(crate) units: &'a [UnitRows],
    pub(crate) parameters: usize,
    pub(crate) values: &'a mut [f32],
}

/// Buffers of the backward pass, reused from block to block and step to step.
#[derive(Debug, Default)]
pub(crate) struct BackwardScratch {
    input: Vec<f32>,
    wide: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    attended: Vec<f32>,
    fused: Vec<f32>,
    /// d(x Aᵀ) of the map at hand (N, R).
    dinner: Vec<f32>,
}

impl Pass<'_> {
    /// Takes d(output) of block `layer` in `dstream` to d(input). `lowest` is the first block with an adapter: below its
    /// adapted maps nothing is differentiated.
    pub(crate) fn block_backward(
        &self,
        layer: usize,
        cache: &BlockCache,
        dstream: &mut [f32],
        products: &mut Products,
        scratch: &mut BackwardScratch,
        gradients: &mut Gradients,
        lowest: bool,
    ) {
        let block = &self.model.blocks[layer];
        self.mlp_backward(layer, block, cache, dstream, products, scratch, gradients);
        self.attention_backward(layer, block, cache, dstream, products, scratch, gradients, lowest);
    }

    fn mlp_backward(
        &self,
        layer: usize,
        block: &Block,
        cache: &BlockCache,
        dstream: &mut [f32],
        products: &mut Products,
        scratch: &mut BackwardScratch,
        gradients: &mut Gradients,
    ) {
        let (rows, config) = (self.batch.rows(), &self.model.config);
        let (width, hidden) = (config.intermediate_size, config.hidden_size);
        let BackwardScratch { input, wide, gate, up, dinner, .. } = scratch;
        resize(wide, rows * width);
        if let Some((map, linear)) = find(block, LinearKind::MlpDown) {
            let columns = Columns::all(hidden);
            self.map_backward(
                products,
                layer,
                map,
                linear,
                &cache.activated,
                cache,
                dstream,
                columns,
                Some((wide, false)),
                dinner,
                gradients,
            );
        }
        resize(gate, rows * width);
        let gated = find(block, LinearKind::MlpGate);
        resize(input, rows * hidden);
        let columns = Columns::all(width);
        if let Some((gate_map, gate_linear)) = gated {
            resize(up, rows * width);
            activation::backward(config.activation, &cache.gate, Some(&cache.up), wide, gate, Some(up));
            if let Some((map, linear)) = find(block, LinearKind::MlpUp) {
                self.map_backward(
                    products,
                    layer,
                    map,
                    linear,
                    &cache.mlp_input,
                    cache,
                    up,
                    columns,
                    Some((input, false)),
                    dinner,
                    gradients,
                );
            }
            self.map_backward(
                products,
                layer,
                gate_map,
                gate_linear,
                &cache.mlp_input,
                cache,
                gate,
                columns,
                Some((input, true)),
                dinner,
                gradients,
            );
        } else if let Some((map, linear)) = find(block, LinearKind::MlpUp) {
            activation::backward(config.activation, &cache.gate, None, wide, gate, None);
            self.map_backward(
                products,
                layer,
                map,
                linear,
                &cache.mlp_input,
                cache,
                gate,
                columns,
                Some((input, false)),
                dinner,
                gradients,
            );
        }
        let branch = &block.norms[1];
        norm::backward(&cache.middle, &branch.weight, branch.bias.is_some(), &cache.statistics[1], input, dstream);
    }

    fn attention_backward(
        &self,
        layer: usize,
        block: &Block,
        cache: &BlockCache,
        dstream: &mut [f32],
        products: &mut Products,
        scratch: &mut BackwardScratch,
        gradients: &mut Gradients,
        lowest: bool,
    ) {
        let (rows, hidden) = (self.batch.rows(), self.model.config.hidden_size);
        let (width, out_width) = (self.model.fused_width(), self.model.attention_width());
        let BackwardScratch { input, attended, fused, dinner, .. } = scratch;
        resize(attended, rows * out_width);
        if let Some((map, linear)) = find(block, LinearKind::AttentionOutput) {
            let columns = Columns::all(hidden);
            self.map_backward(
                products,
                layer,
                map,
                linear,
                &cache.attended,
                cache,
                dstream,
                columns,
                Some((attended, false)),
                dinner,
                gradients,
            );
        }
        resize(fused, rows * width);
        self.attend_backward(cache, attended, fused);
        let turned = self.model.turned_width();
        for (row, &position) in fused.chunks_exact_mut(width).zip(&self.batch.positions) {
            self.angles.rotate(&mut row[..turned], position, -1.0);
        }
        head_norm::backward(self.model, block, &cache.head_norm, fused);
        resize(input, rows * hidden);
        for (map, linear) in block.linears.iter().enumerate() {
            let Some(offset) = self.fused_offset(linear.spec.kind) else { continue };
            let columns = Columns { offset, stride: width };
            let dx = if lowest { None } else { Some((&mut *input, offset > 0)) };
            self.map_backward(
                products,
                layer,
                map,
                linear,
                &cache.attention_input,
                cache,
                fused,
                columns,
                dx,
                dinner,
                gradients,
            );
        }
        if !lowest {
            let branch = &block.norms[0];
            norm::backward(&cache.input, &branch.weight, branch.bias.is_some(), &cache.statistics[0], input, dstream);
        }
    }

    fn attend_backward(&self, cache: &BlockCache, dattended: &[f32], dfused: &mut [f32]) {
        let (rows, dim) = (self.batch.rows(), self.model.config.head_dim);
        let (width, out_width) = (self.model.fused_width(), self.model.attention_width());
        for Range { start, end } in self.batch.sequences.iter().filter(|range| !range.is_empty()).cloned() {
            let fused = &cache.fused[start * width..end * width];
            let dfused = &mut dfused[start * width..end * width];
            for group in head_groups(self.model) {
                let at = start * out_width + group.query;
                let (out, dout) = (&cache.attended[at..], &dattended[at..]);
                let lse = &cache.lse[group.query / dim * rows + start..];
                attention::backward(group, fused, out, dout, out_width, lse, rows, dfused);
            }
        }
    }

    /// One map: finds the adapter's per-unit gradients, and puts the input's gradient in `dx` when it is wanted, added to
    /// what is there if the flag says so.
    #[expect(clippy::too_many_arguments, reason = "the pieces of one pass, borrowed apart")]
    fn map_backward(
        &self,
        products: &mut Products,
        layer: usize,
        map: usize,
        linear: &Linear,
        x: &[f32],
        cache: &BlockCache,
        dy: &[f32],
        columns: Columns,
        dx: Option<(&mut Vec<f32>, bool)>,
        dinner: &mut Vec<f32>,
        gradients: &mut Gradients,
    ) {
        let rows = self.batch.rows();
        let pair = self.pair(layer, map);
        if let (Some(pair), Some(index)) = (pair, self.pairs[layer][map]) {
            resize(dinner, rows * pair.rank);
            lora::narrow(&dy[columns.offset..], columns.stride, pair.narrow_b, dinner);
            self.adapter_gradients(index, linear, x, &cache.inner[map], dinner, dy, columns, gradients);
        }
        if let Some((dx, accumulate)) = dx {
            let pair = pair.map(|pair| (pair, dinner.as_slice()));
            linear.backward(self.model, products, rows, dy, columns, pair, dx, accumulate);
        }
    }

    /// dA = Σ_t dinner_t ⊗ x_t and dB = scaling · Σ_t dy_t ⊗ inner_t over each unit's rows.
    fn adapter_gradients(
        &self,
        index: usize,
        linear: &Linear,
        x: &[f32],
        inner: &[f32],
        dinner: &[f32],
        dy: &[f32],
        columns: Columns,
        gradients: &mut Gradients,
    ) {
        let Some(adapter) = self.adapter else { return };
        let layout = adapter.adapter.layout();
        let (pair, rank, scaling) = (&layout.pairs()[index], layout.rank(), layout.scaling());
        let (fan_in, fan_out) = (linear.spec.in_features, linear.spec.out_features);
        for unit in gradients.units {
            let Range { start, end } = unit.rows;
            if start == end {
                continue;
            }
            let own = &mut gradients.values[unit.slot * gradients.parameters..][..gradients.parameters];
            if pair.trains_a {
                let (left, right) = (&dinner[start * rank..end * rank], &x[start * fan_in..end * fan_in]);
                let outer = Outer { left, rank, right, width: fan_in, stride: fan_in };
                lora::outer_sum(outer, unit.adds, &mut own[pair.a.clone()]);
            } else if !unit.adds {
                own[pair.a.clone()].fill(0.0);
            }
            let last = (end - 1) * columns.stride + columns.offset + fan_out;
            let right = &dy[start * columns.stride + columns.offset..last];
            let left = &inner[start * rank..end * rank];
            let outer = Outer { left, rank, right, width: fan_out, stride: columns.stride };
            lora::outer_sum_transposed(outer, scaling, unit.adds, &mut own[pair.b.clone()]);
        }
    }
}
