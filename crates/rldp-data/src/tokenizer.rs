//! Text to token ids and back, with the model's own tokenizer.

use std::path::Path;

use tokenizers::{
    Tokenizer, decoders::byte_level::ByteLevel as ByteLevelDecoder, models::bpe::BPE,
    pre_tokenizers::byte_level::ByteLevel,
};

use crate::{chat::ChatTemplate, error::DataError};

/// A tokenizer of a Hugging Face directory.
pub struct TextTokenizer {
    inner: Tokenizer,
    chat: Option<ChatTemplate>,
    /// What it puts before every text.
    prefix: Vec<u32>,
}

impl TextTokenizer {
    /// Reads `tokenizer.json`, or GPT-2's `vocab.json` and `merges.txt`; and the chat template, when there is one.
    ///
    /// # Errors
    /// When neither is there, or it is damaged.
    pub fn from_dir(directory: &Path) -> Result<Self, DataError> {
        let whole = directory.join("tokenizer.json");
        if whole.exists() {
            let inner = Tokenizer::from_bytes(fs_err::read(&whole)?).map_err(|error| unreadable(&whole, &error))?;
            return Ok(Self { chat: ChatTemplate::from_dir(directory), ..Self::without_padding(inner)? });
        }
        let (vocab, merges) = (directory.join("vocab.json"), directory.join("merges.txt"));
        if !(vocab.exists() && merges.exists()) {
            return Err(refused(
                directory,
                "there is neither `tokenizer.json` nor `vocab.json` with `merges.txt`; copy them from the base model",
            ));
        }
        let bpe = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy())
            .build()
            .map_err(|error| refused(&vocab, &error.to_string()))?;
        let mut inner = Tokenizer::new(bpe);
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        inner.with_decoder(Some(ByteLevelDecoder::default()));
        Ok(Self { chat: ChatTemplate::from_dir(directory), ..Self::of(inner) })
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
        Self { inner, chat: None, prefix }
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
