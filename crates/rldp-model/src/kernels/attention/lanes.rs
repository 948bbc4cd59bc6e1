//! Sixteen queries side by side.

use std::ops::Range;

use super::Group;
use crate::kernels::vector::{LANES, Lanes, Vector};

/// Past tokens that are taken side by side: as many sums as keep two units busy.
const PAST: usize = 8;
/// Features that are summed side by side.
const GROUP: usize = 8;

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
    pub(super) fn new(head: &Group, start: usize, count: usize) -> Self {
        let last = start + count - 1;
        let past = head.first(start)..last + 1;
        Self { start, count, past, shared: head.first(last)..start + 1, window: head.window }
    }

    /// The queries' rows (at least `count`, `stride` apart) times `factor`, filled up with zeros: (16, padded D).
    #[inline(always)]
    pub(super) fn gather(&self, rows: &[f32], stride: usize, head: &Group, factor: f32, out: &mut [f32]) {
        let padded = head.padded();
        for (out, row) in out.chunks_exact_mut(padded).zip(rows.chunks(stride)).take(self.count) {
            for (out, x) in out.iter_mut().zip(&row[..head.dim]) {
                *out = factor * x;
            }
        }
        out[self.count * padded..].fill(0.0);
    }

    /// Puts `value` where a query does not attend to a token.
    #[inline(always)]
    pub(super) fn mask(&self, scores: &mut [Lanes], value: f32) {
        for (scores, token) in scores.iter_mut().zip(self.past.clone()) {
            if self.shared.contains(&token) {
                continue;
            }
            // Queries before the token, and those whose window it has left.
            let first = token.saturating_sub(self.start);
            let behind = token.saturating_add(self.window).saturating_sub(self.start);
            for lane in 0..LANES {
                let attends = lane >= first && lane < behind;
                scores[lane] = if attends { scores[lane] } else { value };
            }
        }
    }
}

/// Rows (16, padded D) as columns (padded D, 16).
#[inline(always)]
pub(super) fn columns<V: Vector>(rows: &[f32], padded: usize, out: &mut [Lanes]) {
    for (first, out) in (0..padded).step_by(LANES).zip(out.as_chunks_mut::<LANES>().0) {
        let mut square = [V::zero(); LANES];
        for (square, row) in square.iter_mut().zip(rows.chunks_exact(padded)) {
            *square = V::load(row[first..].first_chunk().expect("rows are whole vectors"));
        }
        V::transpose(&mut square);
        for i in 0..LANES {
            square[i].store(&mut out[i]);
        }
    }
}

/// Columns (padded D, 16) as rows (16, padded D).
#[inline(always)]
pub(super) fn rows<V: Vector>(columns: &[Lanes], padded: usize, out: &mut [f32]) {
    for (first, columns) in (0..padded).step_by(LANES).zip(columns.as_chunks::<LANES>().0) {
        let mut square = [V::zero(); LANES];
        for i in 0..LANES {
            square[i] = V::load(&columns[i]);
        }
        V::transpose(&mut square);
        for (square, row) in square.iter().zip(out.chunks_exact_mut(padded)) {
            square.store(row[first..].first_chunk_mut().expect("rows are whole vectors"));
        }
    }
}

/// Products of the queries' columns (at least D, 16) with every row (n, padded D): (n, 16).
#[inline(always)]
pub(super) fn scores<V: Vector>(columns: &[Lanes], rows: &[f32], padded: usize, out: &mut [Lanes]) {
    let (many, rest) = out.as_chunks_mut::<PAST>();
    let (rows, last_rows) = rows.split_at(many.len() * PAST * padded);
    for (out, rows) in many.iter_mut().zip(rows.chunks_exact(PAST * padded)) {
        scores_some::<V, PAST>(columns, rows, padded, out);
    }
    let (pairs, last) = rest.as_chunks_mut::<2>();
    let (rows, last_row) = last_rows.split_at(pairs.len() * 2 * padded);
    for (out, rows) in pairs.iter_mut().zip(rows.chunks_exact(2 * padded)) {
        scores_some::<V, 2>(columns, rows, padded, out);
    }
    if let [out] = last {
        scores_some::<V, 1>(columns, last_row, padded, std::array::from_mut(out));
    }
}

#[inline(always)]
fn scores_some<V: Vector, const N: usize>(columns: &[Lanes], rows: &[f32], padded: usize, out: &mut [Lanes; N]) {
    let rows: [&[f32]; N] = std::array::from_fn(|n| &rows[n * padded..][..columns.len()]);
    let mut sums = [V::zero(); N];
    for i in 0..columns.len() {
        let column = V::load(&columns[i]);
        for n in 0..N {
            sums[n] = column.madd(V::splat(rows[n][i]), sums[n]);
        }
    }
    for n in 0..N {
        sums[n].store(&mut out[n]);
    }
}

/// Σ_j weights_j · rows_j over the features of rows (n, padded D): (padded D, 16), as columns.
#[inline(always)]
pub(super) fn mix<V: Vector>(weights: &[Lanes], rows: &[f32], padded: usize, dim: usize, out: &mut [Lanes]) {
    for (first, out) in (0..dim).step_by(GROUP).zip(out.as_chunks_mut::<GROUP>().0) {
        let mut sums = [V::zero(); GROUP];
        for (weight, row) in weights.iter().zip(rows.chunks_exact(padded)) {
            let weight = V::load(weight);
            let row: &[f32; GROUP] = row[first..].first_chunk().expect("rows are whole groups");
            for i in 0..GROUP {
                sums[i] = weight.madd(V::splat(row[i]), sums[i]);
            }
        }
        for i in 0..GROUP {
            sums[i].store(&mut out[i]);
        }
    }
}

/// `out_j += Σ_lane weights_j[lane] · rows[lane]`: rows (16, padded D), out (n, padded D).
#[inline(always)]
pub(super) fn spread<V: Vector>(weights: &[Lanes], rows: &[f32], padded: usize, out: &mut [f32]) {
    let (many, rest) = weights.as_chunks::<PAST>();
    let (out, last_out) = out.split_at_mut(many.len() * PAST * padded);
    for (weights, out) in many.iter().zip(out.chunks_exact_mut(PAST * padded)) {
        spread_some::<V, PAST>(weights, rows, padded, out);
    }
    let (pairs, last) = rest.as_chunks::<2>();
    let (out, last_out) = last_out.split_at_mut(pairs.len() * 2 * padded);
    for (weights, out) in pairs.iter().zip(out.chunks_exact_mut(2 * padded)) {
        spread_some::<V, 2>(weights, rows, padded, out);
    }
    if let [weights] = last {
        spread_some::<V, 1>(std::array::from_ref(weights), rows, padded, last_out);
    }
}

#[inline(always)]
fn spread_some<V: Vector, const N: usize>(weights: &[Lanes; N], rows: &[f32], padded: usize, out: &mut [f32]) {
    for first in (0..padded).step_by(LANES) {
        let mut sums = [V::zero(); N];
        for (lane, row) in rows.chunks_exact(padded).enumerate() {
            let row = V::load(row[first..].first_chunk().expect("rows are whole vectors"));
            for i in 0..N {
                sums[i] = row.madd(V::splat(weights[i][lane % LANES]), sums[i]);
            }
        }
        for i in 0..N {
            let out = out[i * padded + first..].first_chunk_mut().expect("rows are whole vectors");
            sums[i].add(V::load(out)).store(out);
        }
    }
}
