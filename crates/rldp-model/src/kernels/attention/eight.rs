//! Attention of heads of eight features: all of a block's queries, keys' gradients included, stay in registers.
//!
//! The 16 places of a vector are shared by the queries of all heads that use the same keys: two heads, eight queries each.
//! Powers are of two; the logarithm of e goes into the scale of the queries.

use std::{
    f32::consts::{LN_2, LOG2_E},
    ops::Range,
};

use super::Group;
use crate::kernels::{
    dispatch_vectors,
    vector::{LANES, Lanes, Vector},
};

/// Features of a head.
pub(super) const DIM: usize = 8;
/// What is added to a score that does not count.
const NEVER: f32 = -1e30;
/// The place whose pair is at each position of [`Vector::interleave`]'s result.
const PLACES: [usize; LANES] = [0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15];

/// Vectors in memory, none of which lies across two cache lines.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Aligned<const N: usize>([Lanes; N]);

impl<const N: usize> Aligned<N> {
    const ZERO: Self = Self([[0.0; LANES]; N]);
}

/// Consecutive queries of all heads of a group.
struct Block {
    start: usize,
    count: usize,
    heads: usize,
    /// Queries of one head, those not in use included.
    per_head: usize,
    /// Tokens that at least one query attends to.
    past: Range<usize>,
    /// Of these, the ones that all queries attend to.
    shared: Range<usize>,
    /// Token of the query at each place, and the first that it attends to.
    last: Lanes,
    first: Lanes,
}

impl Block {
    #[inline(always)]
    fn new(group: &Group, start: usize, end: usize) -> Self {
        let per_head = LANES / group.heads;
        let count = per_head.min(end - start);
        let newest = start + count - 1;
        let (mut last, mut first) = ([0.0; LANES], [0.0; LANES]);
        for places in last.chunks_exact_mut(per_head) {
            for (i, place) in places.iter_mut().enumerate() {
                *place = (start + i) as f32;
            }
        }
        let reach = 1.0 - group.window as f32;
        for place in 0..LANES {
            first[place] = last[place] + reach;
        }
        let (past, shared) = (group.first(start)..newest + 1, group.first(newest)..start + 1);
        Self { start, count, heads: group.heads, per_head, past, shared, last, first }
    }

    /// Zero where a query attends to a token, [`NEVER`] where it does not.
    #[inline(always)]
    fn bias<V: Vector>(&self, token: usize) -> V {
        let token = token as f32;
        let mut bias = [0.0; LANES];
        for place in 0..LANES {
            let attends = self.first[place] <= token && token <= self.last[place];
            bias[place] = if attends { 0.0 } else { NEVER };
        }
        V::load(&bias)
    }
}

/// Eight numbers of a row.
#[inline(always)]
fn eight(rows: &[f32], at: usize) -> &[f32; DIM] {
    rows[at..].first_chunk().expect("a head has eight features")
}

/// Σ aᵢ bᵢ for each place.
#[inline(always)]
fn dot<V: Vector>(columns: &[V; DIM], row: &[f32; DIM]) -> V {
    dot_columns(columns, |i| V::splat(row[i]))
}

/// The same in the same order, so that equal operands give equal sums: what a query attends to alone has no slope.
#[inline(always)]
fn dot_columns<V: Vector>(columns: &[V; DIM], other: impl Fn(usize) -> V) -> V {
    let mut halves = [V::zero(); 2];
    for i in 0..DIM / 2 {
        for half in 0..2 {
            let at = half * DIM / 2 + i;
            halves[half] = columns[at].madd(other(at), halves[half]);
        }
    }
    halves[0].add(halves[1])
}

/// Rows of eight as columns: those of a head `stride` apart, those of the next head beside them.
#[inline(always)]
fn columns<V: Vector>(block: &Block, rows: &[f32], stride: usize) -> [V; DIM] {
    let mut square = [V::zero(); LANES];
    for head in 0..block.heads {
        for i in 0..block.count {
            square[head * block.per_head + i] = V::load_some(eight(rows, i * stride + head * DIM));
        }
    }
    V::transpose(&mut square);
    let mut columns = [V::zero(); DIM];
    columns.copy_from_slice(&square[..DIM]);
    columns
}

