//! Causal attention of one sequence and one head, without the T × T matrix: the scores of 16 queries are made, used and
//! forgotten; the backward pass makes them again from the saved log-sum-exp.
//!
//! Vectors run over queries, not over the features of a head: a head of 8 features would leave most of a vector empty.

mod backward;
mod forward;
mod lanes;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use self::{backward::backward, forward::forward};
use super::vector::LANES;

/// Where one head's queries, keys and values lie in rows of a fused buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadView {
    /// Distance between the rows of two tokens.
    pub(crate) stride: usize,
    /// Offset of the head's query in a row.
    pub(crate) query: usize,
    /// Offset of its key.
    pub(crate) key: usize,
    /// Offset of its value.
    pub(crate) value: usize,
    /// D.
    pub(crate) dim: usize,
    /// Reach back, the token itself included.
    pub(crate) window: usize,
}

impl HeadView {
    /// A head's part of a token's row.
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
        let mut found = vec![0.0; tokens.len() * padded];
        for (found, token) in found.chunks_exact_mut(padded).zip(tokens) {
            found[..self.dim].copy_from_slice(self.at(rows, token, offset));
        }
        found
    }

    /// First token that a token attends to.
    #[inline(always)]
    fn first(&self, token: usize) -> usize {
        (token + 1).saturating_sub(self.window)
    }
}
