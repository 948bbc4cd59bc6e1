//! The output head: cross-entropy over chunks of the vocabulary, without all logits at once.

use std::ops::Range;

use super::{
    batch::Scored,
    forward::resize,
    products::{Frozen, Products},
    weights::BaseModel,
};
use crate::kernels::{bf16, softmax};

/// Vocabulary entries of a chunk: whole blocks of a matrix kept in tiles. A row's sums are divided by this and the vocabulary
/// alone, whatever other rows are there.
const CHUNK: usize = 2 * bf16::WIDEST;
/// Rows that pass the vocabulary together: their logits of a chunk are 4 MiB.
const ROWS: usize = 1024;

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
    let width = model.config.hidden_size;
    resize(&mut scratch.dhidden, if differentiate { scored.len() * width } else { 0 });
    let HeadScratch { hidden, dhidden, logits, rows, embedding } = scratch;
    assert_eq!(hidden.len(), scored.len() * width, "every scored prediction has a row");
    let mut dhidden = dhidden.chunks_mut(ROWS * width);
    let mut losses = Vec::with_capacity(scored.len());
    for (scored, hidden) in scored.chunks(ROWS).zip(hidden.chunks(ROWS * width)) {
        let mut block = RowBlock { scored, hidden, dhidden: dhidden.next(), logits, rows };
        block.pass(model, products);
        block.finish_gradients(model, embedding);
        losses.extend(block.rows.iter().map(Row::nll));
    }
    losses
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

/// Some rows on their way over the vocabulary.
struct RowBlock<'a> {
    scored: &'a [Scored],
    hidden: &'a [f32],
    /// Absent where no gradient is wanted.
    dhidden: Option<&'a mut [f32]>,
    logits: &'a mut Vec<f32>,
    rows: &'a mut Vec<Row>,
}

impl RowBlock<'_> {
    /// Sums over the vocabulary, chunk by chunk.
    fn pass(&mut self, model: &BaseModel, products: &mut Products) {
        let (rows, vocab, width) = (self.scored.len(), model.config.vocab_size, model.config.hidden_size);
        self.rows.clear();
        self.rows.resize(rows, Row { target: softmax::MASKED, max: softmax::MASKED, sum: 0.0 });
        for first in (0..vocab).step_by(CHUNK) {
            let count = CHUNK.min(vocab - first);
            chunk_logits(model, products, self.hidden, first..first + count, self.logits);
            self.absorb(first, count);
            if let Some(dhidden) = &mut self.dhidden {
                let matrix = frozen(model, first..first + count, false);
                products.put(rows, (self.logits, count), &matrix, (dhidden, width), first > 0);
            }
        }
    }

    /// Folds a chunk into what is known of each row. Logits become e^(logit − the row's maximum so far), the target's 0; what was
    /// summed in dhidden is brought down to the new maximum.
    fn absorb(&mut self, first: usize, count: usize) {
        let width = self.hidden.len() / self.scored.len();
        let logits = self.logits.chunks_exact_mut(count);
        for (index, ((scored, row), logits)) in self.scored.iter().zip(&mut *self.rows).zip(logits).enumerate() {
            if let Some(offset) = (scored.target as usize).checked_sub(first).filter(|offset| *offset < count) {
                row.target = std::mem::replace(&mut logits[offset], softmax::MASKED);
            }
            let (max, sum) = softmax::exponentials(logits, row.max);
            let shrink = (row.max - max).exp();
            if let Some(dhidden) = self.dhidden.as_deref_mut().filter(|_| first > 0 && shrink < 1.0) {
                softmax::scale(&mut dhidden[index * width..(index + 1) * width], shrink);
            }
            (row.max, row.sum) = (max, row.sum * shrink + sum);
        }
    }

    /// dhidden = weight · (Σ_others p_v W_v − (1 − p_target) W_target), from Σ_others e^(logit_v − max) W_v.
    fn finish_gradients(&mut self, model: &BaseModel, embedding: &mut Vec<f32>) {
        let (head, width) = (model.head(), model.config.hidden_size);
        let Some(dhidden) = &mut self.dhidden else { return };
        resize(embedding, width);
        for ((scored, row), dhidden) in self.scored.iter().zip(&*self.rows).zip(dhidden.chunks_exact_mut(width)) {
            let scale = scored.weight * (row.max - row.target - row.nll()).exp();
            head.range_to_f32(scored.target as usize * width, embedding);
            for (gradient, embedding) in dhidden.iter_mut().zip(&*embedding) {
                *gradient = scale * (*gradient - row.sum * embedding);
            }
        }
    }
}

/// Rows of the head's matrix: some of the vocabulary.
fn frozen(model: &BaseModel, entries: Range<usize>, transposed: bool) -> Frozen<'_> {
    let kept = model.keeps_tiles.then_some(&model.kept_head);
    Frozen { stored: model.head(), rows: entries, transposed, kept }
}

/// Logits of some of the vocabulary for every row of `hidden`.
fn chunk_logits(
    model: &BaseModel,
    products: &mut Products,
    hidden: &[f32],
    entries: Range<usize>,
    logits: &mut Vec<f32>,
) {
    let (width, count) = (model.config.hidden_size, entries.len());
    let rows = hidden.len() / width;
    resize(logits, rows * count);
    products.put(rows, (hidden, width), &frozen(model, entries, true), (logits, count), false);
}

/// Logits of every row of `hidden` (N, C), whole: (N, V).
pub(crate) fn all_logits(model: &BaseModel, products: &mut Products, hidden: &[f32]) -> Vec<f32> {
    let (width, vocab) = (model.config.hidden_size, model.config.vocab_size);
    let mut out = vec![0.0; hidden.len() / width * vocab];
    let mut logits = Vec::new();
    for first in (0..vocab).step_by(CHUNK) {
        let count = CHUNK.min(vocab - first);
        chunk_logits(model, products, hidden, first..first + count, &mut logits);
        for (out, chunk) in out.chunks_exact_mut(vocab).zip(logits.chunks_exact(count)) {
            out[first..first + count].copy_from_slice(chunk);
        }
    }
    out
}
