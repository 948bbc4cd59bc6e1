//! A micro-batch: sequences one after another, without padding.

use std::ops::Range;

use crate::Sequence;

/// Flattened tokens of some sequences. They are records, and not printed.
#[derive(Default)]
pub(crate) struct Batch {
    /// Token ids (N).
    pub(crate) tokens: Vec<u32>,
    /// Position of each token in its sequence (N).
    pub(crate) positions: Vec<usize>,
    /// Rows of each sequence.
    pub(crate) sequences: Vec<Range<usize>>,
    /// Rows whose next token is scored, with that token and its weight.
    pub(crate) scored: Vec<Scored>,
}

/// One scored prediction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    /// Row whose logits predict.
    pub(crate) row: usize,
    /// The token that came.
    pub(crate) target: u32,
    /// Factor on its loss.
    pub(crate) weight: f32,
    /// Which sequence of the batch.
    pub(crate) sequence: usize,
}

impl Batch {
    /// Lays out sequences whose tokens the model has ([`crate::ModelConfig::check_tokens`]).
    pub(crate) fn new<'a>(sequences: impl IntoIterator<Item = Sequence<'a>>) -> Self {
        let mut batch = Self::default();
        for sequence in sequences {
            let start = batch.tokens.len();
            let index = batch.sequences.len();
            batch.tokens.extend(sequence.tokens);
            batch.positions.extend(0..sequence.tokens.len());
            batch.sequences.push(start..batch.tokens.len());
            batch.scored.extend(sequence.scored().map(|position| Scored {
                row: start + position - 1,
                target: sequence.tokens[position],
                weight: sequence.weight,
                sequence: index,
            }));
        }
        batch
    }

    /// N.
    pub(crate) fn rows(&self) -> usize {
        self.tokens.len()
    }
}
