//! A micro-batch: sequences one after another, without padding, in the lists that kernels read.

use std::ops::Range;

use rldp_model::Sequence;

/// Rows that a block of threads of the attention takes.
const TILE: usize = 16;

/// Flattened tokens of some sequences. All lists are i32 for the device.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// First row in the buffers; all before hold earlier tokens of the same, only sequence.
    pub(crate) from: usize,
    /// Token ids (N).
    pub(crate) tokens: Vec<i32>,
    /// Position of each token in its sequence (N).
    pub(crate) positions: Vec<i32>,
    /// Rows of each sequence in the batch, and the sequence's length so far.
    pub(crate) lengths: Vec<(usize, usize)>,
    /// (begin, end, first row) of the attention's tiles.
    pub(crate) tiles: Vec<[i32; 3]>,
    /// Rows whose next token is scored (S).
    pub(crate) scored: Vec<i32>,
    /// The tokens that came (S).
    pub(crate) targets: Vec<i32>,
    /// Factors on their losses (S).
    pub(crate) weights: Vec<f32>,
    /// Where each row's prediction lies among S, or −1 (N).
    pub(crate) places: Vec<i32>,
    /// Which of S belong to each sequence.
    pub(crate) predictions: Vec<Range<usize>>,
    /// (first row, end, slot) of each unit that has rows.
    pub(crate) unit_rows: Vec<[i32; 3]>,
    /// (first of S, end, slot) of the same units.
    pub(crate) unit_predictions: Vec<[i32; 3]>,
}

impl Batch {
    /// N.
    pub(crate) fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Adds a sequence whose tokens the model has.
    pub(crate) fn push(&mut self, sequence: &Sequence) {
        let (start, first) = (self.rows(), self.scored.len());
        let length = sequence.tokens.len();
        self.tokens.extend(sequence.tokens.iter().map(|token| *token as i32));
        self.positions.extend(0..length as i32);
        self.lengths.push((length, length));
        self.tile(start, start + length, start);
        self.places.resize(start + length, -1);
        for position in sequence.scored() {
            let row = start + position - 1;
            self.places[row] = self.scored.len() as i32;
            self.scored.push(row as i32);
            self.targets.push(sequence.tokens[position] as i32);
            self.weights.push(sequence.weight);
        }
        self.predictions.push(first..self.scored.len());
    }

    /// Adds all of a unit's sequences at hand, whose gradient lies in `slot`.
    pub(crate) fn push_unit(&mut self, sequences: &[Sequence], slot: usize) {
        let (row, prediction) = (self.rows(), self.scored.len());
        sequences.iter().for_each(|sequence| self.push(sequence));
        let part = |first: usize, end: usize| [first as i32, end as i32, slot as i32];
        if self.rows() > row {
            self.unit_rows.push(part(row, self.rows()));
            self.unit_predictions.push(part(prediction, self.scored.len()));
        }
    }

    /// The next tokens of a sequence of which `from` are known; none is scored.
    pub(crate) fn next_tokens(from: usize, tokens: &[u32]) -> Self {
        let mut batch = Self { from, ..Self::default() };
        batch.tokens = tokens.iter().map(|token| *token as i32).collect();
        batch.positions = (from as i32..(from + tokens.len()) as i32).collect();
        batch.lengths.push((tokens.len(), from + tokens.len()));
        batch.tile(0, from + tokens.len(), from);
        batch
    }

    fn tile(&mut self, begin: usize, end: usize, first: usize) {
        self.tiles.extend((first..end).step_by(TILE).map(|row| [begin as i32, end as i32, row as i32]));
    }
}
