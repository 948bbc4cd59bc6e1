//! Text to token ids and back, with the model's own tokenizer.

use std::path::Path;

use tokenizers::Tokenizer;

use self::repository::Repository;
use crate::{chat::ChatTemplate, error::DataError};

mod class;
mod repository;
mod settings;

/// A tokenizer of a Hugging Face directory.
pub struct TextTokenizer {
    inner: Tokenizer,
    chat: Option<ChatTemplate>,
    /// What its files call the end of a text.
    eos: Option<u32>,
    /// What it puts before every text.
    prefix: Vec<u32>,
}

impl TextTokenizer {
    /// Reads `tokenizer.json`, or `vocab.json` and `merges.txt` as GPT-2 and Qwen 2 have them, with what
    /// `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` add; and the chat template, when there is one.
    ///
    /// # Errors
    /// When neither is there, or it is damaged.
    pub fn from_dir(directory: &Path) -> Result<Self, DataError> {
        let Repository { tokenizer, eos } = repository::open(directory)?;
        Ok(Self { chat: ChatTemplate::from_dir(directory), eos, ..Self::without_padding(tokenizer)? })
    }

    /// Reads the bytes of a `tokenizer.json`. Truncation and padding that it may ask for are switched off: records are
    /// cut into blocks here, and never padded.
    ///
    /// # Errors
    /// When the bytes are not a tokenizer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DataError> {
        let file = Path::new("tokenizer.json");
        Self::without_padding(Tokenizer::from_bytes(bytes).map_err(|error| unreadable(file, &error))?)
    }

    fn without_padding(mut inner: Tokenizer) -> Result<Self, DataError> {
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| refused(Path::new("tokenizer.json"), &error.to_string()))?;
        Ok(Self::of(inner))
    }

    fn of(inner: Tokenizer) -> Self {
        let prefix = prefix_of(&inner).unwrap_or_default();
        Self { inner, chat: None, eos: None, prefix }
    }

    /// Special tokens that it puts before every text, such as BOS.
    pub(crate) fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// Token ids of a text, with the tokenizer's own special tokens or without.
    ///
    /// # Errors
    /// When the tokenizer fails; the message does not show the text.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, DataError> {
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(|_| refused(Path::new("tokenizer"), "a text could not be tokenized"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Puts the tokenizer's own end first among the tokens at which a model stops, if it is one: the first closes completions.
    pub fn own_end_first(&self, stops: &mut [u32]) {
        if let Some(place) = stops.iter().position(|stop| Some(*stop) == self.eos) {
            stops[..=place].rotate_right(1);
        }
    }

    /// Token ids of a text with special tokens, at most `most`: of a longer one the start is cut, but for the special tokens there.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_end(&self, text: &str, most: usize) -> Result<Vec<u32>, DataError> {
        let mut tokens = self.encode(text, true)?;
        if tokens.len() > most {
            let kept = if tokens.starts_with(&self.prefix) && self.prefix.len() < most { self.prefix.len() } else { 0 };
            tokens.drain(kept..kept + tokens.len() - most);
        }
        Ok(tokens)
    }

    /// The same tokenizer with a chat template.
    #[must_use]
    pub fn with_chat_template(self, template: ChatTemplate) -> Self {
        Self { chat: Some(template), ..self }
    }

    /// The model's chat template, when it has one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    /// Token ids of a text without special tokens of the tokenizer's own, and the byte at which each begins.
    pub(crate) fn encode_with_starts(&self, text: &str) -> Result<(Vec<u32>, Vec<usize>), DataError> {
        let encoding = self
            .inner
            .encode(text, false)
            .map_err(|_| refused(Path::new("tokenizer"), "a text could not be tokenized"))?;
        let starts = encoding.get_offsets().iter().map(|(start, _)| *start).collect();
        Ok((encoding.get_ids().to_vec(), starts))
    }

    /// Text of token ids, special tokens left out.
    ///
    /// # Errors
    /// When an id is unknown.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, DataError> {
        self.inner.decode(tokens, true).map_err(|error| refused(Path::new("tokenizer"), &error.to_string()))
    }
}

/// What stands before a text with special tokens, and not without.
fn prefix_of(tokenizer: &Tokenizer) -> Option<Vec<u32>> {
    let ids = |special| tokenizer.encode_fast("a", special).map(|encoding| encoding.get_ids().to_vec()).ok();
    let (with, without) = (ids(true)?, ids(false)?);
    let at = with.windows(without.len().max(1)).position(|window| window == without)?;
    Some(with[..at].to_vec())
}

fn unreadable(path: &Path, error: &tokenizers::Error) -> DataError {
    refused(path, &format!("not a tokenizer that can be read ({error}); copy it anew from the base model"))
}

fn refused(path: &Path, reason: &str) -> DataError {
    DataError::Tokenizer { path: path.to_owned(), reason: reason.to_owned() }
}
