//! Perplexity on records that are assumed public.

use rldp_data::{Block, TokenRecord};
use rldp_model::{Adapter, Engine, Sequence, engine::EngineError};
use serde::{Deserialize, Serialize};

/// Records cut into blocks, every token after the first scored once.
#[derive(Clone)]
pub struct PublicRecords {
    blocks: Vec<Block>,
    records: usize,
    sha256: String,
}

/// What an evaluation found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// exp(nll).
    pub perplexity: f64,
    /// Mean negative log-likelihood of a scored token, in nats.
    pub nll: f64,
    /// Scored tokens.
    pub tokens: usize,
    /// Records.
    pub records: usize,
}

impl PublicRecords {
    /// Declares `records` public and cuts them into blocks of at most `max_length` tokens, as in training.
    pub fn declare(records: &[TokenRecord], max_length: usize) -> Self {
        let blocks = records.iter().flat_map(|record| record.blocks(max_length)).collect();
        let contents: Vec<u8> = records.iter().flat_map(|record| record.content).collect();
        Self { blocks, records: records.len(), sha256: rldp_privacy::digest(&contents) }
    }

    /// Number of records.
    pub fn records(&self) -> usize {
        self.records
    }

    /// SHA-256, in hexadecimal, over the digests of what each record holds, in their order: the same for the same records, whether they
    /// came from a file or from memory.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Scored tokens.
    pub fn scored_tokens(&self) -> usize {
        self.sequences().iter().map(Sequence::scored_tokens).sum()
    }

    fn sequences(&self) -> Vec<Sequence<'_>> {
        self.blocks.iter().map(|block| sequence(block, 1.0)).collect()
    }
}

/// A block as the engine takes it, each of its scored tokens with `weight`.
pub fn sequence(block: &Block, weight: f32) -> Sequence<'_> {
    Sequence { tokens: &block.tokens, scored_from: block.scored_from, skipped: &block.skipped, weight }
}

/// Perplexity of the model with or without an adapter.
///
/// # Errors
/// When the engine refuses a sequence.
pub fn evaluate(
    engine: &mut dyn Engine,
    adapter: Option<&Adapter>,
    records: &PublicRecords,
) -> Result<Evaluation, EngineError> {
    let losses = engine.losses(adapter, &records.sequences())?;
    let (nll, tokens) = losses.iter().fold((0.0, 0), |(nll, tokens), loss| (nll + loss.nll, tokens + loss.tokens));
    let mean = nll / tokens.max(1) as f64;
    Ok(Evaluation { perplexity: mean.exp(), nll: mean, tokens, records: records.records })
}
