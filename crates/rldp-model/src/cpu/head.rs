//! The output head: cross-entropy over chunks of the vocabulary, without all logits at once.

use super::{
    batch::Scored,
    forward::resize,
    products::{Frozen, Products},
    weights::BaseModel,
};
use crate::kernels::{bf16, softmax};

/// Floats of one chunk of logits: 4 MiB.
const CHUNK: usize = 1024 * 1024;

/// Buffers of the head, reused from step to step.
#[derive(Debug, Default)]
pub(crate) struct HeadScratch {
    /// Normed rows that predict (S, C).
    pub(crate) hidden: Vec<f32>,
    /// Their gradients (S, C).
    pub(crate) dhidden: Vec<f32>,
    logits: Vec<f32>,
    /// Running maximum of each row's logits, and the sum of their exponentials relative to it.
    lse: Vec<(f32, f32)>,
    /// Maximum of each row's logits in the last chunk.
    last_max: Vec<f32>,
    target: Vec<f32>,
}

/// Negative log-likelihood of every scored prediction, from `scratch.hidden`; with `differentiate`, the gradient of
/// Σ weight · NLL goes to `scratch.dhidden`.
pub(crate) fn cross_entropy(
    model: &BaseModel,
    products: &mut Products,
    scored: &[Scored],
    scratch: &mut HeadScratch,
    differentiate: bool,
) -> Vec<f32> {
    let (rows, vocab) = (scored.len(), model.config.vocab_size);
    let at_once = chunk(rows, vocab);
    scratch.lse.clear();
    scratch.lse.resize(rows, (f32::MIN, 0.0));
    scratch.target.clear();
    scratch.target.resize(rows, 0.0);
    let starts: Vec<usize> = (0..vocab).step_by(at_once).collect();
    for &first in &starts {
        let count = at_once.min(vocab - first);
        chunk_logits(model, products, rows, first, count, scratch);
        absorb(scored, first, count, scratch);
    }
    let nll: Vec<f32> =
        scratch.lse.iter().zip(&scratch.target).map(|((max, sum), target)| max + sum.ln() - target).collect();
    if differentiate {
        let width = rows * model.config.hidden_size;
        resize(&mut scratch.dhidden, width);
        // The last chunk's exponentials are still there; the other logits are made again.
        for (index, &first) in starts.iter().enumerate().rev() {
            let count = at_once.min(vocab - first);
            let last = index + 1 == starts.len();
            if !last {
                chunk_logits(model, products, rows, first, count, scratch);
            }
            chunk_backward(model, products, scored, first, count, last, scratch);
        }
    }
    nll
}

/// Vocabulary entries of a chunk for `rows` rows: whole blocks of a matrix kept in tiles, or all.
fn chunk(rows: usize, vocab: usize) -> usize {
    let blocks = (CHUNK / rows.max(1) / bf16::WIDEST).max(1);
    (blocks * bf16::WIDEST).min(vocab)
}

/// Rows of the head's matrix: some of the vocabulary.
fn frozen(model: &BaseModel, first: usize, count: usize, transposed: bool) -> Frozen<'_> {
    let kept = model.keeps_tiles.then_some(&model.kept_head);
    Frozen { stored: model.head(), rows: first..first + count, transposed, kept }
}

/// logits (S, count) of the vocabulary from `first` on.
fn chunk_logits(
    model: &BaseModel,
    products: &mut Products,
    rows: usize,
    first: usize,
    count: usize,
    scratch: &mut HeadScratch,
) {
    let HeadScratch { hidden, logits, .. } = scratch;
    resize(logits, rows * count);
    products.put(rows, (hidden, model.config.hidden_size), &frozen(model, first, count, true), (logits, count), false);
}

/// Folds a chunk into the running log-sum-exp and notes the targets' logits. Logits become e^(logit − the row's maximum).
fn absorb(scored: &[Scored], first: usize, count: usize, scratch: &mut HeadScratch) {
    resize(&mut scratch.last_max, scored.len());
    for (index, scored) in scored.iter().enumerate() {
        let row = &mut scratch.logits[index * count..(index + 1) * count];
        if let Some(offset) = (scored.target as usize).checked_sub(first).filter(|offset| *offset < count) {
            scratch.target[index] = row[offset];
        }
        let (chunk_max, chunk_sum) = softmax::exponentials(row);
        scratch.last_max[index] = chunk_max;
        let (max, sum) = scratch.lse[index];
        let larger = max.max(chunk_max);
        scratch.lse[index] = (larger, sum * (max - larger).exp() + chunk_sum * (chunk_max - larger).exp());
    }
}

/// dhidden += (weight · (softmax − one-hot)) · matrix for a chunk whose logits are in place; of the last chunk, which comes
/// first, their exponentials.
fn chunk_backward(
    model: &BaseModel,
    products: &mut Products,
    scored: &[Scored],
    first: usize,
    count: usize,
    last: bool,
    scratch: &mut HeadScratch,
) {
    let (rows, width) = (scored.len(), model.config.hidden_size);
    for (index, scored) in scored.iter().enumerate() {
        let row = &mut scratch.logits[index * count..(index + 1) * count];
        let (max, sum) = scratch.lse[index];
        if last {
            softmax::scale(row, scored.weight * (scratch.last_max[index] - max).exp() / sum);
        } else {
            softmax::probabilities(row, max + sum.ln(), scored.weight);
        }
        if let Some(offset) = (scored.target as usize).checked_sub(first).filter(|offset| *offset < count) {
            row[offset] -= scored.weight;
        }
    }
    let HeadScratch { logits, dhidden, .. } = scratch;
    products.put(rows, (logits, count), &frozen(model, first, count, false), (dhidden, width), !last);
}

/// Logits of every row of `hidden` (N, C), whole: (N, V).
pub(crate) fn all_logits(model: &BaseModel, products: &mut Products, hidden: Vec<f32>) -> Vec<f32> {
    let (width, vocab) = (model.config.hidden_size, model.config.vocab_size);
    let rows = hidden.len() / width;
    let mut scratch = HeadScratch { hidden, ..HeadScratch::default() };
    let mut out = vec![0.0; rows * vocab];
    let at_once = chunk(width, vocab);
    for first in (0..vocab).step_by(at_once) {
        let count = at_once.min(vocab - first);
        chunk_logits(model, products, rows, first, count, &mut scratch);
        for (out, chunk) in out.chunks_exact_mut(vocab).zip(scratch.logits.chunks_exact(count)) {
            out[first..first + count].copy_from_slice(chunk);
        }
    }
    out
}
