//! The backward pass of one block: gradients of the stream, and per-unit gradients of every adapter.

use std::ops::Range;

use super::{
    factors::Prepared,
    forward::{BlockCache, MapInputs, Pass, find, head_groups, required, resize},
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
    /// d(x Aᵀ) of each map at hand (N, R).
    dinner: Vec<Vec<f32>>,
    /// Shared with the forward pass.
    pub(crate) made: MapInputs,
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
        let BackwardScratch { input, wide, gate, up, dinner, made, .. } = scratch;
        resize(wide, rows * width);
        let (map, linear) = required(block, LinearKind::MlpDown);
        let down = &[Branch { map, linear, dy: dstream, columns: Columns::all(hidden) }];
        self.b_gradients(layer, cache, down, dinner, gradients);
        self.input_gradient(products, layer, down, dinner, wide);
        let gated = find(block, LinearKind::MlpGate);
        resize(gate, rows * width);
        resize(up, if gated.is_some() { rows * width } else { 0 });
        let (other, dother) = (gated.map(|_| cache.up.as_slice()), gated.map(|_| &mut up[..]));
        // Its input, which only the gradient of its A needs, is made with the slopes.
        let adapted = self.pairs[layer][map].is_some();
        resize(&mut made.activated, if adapted { rows * width } else { 0 });
        let activated = adapted.then_some(&mut made.activated[..]);
        activation::backward(config.activation, &cache.gate, other, wide, gate, dother, activated);
        self.a_gradients(layer, &made.activated, down, dinner, gradients);
        let columns = Columns::all(width);
        let branch = |(map, linear), dy| Branch { map, linear, dy, columns };
        // Without a gate, what is activated is the output of the map up.
        let dup = if gated.is_some() { &*up } else { &*gate };
        let up = branch(required(block, LinearKind::MlpUp), dup);
        let branches: Vec<Branch> = std::iter::once(up).chain(gated.map(|found| branch(found, gate))).collect();
        resize(input, rows * hidden);
        let norm = &block.norms[1];
        self.norm(norm, &cache.middle, &mut made.normed, &mut made.statistics);
        self.adapter_gradients(layer, cache, &made.normed, &branches, dinner, gradients);
        self.input_gradient(products, layer, &branches, dinner, input);
        norm::backward(&cache.middle, &norm.weight, norm.bias.is_some(), &made.statistics, input, dstream);
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
        let BackwardScratch { input, attended, fused, dinner, made, .. } = scratch;
        resize(attended, rows * out_width);
        let (map, linear) = required(block, LinearKind::AttentionOutput);
        let output = [Branch { map, linear, dy: dstream, columns: Columns::all(hidden) }];
        self.adapter_gradients(layer, cache, &cache.attended, &output, dinner, gradients);
        self.input_gradient(products, layer, &output, dinner, attended);
        resize(fused, rows * width);
        self.attend_backward(cache, attended, fused);
        let turned = self.model.turned_width();
        self.angles.turn(&self.batch.sequences, fused, width, turned, -1.0);
        head_norm::backward(self.model, block, &cache.head_norm, fused);
        let branches = block.linears.iter().enumerate().filter_map(|(map, linear)| {
            let columns = Columns { offset: self.fused_offset(linear.spec.kind)?, stride: width };
            Some(Branch { map, linear, dy: fused, columns })
        });
        let branches: Vec<Branch> = branches.collect();
        let norm = &block.norms[0];
        self.norm(norm, &cache.input, &mut made.normed, &mut made.statistics);
        self.adapter_gradients(layer, cache, &made.normed, &branches, dinner, gradients);
        if !lowest {
            resize(input, rows * hidden);
            self.input_gradient(products, layer, &branches, dinner, input);
            norm::backward(&cache.input, &norm.weight, norm.bias.is_some(), &made.statistics, input, dstream);
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

    /// Per-unit gradients of the adapters on maps that share their input x. Leaves d(x Aᵀ) of each map in `dinner`.
    fn adapter_gradients(
        &self,
        layer: usize,
        cache: &BlockCache,
        x: &[f32],
        branches: &[Branch],
        dinner: &mut Vec<Vec<f32>>,
        gradients: &mut Gradients,
    ) {
        self.b_gradients(layer, cache, branches, dinner, gradients);
        self.a_gradients(layer, x, branches, dinner, gradients);
    }

    /// Per-unit gradients of B of the adapters on some maps, while a unit's rows of dy are in the second cache. Leaves
    /// d(x Aᵀ) of each map in `dinner`.
    fn b_gradients(
        &self,
        layer: usize,
        cache: &BlockCache,
        branches: &[Branch],
        dinner: &mut Vec<Vec<f32>>,
        gradients: &mut Gradients,
    ) {
        dinner.resize_with(dinner.len().max(branches.len()), Vec::new);
        let rank = self.adapter.map_or(0, |adapter| adapter.adapter.layout().rank());
        for (branch, dinner) in branches.iter().zip(&mut *dinner) {
            resize(dinner, if self.pairs[layer][branch.map].is_some() { self.batch.rows() * rank } else { 0 });
        }
        self.for_units(layer, branches, gradients, |adapter, pair, at, unit, own| {
            b_gradient(adapter, pair, unit, &cache.inner[branches[at].map], &branches[at], &mut dinner[at], own);
        });
    }

    /// Per-unit gradients of A of the adapters on maps that share their input x (N, in), while a unit's rows of x are in the
    /// second cache.
    fn a_gradients(
        &self,
        layer: usize,
        x: &[f32],
        branches: &[Branch],
        dinner: &[Vec<f32>],
        gradients: &mut Gradients,
    ) {
        self.for_units(layer, branches, gradients, |adapter, pair, at, unit, own| {
            a_gradient(adapter, pair, unit, x, &branches[at], &dinner[at], own);
        });
    }

    /// Calls `apply` with each unit that has rows and each branch with an adapter: its pair, its place among the branches and
    /// the unit's own gradient (P).
    fn for_units(
        &self,
        layer: usize,
        branches: &[Branch],
        gradients: &mut Gradients,
        mut apply: impl FnMut(&Prepared, usize, usize, &UnitRows, &mut [f32]),
    ) {
        let Some(adapter) = self.adapter else { return };
        for unit in gradients.units.iter().filter(|unit| !unit.rows.is_empty()) {
            let own = &mut gradients.values[unit.slot * gradients.parameters..][..gradients.parameters];
            for (at, branch) in branches.iter().enumerate() {
                if let Some(pair) = self.pairs[layer][branch.map] {
                    apply(adapter, pair, at, unit, own);
                }
            }
        }
    }

    /// dx (N, in) of maps that share their input.
    fn input_gradient(
        &self,
        products: &mut Products,
        layer: usize,
        branches: &[Branch],
        dinner: &[Vec<f32>],
        dx: &mut [f32],
    ) {
        for (index, (branch, dinner)) in branches.iter().zip(dinner).enumerate() {
            let Branch { map, linear, dy, columns } = *branch;
            let pair = self.pair(layer, map).map(|pair| (pair, dinner.as_slice()));
            linear.backward(self.model, products, self.batch.rows(), dy, columns, pair, dx, index > 0);
        }
    }
}

/// One of the maps that share an input, and d(its output) in columns of a buffer.
#[derive(Clone, Copy)]
struct Branch<'a> {
    map: usize,
    linear: &'a Linear,
    dy: &'a [f32],
    columns: Columns,
}

