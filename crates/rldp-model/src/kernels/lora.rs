//! Products with LoRA's narrow factors, and the per-unit sums of outer products that are their gradients. Ranks are too
//! small for a general matrix product to be fast.

use std::ops::Range;

use super::{
    dispatch_vectors,
    vector::{LANES, Lanes, Vector},
};

/// Columns that are summed at once, so that all R rows of the sum stay in the first cache.
const TILE: usize = 256;
/// Rows that are taken side by side.
const ROWS: usize = 8;
/// Rows whose outer products are summed side by side.
const TOKENS: usize = 4;

dispatch_vectors! {
    /// out (N, R) = factor · x W for x (N, n), rows `x_stride` apart, and W (n, R) given as `LANES` columns at a time.
    pub(crate) fn narrow = narrow_body(rank: usize, factor: f32, x: &[f32], x_stride: usize, packed: &[Lanes], out: &mut [f32])
}

/// W (n, R) as [`narrow`] takes it: groups of 16 columns, each (n, 16), the last filled up with zeros. `at(i, r)` is an
/// element of W.
pub(crate) fn pack(width: usize, rank: usize, packed: &mut Vec<Lanes>, at: impl Fn(usize, usize) -> f32) {
    packed.clear();
    for first in (0..rank).step_by(LANES) {
        packed.extend((0..width).map(|i| {
            let mut lanes = [0.0; LANES];
            for (r, lane) in (first..rank).zip(&mut lanes) {
                *lane = at(i, r);
            }
            lanes
        }));
    }
}

#[inline(always)]
fn narrow_body<V: Vector>(rank: usize, factor: f32, x: &[f32], x_stride: usize, packed: &[Lanes], out: &mut [f32]) {
    let groups = rank.div_ceil(LANES);
    let width = packed.len() / groups;
    let rows = out.len() / rank;
    for (group, weights) in packed.chunks_exact(width.max(1)).enumerate() {
        let columns = group * LANES..rank.min((group + 1) * LANES);
        for first in (0..rows).step_by(ROWS) {
            // Rows beyond the last repeat it; their sums are dropped.
            let at = |i: usize| &x[(first + i).min(rows - 1) * x_stride..][..width];
            let x: [&[f32]; ROWS] = [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)];
            let mut sums = [V::zero(); ROWS];
            for (i, weights) in weights.iter().enumerate() {
                let weights = V::load(weights);
                for row in 0..ROWS {
                    sums[row] = weights.madd(V::splat(x[row][i]), sums[row]);
                }
            }
            for (sum, out) in sums.iter().zip(out[first * rank..].chunks_exact_mut(rank)) {
                let mut lanes = [0.0; LANES];
                sum.multiply(V::splat(factor)).store(&mut lanes);
                out[columns.clone()].copy_from_slice(&lanes[..columns.len()]);
            }
        }
    }
}

dispatch_vectors! {
    /// out (N, n) += left (N, R) · W for W (R, n); rows of out are `stride` apart.
    pub(crate) fn widen = widen_body(rank: usize, width: usize, left: &[f32], weights: &[f32], out: &mut [f32], stride: usize)
}

#[inline(always)]
fn widen_body<V: Vector>(rank: usize, width: usize, left: &[f32], weights: &[f32], out: &mut [f32], stride: usize) {
    let blocks = left.chunks(TOKENS * rank).zip(out.chunks_mut(TOKENS * stride));
    for (left, out) in blocks {
        let rows = left.len() / rank;
        let [a, b, c, d] = four_rows(left, rank);
        for start in (0..width).step_by(LANES) {
            let part = start..(start + LANES).min(width);
            let old = |row: usize| out.get(row * stride..).filter(|_| row < rows).unwrap_or_default();
            let mut p = some_or_zero::<V>(old(0), &part);
            let mut q = some_or_zero::<V>(old(1), &part);
            let mut r = some_or_zero::<V>(old(2), &part);
            let mut s = some_or_zero::<V>(old(3), &part);
            for ((((weights, a), b), c), d) in weights.chunks_exact(width).zip(a).zip(b).zip(c).zip(d) {
                let weights = V::load_some(&weights[part.clone()]);
                p = weights.madd(V::splat(*a), p);
                q = weights.madd(V::splat(*b), q);
                r = weights.madd(V::splat(*c), r);
                s = weights.madd(V::splat(*d), s);
            }
            for (row, sum) in [p, q, r, s].into_iter().enumerate().take(rows) {
                sum.store_some(&mut out[row * stride..][part.clone()]);
            }
        }
    }
}

/// Four rows of `rank` numbers; the last is repeated where there are fewer.
#[inline(always)]
fn four_rows(left: &[f32], rank: usize) -> [&[f32]; TOKENS] {
    let last = left.len() / rank - 1;
    [0, 1, 2, 3].map(|row: usize| &left[row.min(last) * rank..][..rank])
}

/// Part of a row, or zeros when there is no row.
#[inline(always)]
fn some_or_zero<V: Vector>(row: &[f32], part: &Range<usize>) -> V {
    if row.is_empty() { V::zero() } else { V::load_some(&row[part.clone()]) }
}

