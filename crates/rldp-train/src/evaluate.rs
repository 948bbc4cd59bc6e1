//! Perplexity on records that are assumed public.

use std::sync::Arc;

use rldp_data::{Block, DataError, TextTokenizer, TokenRecord};
use rldp_model::{Adapter, Engine, Sequence, engine::EngineError};
use serde::{Deserialize, Serialize};

/// Records cut into blocks, every token after the first scored once.
#[derive(Clone)]
pub struct PublicRecords {
    blocks: Vec<Block>,
    records: usize,
    sha256: String,
    /// How the first records begin.
    openings: Vec<Vec<u32>>,
    tokenizer: Option<Arc<TextTokenizer>>,
}

/// Records whose openings are kept.
const OPENINGS: usize = 2;
/// Tokens of a text's opening.
const FIRST_TOKENS: usize = 8;
/// Most tokens of a prompt, which is an opening as it is.
const LAST_TOKENS: usize = 64;

/// How a public record begins.
#[derive(Clone)]
pub struct Opening {
    tokens: Vec<u32>,
    tokenizer: Arc<TextTokenizer>,
}

impl Opening {
    /// Token ids.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Its text.
    ///
    /// # Errors
    /// When the tokenizer does not know its tokens.
    pub fn text(&self) -> Result<String, DataError> {
        self.tokenizer.decode(&self.tokens)
    }

    /// The text of `tokens` after it.
    ///
    /// # Errors
    /// When the tokenizer does not know them.
    pub fn continued_by(&self, tokens: &[u32]) -> Result<String, DataError> {
        let whole = self.tokenizer.decode(&[&self.tokens, tokens].concat())?;
        // Alone, many tokenizers leave out the space that a text begins with.
        match whole.strip_prefix(&self.text()?) {
            Some(rest) => Ok(rest.to_owned()),
            None => self.tokenizer.decode(tokens),
        }
    }
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
        let sha256 = rldp_privacy::digest(&contents);
        Self { blocks, records: records.len(), sha256, openings: Vec::new(), tokenizer: None }
    }

    /// Keeps how the first of `records` begin: prompts as they are, of texts the first words.
    #[must_use]
    pub fn with_openings(self, records: &[TokenRecord]) -> Self {
        Self { openings: records.iter().take(OPENINGS).map(opening).collect(), ..self }
    }

    /// Lets openings be read as text.
    #[must_use]
    pub fn read_by(self, tokenizer: TextTokenizer) -> Self {
        Self { tokenizer: Some(Arc::new(tokenizer)), ..self }
    }

    /// How the first records begin, where that was kept and there is a tokenizer.
    pub fn openings(&self) -> Vec<Opening> {
        let Some(tokenizer) = &self.tokenizer else { return Vec::new() };
        let opening = |tokens: &Vec<u32>| Opening { tokens: tokens.clone(), tokenizer: Arc::clone(tokenizer) };
        self.openings.iter().map(opening).collect()
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

fn opening(record: &TokenRecord) -> Vec<u32> {
    let scored = record.scored.first().map_or(record.tokens.len(), |scored| scored.start);
    // A text is scored from its second token on, whatever the tokenizer puts before it.
    if scored > record.prefix.max(1) {
        return record.tokens[scored.saturating_sub(LAST_TOKENS)..scored].to_vec();
    }
    record.tokens[..record.tokens.len().min(record.prefix + FIRST_TOKENS)].to_vec()
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
