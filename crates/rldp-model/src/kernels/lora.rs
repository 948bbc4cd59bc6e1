//! Products with LoRA's narrow factors, and the per-unit sums of outer products that are their gradients. Ranks are too
//! small for a general matrix product to be fast.

#[cfg(test)]
mod tests;

use super::{
    dispatch_vectors,
    vector::{LANES, Lanes, Vector},
};

/// Rows that are taken side by side.
const ROWS: usize = 8;
/// Ranks that are summed side by side.
const RANKS: usize = 8;
/// Columns that are summed side by side: two vectors.
const COLUMNS: usize = 2 * LANES;
/// Rows of an output that stay in the second cache while its columns are passed.
const STAY: usize = 32;

/// A narrow factor W (n, R) as [`narrow`] takes it.
///
/// Up to rank 8, a vector holds two rows of W, their ranks in turns; above, 16 ranks of one row, and the groups of 16 ranks
/// lie one after another. What is missing is zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    width: usize,
    rank: usize,
    lanes: Vec<Lanes>,
}

impl Packed {
    /// `at(i, r)` is an element of W.
    pub(crate) fn new(width: usize, rank: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut lanes = Vec::new();
        if rank <= RANKS {
            lanes.extend((0..width).step_by(2).map(|i| {
                let mut lanes = [0.0; LANES];
                for r in 0..rank {
                    lanes[2 * r] = at(i, r);
                    lanes[2 * r + 1] = if i + 1 < width { at(i + 1, r) } else { 0.0 };
                }
                lanes
            }));
        } else {
            for first in (0..rank).step_by(LANES) {
                lanes.extend((0..width).map(|i| {
                    let mut lanes = [0.0; LANES];
                    for (r, lane) in (first..rank).zip(&mut lanes) {
                        *lane = at(i, r);
                    }
                    lanes
                }));
            }
        }
        Self { width, rank, lanes }
    }
}

dispatch_vectors! {
    /// out (N, R) = x W for x (N, n), rows `x_stride` apart.
    pub(crate) fn narrow = narrow_body(x: &[f32], x_stride: usize, weights: &Packed, out: &mut [f32])
}

#[inline(always)]
fn narrow_body<V: Vector>(x: &[f32], x_stride: usize, weights: &Packed, out: &mut [f32]) {
    let Packed { width, rank, lanes } = weights;
    let (width, rank) = (*width, *rank);
    let rows = out.len() / rank;
    for first in (0..rows).step_by(ROWS) {
        // Rows beyond the last repeat it; their sums are dropped.
        let at = |i: usize| &x[(first + i).min(rows - 1) * x_stride..][..width];
        let x: [&[f32]; ROWS] = [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)];
        let out = &mut out[first * rank..rows.min(first + ROWS) * rank];
        if rank <= RANKS {
            narrow_pairs::<V>(&x, lanes, rank, out);
        } else {
            for (group, lanes) in lanes.chunks_exact(width.max(1)).enumerate() {
                narrow_group::<V>(&x, lanes, rank, group * LANES, out);
            }
        }
    }
}

/// Rows of out from rows of x, two columns at a time.
#[inline(always)]
fn narrow_pairs<V: Vector>(x: &[&[f32]; ROWS], weights: &[Lanes], rank: usize, out: &mut [f32]) {
    let whole = x[0].len() / 2;
    let (pairs, rest) = weights.split_at(whole);
    let x_pairs = x.map(|row| &row.as_chunks::<2>().0[..whole]);
    let mut sums = [V::zero(); ROWS];
    for i in 0..whole {
        let weights = V::load(&pairs[i]);
        for row in 0..ROWS {
            sums[row] = weights.madd(V::splat_pair(&x_pairs[row][i]), sums[row]);
        }
    }
    if let Some(weights) = rest.first() {
        for row in 0..ROWS {
            sums[row] = V::load(weights).madd(V::splat(x[row][2 * whole]), sums[row]);
        }
    }
    for (sum, out) in sums.iter().zip(out.chunks_exact_mut(rank)) {
        let mut lanes = [0.0; LANES];
        sum.store(&mut lanes);
        for (out, [even, odd]) in out.iter_mut().zip(lanes.as_chunks().0) {
            *out = even + odd;
        }
    }
}