dispatch_vectors! {
    /// sum (R, n) += factor · Σ_t left_t ⊗ right_t, over rows of `left` (T, R) and of `right` (T, n), `right_stride` apart.
    pub(crate) fn outer_sum = outer_sum_body(rank: usize, width: usize, factor: f32, left: &[f32], right: &[f32], right_stride: usize, sum: &mut [f32])
}

#[inline(always)]
fn outer_sum_body<V: Vector>(
    rank: usize,
    width: usize,
    factor: f32,
    left: &[f32],
    right: &[f32],
    right_stride: usize,
    sum: &mut [f32],
) {
    for tile in (0..width).step_by(TILE) {
        let tile_end = (tile + TILE).min(width);
        for (left, right) in left.chunks(TOKENS * rank).zip(right.chunks(TOKENS * right_stride)) {
            let tokens = left.len() / rank;
            let [a, b, c, d] = four_rows(left, rank);
            let row = |token: usize| right.get(token * right_stride..).filter(|_| token < tokens).unwrap_or_default();
            let rows = [row(0), row(1), row(2), row(3)];
            for start in (tile..tile_end).step_by(LANES) {
                let part = start..(start + LANES).min(tile_end);
                let factor = V::splat(factor);
                let p = some_or_zero::<V>(rows[0], &part).multiply(factor);
                let q = some_or_zero::<V>(rows[1], &part).multiply(factor);
                let r = some_or_zero::<V>(rows[2], &part).multiply(factor);
                let s = some_or_zero::<V>(rows[3], &part).multiply(factor);
                for ((((sum, a), b), c), d) in sum.chunks_exact_mut(width).zip(a).zip(b).zip(c).zip(d) {
                    let sum = &mut sum[part.clone()];
                    let first = p.madd(V::splat(*a), V::load_some(sum));
                    let second = r.madd(V::splat(*c), q.multiply(V::splat(*b)));
                    s.madd(V::splat(*d), first).add(second).store_some(sum);
                }
            }
        }
    }
}

/// out (columns, rows) += the transpose of `matrix` (rows, columns).
pub(crate) fn add_transposed(matrix: &[f32], rows: usize, columns: usize, out: &mut [f32]) {
    for (column, out) in out.chunks_exact_mut(rows).enumerate() {
        for (row, out) in out.iter_mut().enumerate() {
            *out += matrix[row * columns + column];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::vector::Portable;

    fn value(i: usize) -> f32 {
        ((i * 7919 % 1009) as f32 - 504.0) / 504.0
    }

    fn near(found: f32, want: f64) {
        assert!((f64::from(found) - want).abs() < 1e-4, "{found}, not {want}");
    }

    #[test]
    fn agrees_with_the_definitions() {
        for (rows, width, rank) in [(1, 1, 1), (3, 17, 2), (9, 40, 8), (13, 300, 16), (5, 33, 21)] {
            let stride = width + 3;
            let wide: Vec<f32> = (0..rows * stride).map(value).collect();
            let left: Vec<f32> = (0..rows * rank).map(|i| value(i + 5)).collect();
            let weights: Vec<f32> = (0..rank * width).map(|i| value(i + 11)).collect();
            let at = |x: f32| f64::from(x);

            let (mut packed, mut thin) = (Vec::new(), vec![0.0; rows * rank]);
            pack(width, rank, &mut packed, |i, r| weights[r * width + i]);
            narrow(rank, 0.5, &wide, stride, &packed, &mut thin);
            let (mut out, mut sum) = (wide.clone(), vec![1.0; rank * width]);
            widen(rank, width, &left, &weights, &mut out, stride);
            outer_sum(rank, width, 0.5, &left, &wide, stride, &mut sum);
            let (mut portable_thin, mut portable_out, mut portable_sum) =
                (thin.clone(), wide.clone(), vec![1.0; rank * width]);
            narrow_body::<Portable<false>>(rank, 0.5, &wide, stride, &packed, &mut portable_thin);
            widen_body::<Portable<false>>(rank, width, &left, &weights, &mut portable_out, stride);
            outer_sum_body::<Portable<false>>(rank, width, 0.5, &left, &wide, stride, &mut portable_sum);
            for (found, portable) in [(&thin, &portable_thin), (&out, &portable_out), (&sum, &portable_sum)] {
                found.iter().zip(portable).for_each(|(found, portable)| near(*portable, f64::from(*found)));
            }
            for t in 0..rows {
                for r in 0..rank {
                    let want: f64 = (0..width).map(|i| at(wide[t * stride + i]) * at(weights[r * width + i])).sum();
                    near(thin[t * rank + r], 0.5 * want);
                }
                for i in 0..width {
                    let want: f64 = (0..rank).map(|r| at(left[t * rank + r]) * at(weights[r * width + i])).sum();
                    near(out[t * stride + i], at(wide[t * stride + i]) + want);
                }
                assert_eq!(out[t * stride + width..(t + 1) * stride], wide[t * stride + width..(t + 1) * stride]);
            }
            for r in 0..rank {
                for i in 0..width {
                    let want: f64 = (0..rows).map(|t| at(left[t * rank + r]) * at(wide[t * stride + i])).sum();
                    near(sum[r * width + i], 1.0 + 0.5 * want);
                }
            }
        }
    }
}
