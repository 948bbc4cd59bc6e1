//! What ranks send one another. All of it stays inside the trust boundary.

use std::ops::Range;

use rldp_data::{Block, PrivacyUnits, Unit};
use rldp_model::{Adapter, AdapterLayout, Sequence, SequenceLoss, TokenStats};
use rldp_privacy::Frame;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

use crate::RanksError;

/// What rank 0 asks of all.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    /// Sum the units of your share by this frame, at this adapter.
    Sum {
        /// The step's public rule.
        frame: Box<Frame>,
        /// What was released.
        adapter: Weights,
    },
    /// Losses of the sequences of your share; without an adapter, under the base model.
    Losses(Option<Weights>),
    /// Statistics of their scored tokens, likewise.
    Tokens(Option<Weights>),
    /// Nothing more will be asked.
    End,
}

/// An adapter on its way.
#[derive(Serialize, Deserialize)]
pub(super) struct Weights {
    layout: AdapterLayout,
    parameters: ByteBuf,
}

impl Weights {
    pub(super) fn of(adapter: &Adapter) -> Self {
        let parameters = adapter.parameters();
        let mut bytes = vec![0; 4 * parameters.len()];
        bytes.as_chunks_mut::<4>().0.iter_mut().zip(parameters).for_each(|(bytes, value)| *bytes = value.to_le_bytes());
        Self { layout: adapter.layout().clone(), parameters: ByteBuf::from(bytes) }
    }

    pub(super) fn adapter(self) -> Result<Adapter, RanksError> {
        let Self { layout, parameters } = self;
        let (values, rest) = parameters.as_chunks::<4>();
        if values.len() != layout.parameter_count() || !rest.is_empty() {
            let (bytes, wanted) = (parameters.len(), layout.parameter_count());
            return Err(RanksError::Garbled(format!("{bytes} bytes arrived for an adapter of {wanted} parameters")));
        }
        let parameters = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
        Ok(Adapter::from_parameters(layout, parameters))
    }
}

/// One rank's part of a request. It names or holds records, and is not printed.
#[derive(Serialize, Deserialize)]
pub(super) enum Share {
    /// Units by their number in the file that every rank has read.
    Numbered(Vec<u32>),
    /// Units as they are.
    Dealt(Vec<Vec<Piece>>),
    /// Sequences whose losses are asked for.
    Sequences(Vec<Piece>),
}

/// One sequence of tokens.
#[derive(Serialize, Deserialize)]
pub(super) struct Piece {
    tokens: Vec<u32>,
    scored_from: u32,
    skipped: Vec<Range<usize>>,
    weight: f32,
}

/// What a rank says when it has done its part, before its sum is looked at.
#[derive(Serialize, Deserialize)]
pub(super) struct Reply {
    /// Of the request as it arrived.
    pub(super) digest: ByteBuf,
    /// How long its part took.
    pub(super) seconds: f64,
    /// Whether somebody asked this rank to stop.
    pub(super) stop: bool,
    pub(super) answer: Answer,
}

/// What a rank found.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    /// Nothing: what went wrong.
    Failed(String),
    /// A sum, which is sent by itself; or what is not to be sent, on rank 0.
    Kept,
    /// NLL and number of scored tokens of each sequence.
    Losses(Vec<(f64, u64)>),
    /// Of each scored token of each sequence: log-probability, and its mean and deviation.
    Tokens(Vec<Vec<[f64; 3]>>),
}

impl Answer {
    pub(super) fn of_losses(losses: &[SequenceLoss]) -> Self {
        Self::Losses(losses.iter().map(|loss| (loss.nll, loss.tokens as u64)).collect())
    }

    pub(super) fn of_tokens(sequences: &[Vec<TokenStats>]) -> Self {
        let numbers = |token: &TokenStats| [token.log_prob, token.mean, token.deviation];
        Self::Tokens(sequences.iter().map(|tokens| tokens.iter().map(numbers).collect()).collect())
    }

    pub(super) fn losses(self) -> Option<Vec<SequenceLoss>> {
        let Self::Losses(losses) = self else { return None };
        Some(losses.into_iter().map(|(nll, tokens)| SequenceLoss { nll, tokens: tokens as usize }).collect())
    }

    pub(super) fn tokens(self) -> Option<Vec<Vec<TokenStats>>> {
        let Self::Tokens(sequences) = self else { return None };
        let token = |[log_prob, mean, deviation]: [f64; 3]| TokenStats { log_prob, mean, deviation };
        Some(sequences.into_iter().map(|tokens| tokens.into_iter().map(token).collect()).collect())
    }
}

impl Piece {
    pub(super) fn new(sequence: &Sequence) -> Self {
        let Sequence { tokens, scored_from, skipped, weight } = *sequence;
        Self { tokens: tokens.to_vec(), scored_from: scored_from as u32, skipped: skipped.to_vec(), weight }
    }

    pub(super) fn sequence(&self) -> Sequence<'_> {
        let Self { tokens, scored_from, skipped, weight } = self;
        Sequence { tokens, scored_from: *scored_from as usize, skipped, weight: *weight }
    }

    fn of_block(block: &Block) -> Self {
        let Block { tokens, scored_from, skipped, weight } = block.clone();
        Self { tokens, scored_from: scored_from as u32, skipped, weight }
    }

    fn into_block(self) -> Block {
        let Self { tokens, scored_from, skipped, weight } = self;
        Block { tokens, scored_from: scored_from as usize, skipped, weight }
    }
}

/// Units to be sent.
pub(super) fn dealt(units: &PrivacyUnits, numbers: &[usize]) -> Vec<Vec<Piece>> {
    numbers.iter().map(|&number| units.unit(number).blocks.iter().map(Piece::of_block).collect()).collect()
}

/// Units that arrived.
pub(super) fn received(units: Vec<Vec<Piece>>) -> PrivacyUnits {
    let unit = |pieces: Vec<Piece>| Unit { blocks: pieces.into_iter().map(Piece::into_block).collect() };
    PrivacyUnits::dealt(units.into_iter().map(unit).collect())
}

pub(super) fn write<T: Serialize>(message: &T) -> Result<Vec<u8>, RanksError> {
    rmp_serde::to_vec_named(message).map_err(|error| RanksError::Garbled(error.to_string()))
}

pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RanksError> {
    rmp_serde::from_slice(bytes).map_err(|error| RanksError::Garbled(error.to_string()))
}

pub(super) fn digest(bytes: &[u8]) -> ByteBuf {
    ByteBuf::from(Sha256::digest(bytes).to_vec())
}