/// Columns `first..first + 16` of rows of out.
#[inline(always)]
fn narrow_group<V: Vector>(x: &[&[f32]; ROWS], weights: &[Lanes], rank: usize, first: usize, out: &mut [f32]) {
    let width = x[0].len();
    let (weights, x) = (&weights[..width], x.map(|row| &row[..width]));
    let mut sums = [V::zero(); ROWS];
    for i in 0..width {
        let weights = V::load(&weights[i]);
        for row in 0..ROWS {
            sums[row] = weights.madd(V::splat(x[row][i]), sums[row]);
        }
    }
    for (sum, out) in sums.iter().zip(out.chunks_exact_mut(rank)) {
        sum.store_some(&mut out[first..rank.min(first + LANES)]);
    }
}

/// Up to eight numbers, filled up with zeros in `padded` if they are fewer. A reference keeps them in memory, from where
/// each is spread over a vector by its load.
#[inline(always)]
fn eight<'a>(values: &'a [f32], padded: &'a mut [f32; RANKS]) -> &'a [f32; RANKS] {
    if let Some(eight) = values.first_chunk() {
        return eight;
    }
    padded[..values.len()].copy_from_slice(values);
    padded
}

/// Two vectors of a row from column `start` on; what is missing is zero.
#[inline(always)]
fn two<V: Vector>(row: &[f32], start: usize) -> [V; 2] {
    let (low, high) = row[start..row.len().min(start + COLUMNS)].split_at(LANES.min(row.len() - start));
    [V::load_some(low), V::load_some(high)]
}

/// Fetches the columns after those from `start` on: rows are too far apart for the processor to see that it will need them.
#[inline(always)]
fn fetch_next<V: Vector>(row: &[f32], start: usize) {
    if let Some(next) = row.get(start + COLUMNS..start + 2 * COLUMNS) {
        next.as_chunks().0.iter().for_each(V::fetch);
    }
}

/// The reverse of [`two`].
#[inline(always)]
fn put_two<V: Vector>(values: [V; 2], row: &mut [f32], start: usize) {
    let end = row.len().min(start + COLUMNS);
    let (low, high) = row[start..end].split_at_mut(LANES.min(end - start));
    values[0].store_some(low);
    values[1].store_some(high);
}

dispatch_vectors! {
    /// out (N, n) += left (N, R) · W for W (R, n); rows of out are `stride` apart.
    pub(crate) fn widen = widen_body(rank: usize, width: usize, left: &[f32], weights: &[f32], out: &mut [f32], stride: usize)
}

#[inline(always)]
fn widen_body<V: Vector>(rank: usize, width: usize, left: &[f32], weights: &[f32], out: &mut [f32], stride: usize) {
    let mut padded = [0.0; RANKS];
    for (left, out) in left.chunks(STAY * rank).zip(out.chunks_mut(STAY * stride)) {
        for ranks in (0..rank).step_by(RANKS) {
            let count = RANKS.min(rank - ranks);
            for start in (0..width).step_by(COLUMNS) {
                let mut own = [[V::zero(); 2]; RANKS];
                for (own, weights) in own.iter_mut().zip(weights.chunks_exact(width).skip(ranks)).take(count) {
                    *own = two(weights, start);
                }
                for (left, out) in left.chunks_exact(rank).zip(out.chunks_mut(stride)) {
                    let (left, out) = (eight(&left[ranks..ranks + count], &mut padded), &mut out[..width]);
                    fetch_next::<V>(out, start);
                    let [mut low, mut high] = two::<V>(out, start);
                    for r in 0..RANKS {
                        let left = V::splat(left[r]);
                        low = own[r][0].madd(left, low);
                        high = own[r][1].madd(left, high);
                    }
                    put_two([low, high], out, start);
                }
            }
        }
    }
}

