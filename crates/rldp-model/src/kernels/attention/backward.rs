//! Attention, backward.

use super::{
    Group,
    lanes::{Block, columns, mix, rows as to_rows, scores, spread},
};
use crate::kernels::{
    dispatch_vectors,
    vector::{LANES, Lanes, Vector},
};

dispatch_vectors! {
    /// Writes to `drows` the gradients of the heads' queries and of their keys and values over a whole sequence, given d(out).
    pub(super) fn backward = backward_body(group: Group, rows: &[f32], out: &[f32], dout: &[f32], out_stride: usize, lse: &[f32], lse_stride: usize, drows: &mut [f32])
}

/// p = e^(score − lse); dv = Σ p·dout; ds = p·(⟨dout, v⟩ − ⟨dout, out⟩); dq = scale·Σ ds·k; dk = Σ ds·scale·q.
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
    let tokens = rows.len() / group.stride;
    let (padded, scale) = (group.padded(), 1.0 / (group.dim as f32).sqrt());
    let (keys, values) = (group.gather(rows, 0..tokens, group.key), group.gather(rows, 0..tokens, group.value));
    let (mut dkeys, mut dvalues) = (vec![0.0; keys.len()], vec![0.0; keys.len()]);
    let (mut weights, mut slopes) = (vec![[0.0; LANES]; tokens], vec![[0.0; LANES]; tokens]);
    let mut mixed = vec![[0.0; LANES]; padded];
    // Rows of a block's queries, d(out) and out, and the same as columns.
    let mut straight = [(); 3].map(|()| vec![0.0; LANES * padded]);
    let mut turned = [(); 3].map(|()| vec![[0.0; LANES]; padded]);
    for (index, start) in group.blocks(tokens) {
        let head = group.head(index);
        let block = Block::new(&head, start, LANES.min(tokens - start));
        let past = block.past.start * padded..block.past.end * padded;
        let query_rows = &rows[start * head.stride + head.query..];
        let at = start * out_stride + index * head.dim;
        block.gather(query_rows, head.stride, &head, scale, &mut straight[0]);
        block.gather(&dout[at..], out_stride, &head, 1.0, &mut straight[1]);
        block.gather(&out[at..], out_stride, &head, 1.0, &mut straight[2]);
        for (straight, turned) in straight.iter().zip(&mut turned) {
            columns::<V>(straight, padded, turned);
        }
        let [queries, douts, outs] = turned.each_ref().map(|columns| &columns[..head.dim]);
        let (weights, slopes) = (&mut weights[..block.past.len()], &mut slopes[..block.past.len()]);
        scores::<V>(queries, &keys[past.clone()], padded, weights);
        scores::<V>(douts, &values[past.clone()], padded, slopes);
        block.mask(weights, f32::MIN);
        // An idle lane's log-sum-exp is the largest number, which makes its weights zero.
        let mut own_lse = [f32::MAX; LANES];
        own_lse[..block.count].copy_from_slice(&lse[index * lse_stride + start..][..block.count]);
        differentiate::<V>(weights, slopes, &own_lse, douts, outs);
        mix::<V>(slopes, &keys[past.clone()], padded, head.dim, &mut mixed);
        to_rows::<V>(&mixed, padded, &mut straight[2]);
        for (lane, mixed) in straight[2].chunks_exact(padded).enumerate().take(block.count) {
            let dquery = head.at_mut(drows, start + lane, head.query);
            for (dquery, mixed) in dquery.iter_mut().zip(mixed) {
                *dquery = scale * mixed;
            }
        }
        spread::<V>(slopes, &straight[0], padded, &mut dkeys[past.clone()]);
        spread::<V>(weights, &straight[1], padded, &mut dvalues[past]);
    }
    for token in 0..tokens {
        for (offset, gradients) in [(group.key, &dkeys), (group.value, &dvalues)] {
            group.at_mut(drows, token, offset).copy_from_slice(&gradients[token * padded..][..group.dim]);
        }
    }
}

/// Scores become weights, and ⟨dout, v⟩ become the scores' gradients.
#[inline(always)]
fn differentiate<V: Vector>(weights: &mut [Lanes], slopes: &mut [Lanes], lse: &Lanes, douts: &[Lanes], outs: &[Lanes]) {
    let (lse, mut along) = (V::load(lse), V::zero());
    for (dout, out) in douts.iter().zip(outs) {
        along = V::load(dout).madd(V::load(out), along);
    }
    for (weight, slope) in weights.iter_mut().zip(slopes) {
        let power = V::load(weight).subtract(lse).exp();
        power.store(weight);
        V::load(slope).subtract(along).multiply(power).store(slope);
    }
}
