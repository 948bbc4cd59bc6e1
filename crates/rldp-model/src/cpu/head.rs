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
    /// Of each row.
    rows: Vec<Row>,
    /// One row of the head's matrix.
    embedding: Vec<f32>,
}

/// What is known of a row's logits so far. The target's is kept apart from the others', because the loss and the gradient of
/// a prediction that is nearly certain are made of what little the others have.
#[derive(Clone, Copy, Debug)]
struct Row {
    target: f32,
    /// Largest of the others.
    max: f32,
    /// Sum of e^(logit − max) over the others.
    sum: f32,
}

/// Negative log-likelihood of every scored prediction, from `scratch.hidden`; with `differentiate`, the gradient of
/// Σ weight · NLL goes to `scratch.dhidden`.
///
/// One pass: Σ_v e^(logit_v − m) W_v is summed along with Σ_v e^(logit_v − m), and both are brought down whenever a chunk raises
/// the running maximum m, as attention does without its T × T matrix. No logit is made twice, and none is kept.
pub(crate) fn cross_entropy(
    model: &BaseModel,
    products: &mut Products,
    scored: &[Scored],
    scratch: &mut HeadScratch,
    differentiate: bool,
) -> Vec<f32> {
    let (rows, vocab, width) = (scored.len(), model.config.vocab_size, model.config.hidden_size);
    let at_once = chunk(rows, vocab);
    scratch.rows.clear();
    scratch.rows.resize(rows, Row { target: softmax::MASKED, max: softmax::MASKED, sum: 0.0 });
    resize(&mut scratch.dhidden, if differentiate { rows * width } else { 0 });
    for first in (0..vocab).step_by(at_once) {
        let count = at_once.min(vocab - first);
        chunk_logits(model, products, rows, first, count, scratch);
        let later = first > 0;
        absorb(scored, first, count, scratch, later && differentiate);
        if differentiate {
            let (logits, dhidden) = (&scratch.logits, &mut scratch.dhidden);
            products.put(rows, (logits, count), &frozen(model, first, count, false), (dhidden, width), later);
        }
    }
    if differentiate {
        finish_gradients(model, scored, scratch);
    }
    scratch.rows.iter().map(Row::nll).collect()
}

impl Row {
    /// −log p of the target: ln(1 + Σ others e^(logit − target)).
    fn nll(&self) -> f32 {
        let over = self.others() - self.target;
        over.max(0.0) + (-over.abs()).exp().ln_1p()
    }

    /// Log-sum-exp of the others.
    fn others(&self) -> f32 {
        self.max + self.sum.ln()
    }
}

/// dhidden = weight · (Σ_others p_v W_v − (1 − p_target) W_target), from Σ_others e^(logit_v − max) W_v.
fn finish_gradients(model: &BaseModel, scored: &[Scored], scratch: &mut HeadScratch) {
    let (head, width) = (model.head(), model.config.hidden_size);
    let HeadScratch { dhidden, rows, embedding, .. } = scratch;
    resize(embedding, width);
    for ((scored, row), dhidden) in scored.iter().zip(&*rows).zip(dhidden.chunks_exact_mut(width)) {
        let scale = scored.weight * (row.max - row.target - row.nll()).exp();
        head.range_to_f32(scored.target as usize * width, embedding);
        for (gradient, embedding) in dhidden.iter_mut().zip(&*embedding) {
            *gradient = scale * (*gradient - row.sum * embedding);
        }
    }
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

/// Folds a chunk into what is known of each row. Logits become e^(logit − the row's maximum so far), the target's 0. With
/// `rescale`, brings what was summed in dhidden down to the new maximum.
fn absorb(scored: &[Scored], first: usize, count: usize, scratch: &mut HeadScratch, rescale: bool) {
    let width = scratch.dhidden.len() / scored.len().max(1);
    for (index, scored) in scored.iter().enumerate() {
        let logits = &mut scratch.logits[index * count..(index + 1) * count];
        let row = &mut scratch.rows[index];
        if let Some(offset) = (scored.target as usize).checked_sub(first).filter(|offset| *offset < count) {
            row.target = std::mem::replace(&mut logits[offset], softmax::MASKED);
        }
        let (max, sum) = softmax::exponentials(logits, row.max);
        let shrink = (row.max - max).exp();
        if rescale && shrink < 1.0 {
            softmax::scale(&mut scratch.dhidden[index * width..(index + 1) * width], shrink);
        }
        (row.max, row.sum) = (max, row.sum * shrink + sum);
    }
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
