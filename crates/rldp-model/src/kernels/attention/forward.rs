//! Attention, forward.

use super::{
    HeadView,
    lanes::{Block, LANES, Lanes, mix, scores, zip},
};
use crate::kernels::{dispatch, math::exp};

dispatch! {
    /// Attends from each of the last `queries` tokens of `rows`; writes its output to the rows of `out`, `out_stride` apart,
    /// and its log-sum-exp.
    pub(crate) fn forward = forward_body(head: HeadView, rows: &[f32], queries: usize, out: &mut [f32], out_stride: usize, lse: &mut [f32])
}

#[inline(always)]
fn forward_body<const FMA: bool>(
    head: HeadView,
    rows: &[f32],
    queries: usize,
    out: &mut [f32],
    out_stride: usize,
    lse: &mut [f32],
) {
    let tokens = rows.len() / head.stride;
    let (padded, scale) = (head.padded(), 1.0 / (head.dim as f32).sqrt());
    let oldest = head.first(tokens - queries);
    let keys = head.gather(rows, oldest..tokens, head.key);
    let values = head.gather(rows, oldest..tokens, head.value);
    let mut weights = Vec::with_capacity(tokens - oldest);
    for first in (0..queries).step_by(LANES) {
        let block = Block::new(&head, tokens - queries + first, LANES.min(queries - first));
        let past = (block.past.start - oldest) * padded..(block.past.end - oldest) * padded;
        let columns = block.columns(&rows[block.start * head.stride + head.query..], head.stride, head.dim, scale);
        scores::<FMA>(&columns, &keys[past.clone()], padded, &mut weights);
        block.mask(&mut weights, f32::MIN);
        let (max, sum) = softmax::<FMA>(&mut weights);
        for lane in 0..block.count {
            lse[first + lane] = max[lane] + sum[lane].ln();
        }
        mix::<FMA>(&weights, &values[past], padded, |feature, sums| {
            for (i, sums) in sums.iter().enumerate().take(head.dim - feature) {
                let mean = zip(*sums, sum, |x, sum| x / sum);
                for lane in 0..block.count {
                    out[(first + lane) * out_stride + feature + i] = mean[lane];
                }
            }
        });
    }
}

/// Scores become e^(score − max); returns the largest scores and the sums.
#[inline(always)]
fn softmax<const FMA: bool>(weights: &mut [Lanes]) -> (Lanes, Lanes) {
    let mut max = [f32::MIN; LANES];
    for weights in &*weights {
        max = zip(*weights, max, |x, max| if x > max { x } else { max });
    }
    let mut sum = [0.0; LANES];
    for weights in weights {
        *weights = zip(*weights, max, |x, max| exp::<FMA>(x - max));
        sum = zip(*weights, sum, |x, sum| x + sum);
    }
    (max, sum)
}