/// The reverse of [`columns`], times a factor.
#[inline(always)]
fn put_columns<V: Vector>(block: &Block, columns: &[V; DIM], factor: V, out: &mut [f32], stride: usize) {
    let mut square = [V::zero(); LANES];
    for i in 0..DIM {
        square[i] = columns[i].multiply(factor);
    }
    V::transpose(&mut square);
    for head in 0..block.heads {
        for i in 0..block.count {
            square[head * block.per_head + i].store_some(&mut out[i * stride + head * DIM..][..DIM]);
        }
    }
}

dispatch_vectors! {
    /// As [`super::forward`].
    pub(super) fn forward = forward_body(group: Group, rows: &[f32], queries: usize, out: &mut [f32], out_stride: usize, lse: &mut [f32], lse_stride: usize)
}

#[inline(always)]
pub(super) fn forward_body<V: Vector>(
    group: Group,
    rows: &[f32],
    queries: usize,
    out: &mut [f32],
    out_stride: usize,
    lse: &mut [f32],
    lse_stride: usize,
) {
    let Group { stride, query, key, value, .. } = group;
    let tokens = rows.len() / stride;
    let before = tokens - queries;
    let scale = V::splat(LOG2_E / (DIM as f32).sqrt());
    let mut weights = vec![Aligned::<1>::ZERO; tokens];
    for start in (before..tokens).step_by(LANES / group.heads) {
        let block = Block::new(&group, start, tokens);
        let mut own = columns::<V>(&block, &rows[start * stride + query..], stride);
        for column in &mut own {
            *column = column.multiply(scale);
        }
        let mut max = V::splat(f32::MIN);
        for (weights, token) in weights.iter_mut().zip(block.past.clone()) {
            let mut score = dot(&own, eight(rows, token * stride + key));
            if !block.shared.contains(&token) {
                score = score.add(block.bias(token));
            }
            max = max.larger(score);
            score.store(&mut weights.0[0]);
        }
        let (mut sum, mut mixed) = (V::zero(), [V::zero(); DIM]);
        for (weights, token) in weights.iter().zip(block.past.clone()) {
            let weights = V::load(&weights.0[0]).subtract(max).exp2();
            sum = sum.add(weights);
            let row = eight(rows, token * stride + value);
            for i in 0..DIM {
                mixed[i] = weights.madd(V::splat(row[i]), mixed[i]);
            }
        }
        let own_out = &mut out[(start - before) * out_stride..];
        put_columns(&block, &mixed, V::splat(1.0).divide(sum), own_out, out_stride);
        let (mut largest, mut sums) = ([0.0; LANES], [0.0; LANES]);
        max.store(&mut largest);
        sum.store(&mut sums);
        for head in 0..block.heads {
            let lse = &mut lse[head * lse_stride + start - before..][..block.count];
            for (i, lse) in lse.iter_mut().enumerate() {
                let place = head * block.per_head + i;
                *lse = largest[place] * LN_2 + sums[place].ln();
            }
        }
    }
}

dispatch_vectors! {
    /// As [`super::backward`].
    pub(super) fn backward = backward_body(group: Group, rows: &[f32], out: &[f32], dout: &[f32], out_stride: usize, lse: &[f32], lse_stride: usize, drows: &mut [f32])
}

