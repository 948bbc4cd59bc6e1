//! Frozen linear maps with their adapters: forward, and gradient with respect to the input.

use super::{
    products::{Frozen, Products},
    weights::{BaseModel, Linear},
};
use crate::{Adapter, kernels::lora};

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
        for row in out.chunks_mut(stride).take(if self.bias.is_empty() { 0 } else { rows }) {
            row[offset..offset + fan_out].copy_from_slice(&self.bias);
        }
        let matrix = self.frozen(model, !self.transposed);
        products.put(rows, (x, fan_in), &matrix, (&mut out[offset..], stride), !self.bias.is_empty());
        inner.clear();
        if let Some(pair) = pair {
            inner.resize(rows * pair.rank, 0.0);
            let Products { packed, turned, .. } = products;
            lora::pack(fan_in, pair.rank, packed, |i, r| pair.a[r * fan_in + i]);
            lora::narrow(pair.rank, 1.0, x, fan_in, packed, inner);
            turned.clear();
            turned.extend(
                (0..pair.rank).flat_map(|r| pair.b.iter().skip(r).step_by(pair.rank)).map(|b| b * pair.scaling),
            );
            lora::widen(pair.rank, fan_out, inner, turned, &mut out[offset..], stride);
        }
    }

    /// dx (N, in) = dy W, and + scaling · (dy B) A when there is an adapter; dy are columns of a buffer. Adds to what is
    /// there with `accumulate`.
    pub(crate) fn backward(
        &self,
        model: &BaseModel,
        products: &mut Products,
        rows: usize,
        dy: &[f32],
        columns: Columns,
        pair: Option<(PairView, &[f32])>,
        dx: &mut [f32],
        accumulate: bool,
    ) {
        let fan_in = self.spec.in_features;
        let Columns { offset, stride } = columns;
        let matrix = self.frozen(model, self.transposed);
        products.put(rows, (&dy[offset..], stride), &matrix, (dx, fan_in), accumulate);
        if let Some((pair, dinner)) = pair {
            lora::widen(pair.rank, fan_in, dinner, pair.a, dx, fan_in);
        }
    }

    /// scaling · dy B, (N, R): the gradient of x Aᵀ.
    pub(crate) fn inner_gradient(
        &self,
        products: &mut Products,
        rows: usize,
        dy: &[f32],
        columns: Columns,
        pair: PairView,
    ) -> Vec<f32> {
        let mut dinner = vec![0.0; rows * pair.rank];
        let packed = &mut products.packed;
        lora::pack(self.spec.out_features, pair.rank, packed, |i, r| pair.b[i * pair.rank + r]);
        lora::narrow(pair.rank, pair.scaling, &dy[columns.offset..], columns.stride, packed, &mut dinner);
        dinner
    }
}
