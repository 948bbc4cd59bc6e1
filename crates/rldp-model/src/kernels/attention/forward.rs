//! Attention, forward.

use super::{
    Group,
    lanes::{Block, columns, mix, rows as to_rows, scores},
};
use crate::kernels::{
    dispatch_vectors,
    vector::{LANES, Lanes, Vector},
};

dispatch_vectors! {
    /// Attends from each of the last `queries` tokens of `rows`; writes the heads' outputs side by side to the rows of `out`,
    /// `out_stride` apart, and their log-sum-exps, `lse_stride` apart.
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
    let tokens = rows.len() / group.stride;
    let (padded, scale) = (group.padded(), 1.0 / (group.dim as f32).sqrt());
    let oldest = group.first(tokens - queries);
    let keys = group.gather(rows, oldest..tokens, group.key);
    let values = group.gather(rows, oldest..tokens, group.value);
    let mut weights = vec![[0.0; LANES]; tokens - oldest];
    let (mut turned, mut mixed) = (vec![[0.0; LANES]; padded], vec![[0.0; LANES]; padded]);
    let mut straight = vec![0.0; LANES * padded];
    for (index, first) in group.blocks(queries) {
        let head = group.head(index);
        let (out, lse) = (&mut out[first * out_stride + index * head.dim..], &mut lse[index * lse_stride + first..]);
        let block = Block::new(&head, tokens - queries + first, LANES.min(queries - first));
        let past = (block.past.start - oldest) * padded..(block.past.end - oldest) * padded;
        let query_rows = &rows[block.start * head.stride + head.query..];
        block.gather(query_rows, head.stride, &head, scale, &mut straight);
        columns::<V>(&straight, padded, &mut turned);
        let weights = &mut weights[..block.past.len()];
        scores::<V>(&turned[..head.dim], &keys[past.clone()], padded, weights);
        block.mask(weights, f32::MIN);
        let (max, sum) = softmax::<V>(weights);
        for lane in 0..block.count {
            lse[lane] = max[lane] + sum[lane].ln();
        }
        mix::<V>(weights, &values[past], padded, head.dim, &mut mixed);
        to_rows::<V>(&mixed, padded, &mut straight);
        let outs = out.chunks_mut(out_stride).zip(straight.chunks_exact(padded));
        for (lane, (out, mixed)) in outs.enumerate().take(block.count) {
            let factor = 1.0 / sum[lane];
            for (out, mixed) in out.iter_mut().zip(&mixed[..head.dim]) {
                *out = factor * mixed;
            }
        }
    }
}

/// Scores become e^(score − max); returns the largest scores and the sums.
#[inline(always)]
fn softmax<V: Vector>(weights: &mut [Lanes]) -> (Lanes, Lanes) {
    let mut max = V::splat(f32::MIN);
    for weights in &*weights {
        max = max.larger(V::load(weights));
    }
    let mut sum = V::zero();
    for weights in weights {
        let power = V::load(weights).subtract(max).exp();
        power.store(weights);
        sum = sum.add(power);
    }
    let mut found = [[0.0; LANES]; 2];
    max.store(&mut found[0]);
    sum.store(&mut found[1]);
    (found[0], found[1])
}