/// p = e^(score − lse); dv += p·dout; ds = p·(⟨dout, v⟩ − ⟨dout, out⟩); dq += scale·ds·k; dk += ds·scale·q.
#[inline(always)]
pub(super) fn backward_body<V: Vector>(
    group: Group,
    rows: &[f32],
    out: &[f32],
    dout: &[f32],
    out_stride: usize,
    lse: &[f32],
    lse_stride: usize,
    drows: &mut [f32],
) {
    let Group { stride, query, key, value, .. } = group;
    let tokens = rows.len() / stride;
    let scale = 1.0 / (DIM as f32).sqrt();
    // Gradients of a token's key and value, in turns.
    let mut sums = vec![Aligned::<1>::ZERO; tokens];
    // (ds, p) of every place of the block, by token.
    let mut pairs = vec![Aligned::<2>::ZERO; tokens];
    // Scaled query and d(out) of every place, in turns.
    let mut own = Aligned::<LANES>::ZERO;
    for start in (0..tokens).step_by(LANES / group.heads) {
        let block = Block::new(&group, start, tokens);
        let own_lse = gather(&block, &group, (rows, dout, out_stride), (lse, lse_stride), scale, &mut own);
        let mut square = [V::zero(); LANES];
        for place in 0..LANES {
            square[place] = V::load(&own.0[place]);
        }
        V::transpose(&mut square);
        let (mut queries, mut douts) = ([V::zero(); DIM], [V::zero(); DIM]);
        let outs = columns::<V>(&block, &out[start * out_stride..], out_stride);
        for i in 0..DIM {
            queries[i] = square[2 * i].multiply(V::splat(LOG2_E));
            douts[i] = square[2 * i + 1];
        }
        let along = dot_columns(&douts, |i| outs[i]);
        let own_lse = V::load(&own_lse);
        let mut dqueries = [V::zero(); DIM];
        for (pairs, token) in pairs.iter_mut().zip(block.past.clone()) {
            let (own_key, own_value) = (eight(rows, token * stride + key), eight(rows, token * stride + value));
            let mut score = dot(&queries, own_key).subtract(own_lse);
            if !block.shared.contains(&token) {
                score = score.add(block.bias(token));
            }
            let weight = score.exp2();
            let slope = dot(&douts, own_value).subtract(along).multiply(weight);
            for i in 0..DIM {
                dqueries[i] = slope.madd(V::splat(own_key[i]), dqueries[i]);
            }
            let [low, high] = slope.interleave(weight);
            low.store(&mut pairs.0[0]);
            high.store(&mut pairs.0[1]);
        }
        put_columns(&block, &dqueries, V::splat(scale), &mut drows[start * stride + query..], stride);
        spread::<V>(&own, &pairs[..block.past.len()], &mut sums[block.past.clone()]);
    }
    for (row, sums) in drows.chunks_exact_mut(stride).zip(&sums) {
        for (i, [dkey, dvalue]) in sums.0[0].as_chunks().0.iter().enumerate() {
            row[key + i] = *dkey;
            row[value + i] = *dvalue;
        }
    }
}

/// Puts the scaled query and d(out) of every place in `own`, in turns; returns the places' log-sum-exp in powers of two. Of
/// places not in use it is so large that their weights are zero.
#[inline(always)]
fn gather(
    block: &Block,
    group: &Group,
    (rows, dout, out_stride): (&[f32], &[f32], usize),
    (lse, lse_stride): (&[f32], usize),
    scale: f32,
    own: &mut Aligned<LANES>,
) -> Lanes {
    let mut own_lse = [-NEVER; LANES];
    if block.count < block.per_head {
        *own = Aligned::ZERO;
    }
    for head in 0..block.heads {
        for i in 0..block.count {
            let (token, place) = (block.start + i, head * block.per_head + i);
            let query = eight(rows, token * group.stride + group.query + head * DIM);
            let dout = eight(dout, token * out_stride + head * DIM);
            for i in 0..DIM {
                own.0[place][2 * i] = scale * query[i];
                own.0[place][2 * i + 1] = dout[i];
            }
            own_lse[place] = lse[head * lse_stride + token] * LOG2_E;
        }
    }
    own_lse
}

/// Adds to each token's sums those of all places: pairs (ds, p) times (query, d(out)).
#[inline(always)]
fn spread<V: Vector>(own: &Aligned<LANES>, pairs: &[Aligned<2>], sums: &mut [Aligned<1>]) {
    let mut queries = [V::zero(); LANES];
    for i in 0..LANES {
        queries[i] = V::load(&own.0[PLACES[i]]);
    }
    for (pairs, sums) in pairs.iter().zip(sums) {
        let pairs = pairs.0.as_flattened().as_chunks::<2>().0;
        let mut halves = [V::load(&sums.0[0]), V::zero()];
        for i in 0..LANES {
            halves[i % 2] = queries[i].madd(V::splat_pair(&pairs[i]), halves[i % 2]);
        }
        halves[0].add(halves[1]).store(&mut sums.0[0]);
    }
}
