//! Records to token sequences, and sequences to blocks.

use std::path::Path;

use crate::{error::DataError, source::RawRecord, tokenizer::TextTokenizer};

/// What stands between a prompt and its completion.
pub const PROMPT_END: &str = "\n";

/// One record as tokens. It holds private text and therefore cannot be printed.
pub struct TokenRecord {
    /// Row of data, counted from 0.
    pub row: usize,
    /// Value of the unit column.
    pub unit: Option<String>,
    /// Token ids.
    pub tokens: Vec<u32>,
    /// First scored position; 0 scores all but the first token, which has no context.
    pub scored_from: usize,
}

/// A piece of a record of at most the block size, whose scored tokens carry `weight`.
pub struct Block {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// First scored position.
    pub scored_from: usize,
    /// Factor on each scored token's loss.
    pub weight: f32,
}

/// Tokenizes records.
///
/// A text record is what the tokenizer makes of it, special tokens included; nothing is appended. A prompt with a
/// completion is the prompt (with special tokens) and a line break, then the completion without special tokens, then
/// `eos` when the model has one; only completion and end are scored.
///
/// # Errors
/// When a record has no tokens; the row of `path` is named.
pub fn tokenize(
    path: &Path,
    records: &[RawRecord],
    tokenizer: &TextTokenizer,
    eos: Option<u32>,
) -> Result<Vec<TokenRecord>, DataError> {
    records.iter().map(|record| tokenize_one(path, record, tokenizer, eos)).collect()
}

fn tokenize_one(
    path: &Path,
    record: &RawRecord,
    tokenizer: &TextTokenizer,
    eos: Option<u32>,
) -> Result<TokenRecord, DataError> {
    let empty = || DataError::Row {
        path: path.to_owned(),
        row: record.row + 1,
        reason: "the record has no tokens; remove empty records first".into(),
    };
    if record.text.trim().is_empty() {
        return Err(empty());
    }
    let (tokens, scored_from) = match &record.prompt {
        None => (tokenizer.encode(&record.text, true)?, 0),
        Some(prompt) => {
            let mut tokens = tokenizer.encode(&format!("{prompt}{PROMPT_END}"), true)?;
            let scored_from = tokens.len();
            tokens.extend(tokenizer.encode(&record.text, false)?);
            tokens.extend(eos);
            (tokens, scored_from)
        }
    };
    if tokens.is_empty() {
        return Err(empty());
    }
    Ok(TokenRecord { row: record.row, unit: record.unit.clone(), tokens, scored_from })
}

impl TokenRecord {
    /// Number of scored tokens.
    pub fn scored_tokens(&self) -> usize {
        self.tokens.len().saturating_sub(self.scored_from.max(1))
    }

    /// Blocks of at most `max_length` tokens with their first scored positions. Neighbours overlap by one token, so that
    /// every scored token is scored exactly once; blocks without scored tokens are left out.
    pub fn blocks(&self, max_length: usize) -> Vec<(Vec<u32>, usize)> {
        let length = max_length.max(2);
        let (mut start, mut blocks) = (0, Vec::new());
        while start + 1 < self.tokens.len() {
            let end = (start + length).min(self.tokens.len());
            let scored_from = self.scored_from.saturating_sub(start).max(1);
            if start + scored_from < end {
                blocks.push((self.tokens[start..end].to_vec(), scored_from));
            }
            start = end - 1;
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: u32, scored_from: usize) -> TokenRecord {
        TokenRecord { row: 0, unit: None, tokens: (0..length).collect(), scored_from }
    }

    #[test]
    fn every_scored_token_is_scored_once() {
        for length in 0..40_u32 {
            for scored_from in 0..12 {
                for max_length in 2..12 {
                    let record = record(length, scored_from);
                    let scored: Vec<u32> =
                        record.blocks(max_length).iter().flat_map(|(tokens, from)| tokens[*from..].to_vec()).collect();
                    let expected: Vec<u32> = (scored_from.max(1) as u32..length).collect();
                    assert_eq!(scored, expected, "{length} tokens scored from {scored_from} in blocks of {max_length}");
                    assert!(record.blocks(max_length).iter().all(|(tokens, _)| tokens.len() <= max_length));
                }
            }
        }
    }
}
