//! Records to token sequences, and sequences to blocks.

use std::{ops::Range, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{error::DataError, source::RawRecord, tokenizer::TextTokenizer};

/// What stands between a prompt and its completion.
pub const PROMPT_END: &str = "\n";

/// One record as tokens. It holds private text and therefore cannot be printed.
pub struct TokenRecord {
    /// Row of data, counted from 0.
    pub row: usize,
    /// Value of the unit column.
    pub unit: Option<String>,
    /// SHA-256 of what the record holds in its file, whatever a tokenizer makes of it. As private as the record.
    pub content: [u8; 32],
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Scored positions, in order; the first token is never scored, for it has no context.
    pub scored: Vec<Range<usize>>,
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
/// `eos` when the model has one; only completion and end are scored. A conversation is what the model's chat template makes
/// of it, with no special tokens besides; only the assistant's turns are scored, each with what ends it.
///
/// # Errors
/// When a record has no tokens, or a conversation cannot be rendered; the row of `path` is named.
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
    let refuse = |reason: String| DataError::Row { path: path.to_owned(), row: record.row + 1, reason };
    let empty = || refuse("the record has no tokens; remove empty records first".into());
    if record.text.trim().is_empty() {
        return Err(empty());
    }
    let (tokens, scored) = if record.conversation {
        conversation(record, tokenizer).map_err(refuse)?
    } else {
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
        let scored = std::iter::once(scored_from..tokens.len()).collect();
        (tokens, scored)
    };
    let content = digest(record.prompt.iter().chain([&record.text]).map(String::as_bytes));
    Ok(TokenRecord { row: record.row, unit: record.unit.clone(), content, tokens, scored })
}

/// SHA-256 over parts, each with its length before it: the same in every version of the program.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Tokens of a rendered conversation, and those that begin inside an answer.
fn conversation(record: &RawRecord, tokenizer: &TextTokenizer) -> Result<(Vec<u32>, Vec<Range<usize>>), String> {
    let template = tokenizer.chat_template().ok_or(
        "the model has no chat template (`chat_template.jinja`, or `chat_template` in `tokenizer_config.json`), which \
         conversations need",
    )?;
    let rendered = template.conversation(&record.text)?;
    let (tokens, starts) = tokenizer.encode_with_starts(&rendered.text).map_err(|error| error.to_string())?;
    let at = |byte: usize| starts.partition_point(|start| *start < byte);
    let scored = rendered.answers.iter().map(|answer| at(answer.start)..at(answer.end)).collect();
    Ok((tokens, scored))
}

impl TokenRecord {
    /// Number of scored tokens.
    pub fn scored_tokens(&self) -> usize {
        self.scored.iter().map(|range| range.end.saturating_sub(range.start.max(1))).sum()
    }

    /// Blocks of at most `max_length` tokens with their first scored positions. Neighbours overlap by one token, so that
    /// every scored token is scored exactly once; blocks without scored tokens are left out.
    pub fn blocks(&self, max_length: usize) -> Vec<(Vec<u32>, usize)> {
        let length = max_length.max(2);
        let mut blocks = Vec::new();
        for (tokens, scored_from) in self.passages() {
            let mut start = 0;
            while start + 1 < tokens.len() {
                let end = (start + length).min(tokens.len());
                let scored_from = scored_from.saturating_sub(start).max(1);
                if start + scored_from < end {
                    blocks.push((tokens[start..end].to_vec(), scored_from));
                }
                start = end - 1;
            }
        }
        blocks
    }

    /// Every scored passage with all that comes before it, uncut, and its first scored position.
    pub fn passages(&self) -> impl Iterator<Item = (&[u32], usize)> {
        self.scored.iter().map(|range| (&self.tokens[..range.end], range.start))
    }

    /// Keeps the first `length` tokens.
    pub fn truncate(&mut self, length: usize) {
        self.tokens.truncate(length);
        for range in &mut self.scored {
            *range = range.start.min(length)..range.end.min(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: u32, scored_from: usize) -> TokenRecord {
        let scored = std::iter::once(scored_from..length as usize).collect();
        TokenRecord { row: 0, unit: None, content: [0; 32], tokens: (0..length).collect(), scored }
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

    #[test]
    fn passages_of_a_conversation_see_what_came_before_and_are_scored_apart() {
        let mut record =
            TokenRecord { row: 0, unit: None, content: [0; 32], tokens: (0..10).collect(), scored: vec![2..4, 7..10] };
        let scored = |record: &TokenRecord, most: usize| -> Vec<u32> {
            record.blocks(most).iter().flat_map(|(tokens, from)| tokens[*from..].to_vec()).collect()
        };
        for most in 2..12 {
            assert_eq!(scored(&record, most), [2, 3, 7, 8, 9], "blocks of {most}");
        }
        assert_eq!(record.blocks(20)[1].0, (0..10).collect::<Vec<u32>>());
        record.truncate(8);
        assert_eq!((scored(&record, 20), record.scored_tokens()), (vec![2, 3, 7], 3));
    }
}
