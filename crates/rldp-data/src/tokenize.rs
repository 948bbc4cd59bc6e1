//! Records to token sequences.

use std::{ops::Range, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{
    error::DataError,
    source::{Chat, Content, RawRecord},
    tokenizer::TextTokenizer,
};

/// What stands between a prompt and its completion, unless something else is asked for.
pub const PROMPT_END: &str = "\n";

/// How a record becomes one sequence of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextLayout {
    /// What stands between a prompt and its completion; it counts as prompt.
    pub prompt_end: String,
    /// The token that ends a completion.
    pub eos: Option<u32>,
}

impl TextLayout {
    /// A line break behind prompts, and `eos` behind completions.
    pub fn new(eos: Option<u32>) -> Self {
        Self { prompt_end: PROMPT_END.to_owned(), eos }
    }
}

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
    /// Tokens at the start that the tokenizer puts before every text, such as BOS.
    pub prefix: usize,
    /// Scored positions, in order; the first token is never scored, for it has no context.
    pub scored: Vec<Range<usize>>,
    /// Answers of a conversation that are context alone.
    pub left_out: usize,
}

/// Tokenizes records.
///
/// A text record is what the tokenizer makes of it, special tokens included; nothing is appended. A prompt with a
/// completion is the prompt (with special tokens) and what ends it, then the completion without special tokens, then
/// `eos` when the model has one; only completion and end are scored. A conversation is what the model's chat template makes
/// of it, with no special tokens besides; only the assistant's turns are scored, each with what ends it.
///
/// # Errors
/// When a record has no tokens, or a conversation cannot be rendered; the row of `path` is named.
pub fn tokenize(
    path: &Path,
    records: &[RawRecord],
    tokenizer: &TextTokenizer,
    layout: &TextLayout,
) -> Result<Vec<TokenRecord>, DataError> {
    records.iter().map(|record| tokenize_one(path, record, tokenizer, layout)).collect()
}

fn tokenize_one(
    path: &Path,
    record: &RawRecord,
    tokenizer: &TextTokenizer,
    layout: &TextLayout,
) -> Result<TokenRecord, DataError> {
    let refuse = |reason: String| DataError::Row { path: path.to_owned(), row: record.place, reason };
    let empty = || refuse("the record has no tokens; remove empty records first".into());
    if record.scored_text().trim().is_empty() {
        return Err(empty());
    }
    let mut left_out = 0;
    let (tokens, scored) = match &record.content {
        Content::Text(text) => from(tokenizer.encode(text, true)?, 0),
        Content::Pair { prompt, completion } => {
            let mut tokens = tokenizer.encode(&format!("{prompt}{}", layout.prompt_end), true)?;
            let scored_from = tokens.len();
            tokens.extend(tokenizer.encode(completion, false)?);
            tokens.extend(layout.eos);
            from(tokens, scored_from)
        }
        Content::Chat(chat) => {
            let (tokens, scored, not_scored) = conversation(chat, tokenizer).map_err(refuse)?;
            left_out = not_scored;
            (tokens, scored)
        }
    };
    if tokens.is_empty() {
        return Err(empty());
    }
    let content = digest(record.parts().into_iter().map(str::as_bytes));
    let prefix = tokenizer.prefix().len();
    let prefix = if tokens.starts_with(tokenizer.prefix()) { prefix } else { 0 };
    Ok(TokenRecord { row: record.row, unit: record.unit.clone(), content, tokens, prefix, scored, left_out })
}

/// All tokens, scored from a position on.
fn from(tokens: Vec<u32>, scored_from: usize) -> (Vec<u32>, Vec<Range<usize>>) {
    let scored = std::iter::once(scored_from..tokens.len()).collect();
    (tokens, scored)
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

/// Tokens of a rendered conversation, those that begin inside an answer, and how many answers are context alone.
#[expect(clippy::type_complexity, reason = "three lists of one rendering, named in the line above")]
fn conversation(chat: &Chat, tokenizer: &TextTokenizer) -> Result<(Vec<u32>, Vec<Range<usize>>, usize), String> {
    let template = tokenizer.chat_template().ok_or(
        "the model has no chat template (`chat_template.jinja`, or `chat_template` in `tokenizer_config.json`), which \
         conversations need",
    )?;
    let rendered = template.conversation(chat)?;
    let (tokens, starts) = tokenizer.encode_with_starts(&rendered.text).map_err(|error| error.to_string())?;
    let at = |byte: usize| starts.partition_point(|start| *start < byte);
    let scored = rendered.answers.iter().map(|answer| at(answer.start)..at(answer.end)).collect();
    Ok((tokens, scored, rendered.left_out))
}

impl TokenRecord {
    /// Number of scored tokens.
    pub fn scored_tokens(&self) -> usize {
        self.scored.iter().map(|range| range.end.saturating_sub(range.start.max(1))).sum()
    }

    /// Whether the text itself begins with what the tokenizer puts before every text, so that it stands there twice.
    pub fn begins_twice(&self) -> bool {
        self.prefix > 0 && self.tokens[self.prefix..].starts_with(&self.tokens[..self.prefix])
    }

    /// Keeps the first `length` tokens.
    pub fn truncate(&mut self, length: usize) {
        self.tokens.truncate(length);
        self.prefix = self.prefix.min(length);
        for range in &mut self.scored {
            *range = range.start.min(length)..range.end.min(length);
        }
    }
}
