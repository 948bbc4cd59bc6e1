//! Attention, backward.

use super::{
    GROUP, HeadView,
    lanes::{Block, LANES, Lanes, mix, scores, zip},
};
use crate::kernels::{
    dispatch,
    math::{dot, exp, madd},
};

dispatch! {
    /// Adds to `drows` the gradients of the head's queries, keys and values over a whole sequence, given d(out).
    pub(crate) fn backward = backward_body(head: HeadView, rows: &[f32], out: &[f32], dout: &[f32], out_stride: usize, lse: &[f32], drows: &mut [f32])
}

/// p = e^(score − lse); dv += p·dout; ds = p·(⟨dout, v⟩ − ⟨dout, out⟩); dq += scale·ds·k; dk += ds·scale·q.
#[inline(always)]
fn backward_body<const FMA: bool>(
    head: HeadView,
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
    let (mut weights, mut slopes) = (Vec::with_capacity(tokens), Vec::with_capacity(tokens));
    for start in (0..tokens).step_by(LANES) {
        let block = Block::new(&head, start, LANES.min(tokens - start));
        let past = block.past.start * padded..block.past.end * padded;
        let query_rows = &rows[start * head.stride + head.query..];
        let dout = &dout[start * out_stride..];
        let queries = block.columns(query_rows, head.stride, head.dim, scale);
        let douts = block.columns(dout, out_stride, head.dim, 1.0);
        scores::<FMA>(&queries, &keys[past.clone()], padded, &mut weights);
        scores::<FMA>(&douts, &values[past.clone()], padded, &mut slopes);
        let (mut along, mut own_lse) = ([0.0; LANES], [f32::MAX; LANES]);
        for lane in 0..block.count {
            let at = lane * out_stride..lane * out_stride + head.dim;
            along[lane] = dot::<FMA>(&dout[at.clone()], &out[start * out_stride..][at]);
            own_lse[lane] = lse[start + lane];
        }
        block.mask(&mut weights, f32::MIN);
        for (weights, slopes) in weights.iter_mut().zip(&mut slopes) {
            // An idle lane's log-sum-exp is the largest number, which makes its weights zero.
            *weights = zip(*weights, own_lse, |x, lse| exp::<FMA>(x - lse));
            *slopes = zip(zip(*slopes, along, |x, along| x - along), *weights, |x, weight| x * weight);
        }
        mix::<FMA>(&slopes, &keys[past.clone()], padded, |feature, sums| {
            for (i, sums) in sums.iter().enumerate().take(head.dim - feature) {
                for lane in 0..block.count {
                    drows[(start + lane) * head.stride + head.query + feature + i] += scale * sums[lane];
                }
            }
        });
        spread::<FMA>(
            &slopes,
            &rows_of(query_rows, head.stride, &block, &head, scale),
            padded,
            &mut dkeys[past.clone()],
        );
        spread::<FMA>(&weights, &rows_of(dout, out_stride, &block, &head, 1.0), padded, &mut dvalues[past]);
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

/// The block's rows times `factor`, filled up with zeros: (16, padded D).
#[inline(always)]
fn rows_of(rows: &[f32], stride: usize, block: &Block, head: &HeadView, factor: f32) -> Vec<f32> {
    let padded = head.padded();
    let mut found = vec![0.0; LANES * padded];
    for (found, row) in found.chunks_exact_mut(padded).zip(rows.chunks(stride)).take(block.count) {
        for (found, x) in found.iter_mut().zip(&row[..head.dim]) {
            *found = factor * x;
        }
    }
    found
}

/// out_j += Σ_lane weights_j[lane] · rows[lane] over features: rows (16, padded D), out (n, padded D).
#[inline(always)]
fn spread<const FMA: bool>(weights: &[Lanes], rows: &[f32], padded: usize, out: &mut [f32]) {
    if padded.is_multiple_of(2 * GROUP) {
        spread_groups::<FMA, { 2 * GROUP }>(weights, rows, padded, out);
    } else {
        spread_groups::<FMA, GROUP>(weights, rows, padded, out);
    }
}

#[inline(always)]
fn spread_groups<const FMA: bool, const WIDTH: usize>(weights: &[Lanes], rows: &[f32], padded: usize, out: &mut [f32]) {
    const TOKENS: usize = 4;
    for first in (0..padded).step_by(WIDTH) {
        let four = weights.chunks(TOKENS).zip(out.chunks_mut(TOKENS * padded));
        for (weights, out) in four {
            let mut sums = [[0.0; WIDTH]; TOKENS];
            let weight = |i: usize| weights.get(i).unwrap_or(&[0.0; LANES]);
            let weights = [weight(0), weight(1), weight(2), weight(3)];
            for (lane, row) in rows.chunks_exact(padded).enumerate() {
                let row: &[f32; WIDTH] = row[first..].first_chunk().expect("rows are whole groups");
                for i in 0..TOKENS {
                    for x in 0..WIDTH {
                        sums[i][x] = madd::<FMA>(weights[i][lane], row[x], sums[i][x]);
                    }
                }
            }
            for (out, sums) in out.chunks_exact_mut(padded).zip(&sums) {
                for (out, sum) in out[first..].iter_mut().zip(sums) {
                    *out += sum;
                }
            }
        }
    }
}