/// dinner = scaling · dy B of a unit's rows, and dB = scaling · Σ_t `dy_t` ⊗ `inner_t` over them.
fn b_gradient(
    adapter: &Prepared,
    pair: usize,
    unit: &UnitRows,
    inner: &[f32],
    branch: &Branch,
    dinner: &mut [f32],
    own: &mut [f32],
) {
    let layout = adapter.adapter.layout();
    let (spec, rank, scaling) = (&layout.pairs()[pair], layout.rank(), layout.scaling());
    let fan_out = branch.linear.spec.out_features;
    let (Columns { offset, stride }, Range { start, end }) = (branch.columns, unit.rows.clone());
    let dy = &branch.dy[start * stride + offset..(end - 1) * stride + offset + fan_out];
    lora::narrow(dy, stride, adapter.pair(pair).narrow_b, &mut dinner[start * rank..end * rank]);
    let outer = Outer { left: &inner[start * rank..end * rank], rank, right: dy, width: fan_out, stride };
    lora::outer_sum_transposed(outer, scaling, unit.adds, &mut own[spec.b.clone()]);
}

/// dA = Σ_t `dinner_t` ⊗ `x_t` over a unit's rows.
fn a_gradient(
    adapter: &Prepared,
    pair: usize,
    unit: &UnitRows,
    x: &[f32],
    branch: &Branch,
    dinner: &[f32],
    own: &mut [f32],
) {
    let layout = adapter.adapter.layout();
    let (spec, rank, fan_in) = (&layout.pairs()[pair], layout.rank(), branch.linear.spec.in_features);
    let Range { start, end } = unit.rows.clone();
    if spec.trains_a {
        let (left, right) = (&dinner[start * rank..end * rank], &x[start * fan_in..end * fan_in]);
        let outer = Outer { left, rank, right, width: fan_in, stride: fan_in };
        lora::outer_sum(outer, unit.adds, &mut own[spec.a.clone()]);
    } else if !unit.adds {
        own[spec.a.clone()].fill(0.0);
    }
}
