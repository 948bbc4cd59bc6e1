//! Frozen linear maps with their adapters: forward, and gradient with respect to the input.

use super::{
    factors::PairView,
    products::{Frozen, Products},
    weights::{BaseModel, Linear},
};
use crate::kernels::lora;

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

impl Linear {
    /// The stored matrix, or its transpose.
    fn frozen<'a>(&'a self, model: &'a BaseModel, transposed: bool) -> Frozen<'a> {
        let stored = model.tensor(&self.weight);
        Frozen { stored, rows: 0..stored.shape()[0], transposed, kept: model.keeps_tiles.then_some(&self.kept) }
    }

    /// out = x Wᵀ + bias + scaling · (x Aᵀ) Bᵀ for `rows` rows of x (N, in), or += with `accumulate`. Leaves x Aᵀ (N, R) in
    /// `inner`.
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
        accumulate: bool,
    ) {
        let (fan_in, fan_out) = (self.spec.in_features, self.spec.out_features);
        let Columns { offset, stride } = columns;
        for row in out.chunks_mut(stride).take(if self.bias.is_empty() { 0 } else { rows }) {
            let row = &mut row[offset..offset + fan_out];
            if accumulate {
                row.iter_mut().zip(&self.bias).for_each(|(x, bias)| *x += bias);
            } else {
                row.copy_from_slice(&self.bias);
            }
        }
        let matrix = self.frozen(model, !self.transposed);
        let add = accumulate || !self.bias.is_empty();
        products.put(rows, (x, fan_in), &matrix, (&mut out[offset..], stride), add);
        let Some(pair) = pair else { return inner.clear() };
        inner.resize(rows * pair.rank, 0.0);
        lora::narrow(x, fan_in, pair.narrow_a, inner);
        lora::widen(pair.rank, fan_out, inner, pair.wide_b, &mut out[offset..], stride);
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
            lora::widen(pair.rank, fan_in, dinner, pair.wide_a, dx, fan_in);
        }
    }
}
