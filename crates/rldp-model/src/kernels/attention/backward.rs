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
    /// Adds to `drows` the gradients of the head's queries, keys and values over a whole sequence, given d(out).
    pub(super) fn backward = backward_body(head: Group, rows: &[f32], out: &[f32], dout: &[f32], out_stride: usize, lse: &[f32], drows: &mut [f32])
}

/// p = e^(score − lse); dv += p·dout; ds = p·(⟨dout, v⟩ − ⟨dout, out⟩); dq += scale·ds·k; dk += ds·scale·q.
#[inline(always)]
pub(super) fn backward_body<V: Vector>(
    head: Group,
    rows: &[f32],
    out: &[f32],
    dout: &[f32],
    out_stride: usize,
    lse: &[f32],
    drows: &mut [f32],
) {
    let tokens = rows.len() / head.stride;
    let (padded, scale) = (head.padded(), 1.0 / (head.dim as f32).sqrt());
    let (keys, values) = (head.gather(rows, 0..tokens, head.key), head.gather(rows, 0..tokens, head.value));
    let (mut dkeys, mut dvalues) = (vec![0.0; keys.len()], vec![0.0; keys.len()]);
    let (mut weights, mut slopes) = (vec![[0.0; LANES]; tokens], vec![[0.0; LANES]; tokens]);
    let mut mixed = vec![[0.0; LANES]; padded];
    // Rows of a block's queries, d(out) and out, and the same as columns.
    let mut straight = [(); 3].map(|()| vec![0.0; LANES * padded]);
    let mut turned = [(); 3].map(|()| vec![[0.0; LANES]; padded]);
    for start in (0..tokens).step_by(LANES) {
        let block = Block::new(&head, start, LANES.min(tokens - start));
        let past = block.past.start * padded..block.past.end * padded;
        let query_rows = &rows[start * head.stride + head.query..];
        let (out, dout) = (&out[start * out_stride..], &dout[start * out_stride..]);
        block.gather(query_rows, head.stride, &head, scale, &mut straight[0]);
        block.gather(dout, out_stride, &head, 1.0, &mut straight[1]);
        block.gather(out, out_stride, &head, 1.0, &mut straight[2]);
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
        own_lse[..block.count].copy_from_slice(&lse[start..start + block.count]);
        differentiate::<V>(weights, slopes, &own_lse, douts, outs);
        mix::<V>(slopes, &keys[past.clone()], padded, head.dim, &mut mixed);
        to_rows::<V>(&mixed, padded, &mut straight[2]);
        for (lane, mixed) in straight[2].chunks_exact(padded).enumerate().take(block.count) {
            let sum = head.at_mut(drows, start + lane, head.query);
            for (sum, mixed) in sum.iter_mut().zip(mixed) {
                *sum += scale * mixed;
            }
        }
        spread::<V>(slopes, &straight[0], padded, &mut dkeys[past.clone()]);
        spread::<V>(weights, &straight[1], padded, &mut dvalues[past]);
    }
    for token in 0..tokens {
        for (offset, gradients) in [(head.key, &dkeys), (head.value, &dvalues)] {
            let sum = head.at_mut(drows, token, offset);
            for (sum, gradient) in sum.iter_mut().zip(&gradients[token * padded..]) {
                *sum += gradient;
            }
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
