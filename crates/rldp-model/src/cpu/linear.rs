//! Frozen linear maps with their adapters: forward, and gradient with respect to the input.

use super::{
    products::{Frozen, Products},
    weights::{BaseModel, Linear},
};
use crate::{
    Adapter,
    kernels::gemm::{View, matmul},
};

/// Columns of a row-major buffer: `width` columns from `offset` of rows that are `stride` apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    pub(crate) offset: usize,
    pub(crate) stride: usize,
}

impl Columns {
    /// A buffer of its own.
    pub(crate) fn all(width: usize) -> Self {
        Self { offset: 0, stride: width }
    }
}

/// An adapter pair as the engine uses it.
#[derive(Clone, Copy)]
pub(crate) struct PairView<'a> {
    /// (R, in).
    pub(crate) a: &'a [f32],
    /// (out, R).
    pub(crate) b: &'a [f32],
    /// `lora_alpha / R`.
    pub(crate) scaling: f32,
    pub(crate) rank: usize,
}

impl<'a> PairView<'a> {
    pub(crate) fn of(adapter: &'a Adapter, pair: usize) -> Self {
        let layout = adapter.layout();
        Self { a: adapter.a(pair), b: adapter.b(pair), scaling: layout.scaling(), rank: layout.rank() }
    }
}

impl Linear {
    /// The stored matrix, or its transpose.
    fn frozen<'a>(&self, model: &'a BaseModel, transposed: bool) -> Frozen<'a> {
        let stored = model.tensor(&self.weight);
        Frozen { stored, rows: 0..stored.shape()[0], transposed }
    }

    /// out = x Wᵀ + bias + scaling · (x Aᵀ) Bᵀ for `rows` rows of x (N, in). Leaves x Aᵀ (N, R) in `inner`.
    pub(crate) fn forward(
        &self,
        model: &BaseModel,
        products: &mut Products,
        rows: usize,
        x: &[f32],
        pair: Option<PairView>,
        inner: &mut Vec<f32>,
        out: &mut [f32],
        columns: Columns,
    ) {
        let (fan_in, fan_out) = (self.spec.in_features, self.spec.out_features);
        let Columns { offset, stride } = columns;
        for row in out.chunks_mut(stride).take(rows) {
            let row = &mut row[offset..offset + fan_out];
            if self.bias.is_empty() { row.fill(0.0) } else { row.copy_from_slice(&self.bias) }
        }
        let matrix = self.frozen(model, !self.spec.transposed);
        products.add(rows, (x, fan_in), &matrix, (&mut out[offset..], stride));
        inner.clear();
        if let Some(pair) = pair {
            inner.resize(rows * pair.rank, 0.0);
            let a = View::rows(pair.a, fan_in).transposed();
            matmul((rows, fan_in, pair.rank), View::rows(x, fan_in), a, inner, pair.rank, false);
            let scaled: Vec<f32> = inner.iter().map(|value| value * pair.scaling).collect();
            let b = View::rows(pair.b, pair.rank).transposed();
            matmul((rows, pair.rank, fan_out), View::rows(&scaled, pair.rank), b, &mut out[offset..], stride, true);
        }
    }

    /// dx (N, in) += dy W, and + scaling · (dy B) A when there is an adapter; dy are columns of a buffer.
    pub(crate) fn backward(
        &self,
        model: &BaseModel,
        products: &mut Products,
        rows: usize,
        dy: &[f32],
        columns: Columns,
        pair: Option<(PairView, &[f32])>,
        dx: &mut [f32],
    ) {
        let fan_in = self.spec.in_features;
        let Columns { offset, stride } = columns;
        let matrix = self.frozen(model, self.spec.transposed);
        products.add(rows, (&dy[offset..], stride), &matrix, (dx, fan_in));
        if let Some((pair, dinner)) = pair {
            matmul(
                (rows, pair.rank, fan_in),
                View::rows(dinner, pair.rank),
                View::rows(pair.a, fan_in),
                dx,
                fan_in,
                true,
            );
        }
    }

    /// scaling · dy B, (N, R): the gradient of x Aᵀ.
    pub(crate) fn inner_gradient(&self, rows: usize, dy: &[f32], columns: Columns, pair: PairView) -> Vec<f32> {
        let fan_out = self.spec.out_features;
        let mut dinner = vec![0.0; rows * pair.rank];
        let dy = View::rows(&dy[columns.offset..], columns.stride);
        matmul((rows, fan_out, pair.rank), dy, View::rows(pair.b, pair.rank), &mut dinner, pair.rank, false);
        dinner.iter_mut().for_each(|value| *value *= pair.scaling);
        dinner
    }
}
