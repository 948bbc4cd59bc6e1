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
    /// Queries of one head.
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
        let token = |place: usize| start + place % per_head;
        Self {
            start,
            count,
            per_head,
            past: group.first(start)..newest + 1,
            shared: group.first(newest)..start + 1,
            last: std::array::from_fn(|place| token(place) as f32),
            first: std::array::from_fn(|place| group.first(token(place)) as f32),
        }
    }

    /// (place, head, query of the block) of every place in use.
    #[inline(always)]
    fn places(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (per_head, count) = (self.per_head, self.count);
        (0..LANES).map(move |place| (place, place / per_head, place % per_head)).filter(move |place| place.2 < count)
    }

    /// Zero where a query attends to a token, [`NEVER`] where it does not.
    #[inline(always)]
    fn bias<V: Vector>(&self, token: usize) -> V {
        let token = token as f32;
        let mut bias = [0.0; LANES];
        for place in 0..LANES {
            bias[place] = if self.first[place] <= token && token <= self.last[place] { 0.0 } else { NEVER };
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
    let mut halves = [V::zero(); 2];
    for i in 0..DIM / 2 {
        for half in 0..2 {
            let at = half * DIM / 2 + i;
            halves[half] = columns[at].madd(V::splat(row[at]), halves[half]);
        }
    }
    halves[0].add(halves[1])
}

/// Rows of eight, `at` each place in use, as columns.
#[inline(always)]
fn columns<V: Vector>(block: &Block, rows: &[f32], at: impl Fn(usize, usize) -> usize) -> [V; DIM] {
    let mut square = [V::zero(); LANES];
    for (place, head, query) in block.places() {
        square[place] = V::load_some(eight(rows, at(head, query)));
    }
    V::transpose(&mut square);
    std::array::from_fn(|i| square[i])
}

/// The reverse of [`columns`].
#[inline(always)]
fn put_columns<V: Vector>(block: &Block, columns: &[V; DIM], out: &mut [f32], at: impl Fn(usize, usize) -> usize) {
    let mut square = [V::zero(); LANES];
    square[..DIM].copy_from_slice(columns);
    V::transpose(&mut square);
    for (place, head, query) in block.places() {
        square[place].store_some(&mut out[at(head, query)..][..DIM]);
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
        let own = columns::<V>(&block, rows, |head, i| (start + i) * stride + query + head * DIM);
        let own = own.map(|column| column.multiply(scale));
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
        let factor = V::splat(1.0).divide(sum);
        let mixed = mixed.map(|column| column.multiply(factor));
        put_columns(&block, &mixed, out, |head, i| (start - before + i) * out_stride + head * DIM);
        let (mut largest, mut sums) = ([0.0; LANES], [0.0; LANES]);
        max.store(&mut largest);
        sum.store(&mut sums);
        for (place, head, i) in block.places() {
            lse[head * lse_stride + start - before + i] = largest[place] * LN_2 + sums[place].ln();
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
        let mut square = own.0.map(|row| V::load(&row));
        V::transpose(&mut square);
        let queries: [V; DIM] = std::array::from_fn(|i| square[2 * i].multiply(V::splat(LOG2_E)));
        let douts: [V; DIM] = std::array::from_fn(|i| square[2 * i + 1]);
        let outs = columns::<V>(&block, out, |head, i| (start + i) * out_stride + head * DIM);
        let along = (0..DIM).fold(V::zero(), |sum, i| douts[i].madd(outs[i], sum));
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
        let dqueries = dqueries.map(|column| column.multiply(V::splat(scale)));
        put_columns(&block, &dqueries, drows, |head, i| (start + i) * stride + query + head * DIM);
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
    for (place, head, i) in block.places() {
        let token = block.start + i;
        let query = eight(rows, token * group.stride + group.query + head * DIM);
        let dout = eight(dout, token * out_stride + head * DIM);
        for i in 0..DIM {
            own.0[place][2 * i] = scale * query[i];
            own.0[place][2 * i + 1] = dout[i];
        }
        own_lse[place] = lse[head * lse_stride + token] * LOG2_E;
    }
    own_lse
}

/// Adds to each token's sums those of all places: pairs (ds, p) times (query, d(out)).
#[inline(always)]
fn spread<V: Vector>(own: &Aligned<LANES>, pairs: &[Aligned<2>], sums: &mut [Aligned<1>]) {
    let own: [V; LANES] = std::array::from_fn(|i| V::load(&own.0[PLACES[i]]));
    for (pairs, sums) in pairs.iter().zip(sums) {
        let pairs = pairs.0.as_flattened().as_chunks::<2>().0;
        let mut halves = [V::load(&sums.0[0]), V::zero()];
        for i in 0..LANES {
            halves[i % 2] = own[i].madd(V::splat_pair(&pairs[i]), halves[i % 2]);
        }
        halves[0].add(halves[1]).store(&mut sums.0[0]);
    }
}
