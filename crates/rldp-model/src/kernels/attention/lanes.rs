//! Sixteen queries side by side.

use std::ops::Range;

use super::{GROUP, HeadView};
use crate::kernels::math::madd;

/// Queries of a block.
pub(super) const LANES: usize = 16;
/// Past tokens that are scored side by side.
const PAST: usize = 4;

/// One number for each query.
pub(super) type Lanes = [f32; LANES];

/// a·b + c.
#[inline(always)]
pub(super) fn madd_lanes<const FMA: bool>(a: Lanes, b: f32, c: Lanes) -> Lanes {
    let mut sum = c;
    for lane in 0..LANES {
        sum[lane] = madd::<FMA>(a[lane], b, c[lane]);
    }
    sum
}

/// function(a, b), query by query.
#[inline(always)]
pub(super) fn zip(a: Lanes, b: Lanes, function: impl Fn(f32, f32) -> f32) -> Lanes {
    let mut found = a;
    for lane in 0..LANES {
        found[lane] = function(a[lane], b[lane]);
    }
    found
}

/// Up to 16 consecutive queries of a head.
pub(super) struct Block {
    /// Token of the first query.
    pub(super) start: usize,
    /// Queries.
    pub(super) count: usize,
    /// Tokens that at least one query attends to.
    pub(super) past: Range<usize>,
    /// Of these, the ones that all queries attend to.
    shared: Range<usize>,
    window: usize,
}

impl Block {
    #[inline(always)]
    pub(super) fn new(head: &HeadView, start: usize, count: usize) -> Self {
        let last = start + count - 1;
        let past = head.first(start)..last + 1;
        Self { start, count, past, shared: head.first(last)..start + 1, window: head.window }
    }

    /// The queries' rows (at least `count`, `stride` apart) as columns, times `factor`: (D, 16).
    #[inline(always)]
    pub(super) fn columns(&self, rows: &[f32], stride: usize, dim: usize, factor: f32) -> Vec<Lanes> {
        let mut columns = vec![[0.0; LANES]; dim];
        for (lane, row) in rows.chunks(stride).take(self.count).enumerate() {
            for (column, x) in columns.iter_mut().zip(row) {
                column[lane] = factor * x;
            }
        }
        columns
    }

    /// Puts `value` where a query does not attend to a token.
    #[inline(always)]
    pub(super) fn mask(&self, scores: &mut [Lanes], value: f32) {
        for (scores, token) in scores.iter_mut().zip(self.past.clone()) {
            if self.shared.contains(&token) {
                continue;
            }
            for (lane, score) in scores.iter_mut().enumerate() {
                let query = self.start + lane;
                if token > query || query - token >= self.window {
                    *score = value;
                }
            }
        }
    }
}

/// Products of the queries' columns (D, 16) with every row (n, padded D): (n, 16).
#[inline(always)]
pub(super) fn scores<const FMA: bool>(columns: &[Lanes], rows: &[f32], padded: usize, out: &mut Vec<Lanes>) {
    out.clear();
    let four = rows.chunks_exact(PAST * padded);
    let rest = four.remainder();
    for rows in four {
        let [mut a, mut b, mut c, mut d] = [[0.0; LANES]; PAST];
        let (first, second, third, fourth) =
            (&rows[..padded], &rows[padded..2 * padded], &rows[2 * padded..3 * padded], &rows[3 * padded..]);
        for (i, column) in columns.iter().enumerate() {
            a = madd_lanes::<FMA>(*column, first[i], a);
            b = madd_lanes::<FMA>(*column, second[i], b);
            c = madd_lanes::<FMA>(*column, third[i], c);
            d = madd_lanes::<FMA>(*column, fourth[i], d);
        }
        out.extend([a, b, c, d]);
    }
    for row in rest.chunks_exact(padded) {
        let mut sum = [0.0; LANES];
        for (column, x) in columns.iter().zip(row) {
            sum = madd_lanes::<FMA>(*column, *x, sum);
        }
        out.push(sum);
    }
}

/// Σ_j weights_j · rows_j over some features, `GROUP` at a time: calls `put(first feature, sums)`.
#[inline(always)]
pub(super) fn mix<const FMA: bool>(
    weights: &[Lanes],
    rows: &[f32],
    padded: usize,
    mut put: impl FnMut(usize, &[Lanes; GROUP]),
) {
    for first in (0..padded).step_by(GROUP) {
        let mut sums = [[0.0; LANES]; GROUP];
        for (weight, row) in weights.iter().zip(rows.chunks_exact(padded)) {
            let row: &[f32; GROUP] = row[first..].first_chunk().expect("rows are whole groups");
            for i in 0..GROUP {
                sums[i] = madd_lanes::<FMA>(*weight, row[i], sums[i]);
            }
        }
        put(first, &sums);
    }
}
