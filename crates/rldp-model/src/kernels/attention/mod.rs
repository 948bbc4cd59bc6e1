//! Causal attention of one sequence, without the T × T matrix: the scores of 16 queries are made, used and
//! forgotten; the backward pass makes them again from the saved log-sum-exp.
//!
//! Vectors run over queries, not over the features of a head: a head of 8 features would leave most of a vector empty.

mod backward;
mod eight;
mod forward;
mod lanes;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::vector::LANES;

/// Where the queries, keys and values of some heads lie in rows of a fused buffer. The heads share keys and values, and
/// their queries lie side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Distance between the rows of two tokens.
    pub(crate) stride: usize,
    /// Heads.
    pub(crate) heads: usize,
    /// Offset of the first head's query in a row.
    pub(crate) query: usize,
    /// Offset of the key.
    pub(crate) key: usize,
    /// Offset of the value.
    pub(crate) value: usize,
    /// D.
    pub(crate) dim: usize,
    /// Reach back, the token itself included.
    pub(crate) window: usize,
}

impl Group {
    /// One of the heads.
    fn head(self, index: usize) -> Self {
        Self { heads: 1, query: self.query + index * self.dim, ..self }
    }

    /// Every head with the first query of each of its blocks of 16, counted from the first of `queries`.
    #[inline(always)]
    fn blocks(&self, queries: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.heads).flat_map(move |head| (0..queries).step_by(LANES).map(move |first| (head, first)))
    }

    /// The part of a token's row from `offset` on.
    #[inline(always)]
    fn at<'a>(&self, rows: &'a [f32], token: usize, offset: usize) -> &'a [f32] {
        &rows[token * self.stride + offset..][..self.dim]
    }

    #[inline(always)]
    fn at_mut<'a>(&self, rows: &'a mut [f32], token: usize, offset: usize) -> &'a mut [f32] {
        &mut rows[token * self.stride + offset..][..self.dim]
    }

    /// D, rounded up so that rows of features are whole vectors.
    #[inline(always)]
    fn padded(&self) -> usize {
        self.dim.next_multiple_of(LANES)
    }

    /// Some tokens' parts in one piece, (tokens, padded D), filled up with zeros.
    #[inline(always)]
    fn gather(&self, rows: &[f32], tokens: Range<usize>, offset: usize) -> Vec<f32> {
        let padded = self.padded();
        let mut found = Vec::with_capacity(tokens.len() * padded);
        for token in tokens {
            found.extend_from_slice(self.at(rows, token, offset));
            found.resize(found.len().next_multiple_of(padded), 0.0);
        }
        found
    }

    /// First token that a token attends to.
    #[inline(always)]
    fn first(&self, token: usize) -> usize {
        (token + 1).saturating_sub(self.window)
    }

    /// Whether there is a kernel that packs the heads of the group.
    fn fits_eight(&self) -> bool {
        self.dim == eight::DIM && LANES.is_multiple_of(self.heads)
    }
}

/// Attends from each of the last `queries` tokens of `rows`: writes the heads' outputs side by side to the rows of `out`,
/// `out_stride` apart, and their log-sum-exps, those of two heads `lse_stride` apart.
pub(crate) fn forward(
    group: Group,
    rows: &[f32],
    queries: usize,
    out: &mut [f32],
    out_stride: usize,
    lse: &mut [f32],
    lse_stride: usize,
) {
    if group.fits_eight() {
        return eight::forward(group, rows, queries, out, out_stride, lse, lse_stride);
    }
    forward::forward(group, rows, queries, out, out_stride, lse, lse_stride);
}

/// Writes to `drows` the gradients of the group's queries, keys and values over a whole sequence, given d(out).
pub(crate) fn backward(
    group: Group,
    rows: &[f32],
    out: &[f32],
    dout: &[f32],
    out_stride: usize,
    lse: &[f32],
    lse_stride: usize,
    drows: &mut [f32],
) {
    if group.fits_eight() {
        return eight::backward(group, rows, out, dout, out_stride, lse, lse_stride, drows);
    }
    backward::backward(group, rows, out, dout, out_stride, lse, lse_stride, drows);
}
