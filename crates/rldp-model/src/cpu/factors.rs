//! An adapter as the kernels take it.

use crate::{Adapter, kernels::lora::Packed};

/// An adapter with its factors laid out for the kernels, once for all micro-batches of a call.
pub(crate) struct Prepared<'a> {
    pub(crate) adapter: &'a Adapter,
    pairs: Vec<Factors>,
}

/// The factors of one pair.
struct Factors {
    /// Aᵀ (in, R).
    narrow_a: Packed,
    /// scaling · B (out, R).
    narrow_b: Packed,
    /// scaling · Bᵀ, row-major (R, out).
    wide_b: Vec<f32>,
}

/// An adapter pair as the engine uses it.
#[derive(Clone, Copy)]
pub(crate) struct PairView<'a> {
    pub(crate) rank: usize,
    /// A, row-major (R, in).
    pub(crate) wide_a: &'a [f32],
    /// Aᵀ (in, R).
    pub(crate) narrow_a: &'a Packed,
    /// scaling · B (out, R), with scaling = `lora_alpha / R`.
    pub(crate) narrow_b: &'a Packed,
    /// scaling · Bᵀ, row-major (R, out).
    pub(crate) wide_b: &'a [f32],
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(adapter: &'a Adapter) -> Self {
        let (layout, parameters) = (adapter.layout(), adapter.parameters());
        let (rank, scaling) = (layout.rank(), layout.scaling());
        let pairs = layout.pairs().iter().map(|pair| {
            let (a, b) = (&parameters[pair.a.clone()], &parameters[pair.b.clone()]);
            let (fan_in, fan_out) = (pair.linear.in_features, pair.linear.out_features);
            let mut wide_b = vec![0.0; b.len()];
            for (column, b) in b.chunks_exact(rank).enumerate() {
                for (r, b) in b.iter().enumerate() {
                    wide_b[r * fan_out + column] = scaling * b;
                }
            }
            Factors {
                narrow_a: Packed::new(fan_in, rank, |i, r| a[r * fan_in + i]),
                narrow_b: Packed::new(fan_out, rank, |i, r| scaling * b[i * rank + r]),
                wide_b,
            }
        });
        Self { adapter, pairs: pairs.collect() }
    }

    pub(crate) fn pair(&self, index: usize) -> PairView<'_> {
        let Factors { narrow_a, narrow_b, wide_b } = &self.pairs[index];
        PairView { rank: self.adapter.layout().rank(), wide_a: self.adapter.a(index), narrow_a, narrow_b, wide_b }
    }
}