/// Σ_t `left_t` ⊗ `right_t` over rows of `left` (T, R) and of `right` (T, n), rows of the latter `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Outer<'a> {
    pub(crate) left: &'a [f32],
    pub(crate) rank: usize,
    pub(crate) right: &'a [f32],
    pub(crate) width: usize,
    pub(crate) stride: usize,
}

dispatch_vectors! {
    /// sum (R, n) = the sum of outer products, or += with `accumulate`.
    pub(crate) fn outer_sum = outer_sum_body(outer: Outer, accumulate: bool, sum: &mut [f32])
}

dispatch_vectors! {
    /// sum (n, R) = factor · the transpose of the sum of outer products, or += with `accumulate`.
    pub(crate) fn outer_sum_transposed = outer_sum_transposed_body(outer: Outer, factor: f32, accumulate: bool, sum: &mut [f32])
}

impl Outer<'_> {
    /// The part of the sum over eight ranks and two vectors of columns.
    #[inline(always)]
    fn part<V: Vector>(&self, ranks: usize, start: usize) -> [[V; 2]; RANKS] {
        let count = RANKS.min(self.rank - ranks);
        let (mut sums, mut padded) = ([[V::zero(); 2]; RANKS], [0.0; RANKS]);
        for (left, right) in self.left.chunks_exact(self.rank).zip(self.right.chunks(self.stride)) {
            let left = eight(&left[ranks..ranks + count], &mut padded);
            let right = &right[..self.width];
            fetch_next::<V>(right, start);
            let [low, high] = two::<V>(right, start);
            for r in 0..RANKS {
                let left = V::splat(left[r]);
                sums[r] = [low.madd(left, sums[r][0]), high.madd(left, sums[r][1])];
            }
        }
        sums
    }
}

#[inline(always)]
fn outer_sum_body<V: Vector>(outer: Outer, accumulate: bool, sum: &mut [f32]) {
    for ranks in (0..outer.rank).step_by(RANKS) {
        for start in (0..outer.width).step_by(COLUMNS) {
            let part = outer.part::<V>(ranks, start);
            let count = RANKS.min(outer.rank - ranks);
            for r in 0..RANKS {
                if r < count {
                    let sum = &mut sum[(ranks + r) * outer.width..][..outer.width];
                    let [mut low, mut high] = part[r];
                    if accumulate {
                        let [old_low, old_high] = two::<V>(sum, start);
                        (low, high) = (low.add(old_low), high.add(old_high));
                    }
                    put_two([low, high], sum, start);
                }
            }
        }
    }
}

#[inline(always)]
fn outer_sum_transposed_body<V: Vector>(outer: Outer, factor: f32, accumulate: bool, sum: &mut [f32]) {
    let factor = V::splat(factor);
    for ranks in (0..outer.rank).step_by(RANKS) {
        for start in (0..outer.width).step_by(COLUMNS) {
            // Eight ranks of sixteen columns, and below them of the next sixteen.
            let part = outer.part::<V>(ranks, start);
            let mut square = [V::zero(); LANES];
            for r in 0..RANKS {
                square[r] = part[r][0].multiply(factor);
                square[RANKS + r] = part[r][1].multiply(factor);
            }
            V::transpose(&mut square);
            let end = outer.width.min(start + COLUMNS);
            let sum = &mut sum[start * outer.rank..end * outer.rank];
            put_columns(square, accumulate, sum, outer.rank, ranks);
        }
    }
}

/// Columns of eight ranks from `ranks` on: the halves of a vector lie 16 columns apart, and what is beyond either end is dropped.
#[inline(always)]
fn put_columns<V: Vector>(columns: [V; LANES], accumulate: bool, sum: &mut [f32], rank: usize, ranks: usize) {
    for (i, column) in columns.into_iter().enumerate() {
        let mut lanes = [0.0; LANES];
        column.store(&mut lanes);
        for (half, lanes) in lanes.as_chunks::<RANKS>().0.iter().enumerate() {
            let Some(row) = sum.chunks_exact_mut(rank).nth(half * LANES + i) else { continue };
            for (sum, value) in row[ranks..].iter_mut().zip(lanes) {
                *sum = if accumulate { *sum + value } else { *value };
            }
        }
    }
}
