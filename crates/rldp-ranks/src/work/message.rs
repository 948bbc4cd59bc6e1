//! What ranks send one another. All of it stays inside the trust boundary.

use std::ops::Range;

use rldp_data::{Block, PrivacyUnits, Unit};
use rldp_model::{Adapter, Sequence};
use rldp_privacy::Frame;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

use crate::RanksError;

/// What rank 0 asks of all.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    /// Sum the units of your share by this frame, at these parameters.
    Sum {
        /// The step's public rule.
        frame: Box<Frame>,
        /// The adapter's, which were released.
        parameters: ByteBuf,
    },
    /// Losses of the sequences of your share; without parameters, of the base model.
    Losses {
        /// The adapter's.
        parameters: Option<ByteBuf>,
    },
    /// Nothing more will be asked.
    End,
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
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Reply {
    /// Of the request as it arrived.
    pub(super) digest: ByteBuf,
    /// What went wrong.
    pub(super) failure: Option<String>,
    /// Whether somebody asked this rank to stop.
    pub(super) stop: bool,
    /// NLL and number of scored tokens of each sequence.
    pub(super) losses: Vec<(f64, u64)>,
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

/// Parameters as bytes.
pub(super) fn parameters(adapter: &Adapter) -> ByteBuf {
    ByteBuf::from(adapter.parameters().iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// Puts parameters that arrived into an adapter.
pub(super) fn set_parameters(adapter: &mut Adapter, bytes: &[u8]) -> Result<(), RanksError> {
    let (values, rest) = bytes.as_chunks::<4>();
    let parameters = adapter.parameters_mut();
    if values.len() != parameters.len() || !rest.is_empty() {
        return Err(RanksError::Garbled(format!(
            "{} bytes of parameters arrived for an adapter of {}",
            bytes.len(),
            parameters.len()
        )));
    }
    parameters.iter_mut().zip(values).for_each(|(parameter, value)| *parameter = f32::from_le_bytes(*value));
    Ok(())
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
