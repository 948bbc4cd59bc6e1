//! Which of `transformers`' tokenizer classes a repository is read by, and what that class settles.

use serde_json::Value;

/// A class. What is not one of these is read as its `tokenizer.json` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Whatever `tokenizer.json` holds.
    Whole,
    Gpt2,
    Llama,
    Qwen2,
    Gemma,
}

impl Class {
    /// The class that `AutoTokenizer` of `transformers` 5 takes, given `model_type`, the declared class and whether
    /// `tokenizer.json` works on bytes.
    pub(super) fn of(model_type: &str, declared: Option<&str>, bytes: bool) -> Self {
        let registered = match model_type {
            "gpt2" => Some(Self::Gpt2),
            "qwen2" | "qwen3" => Some(Self::Qwen2),
            "gemma" => Some(Self::Gemma),
            _ => None,
        };
        let Some(declared) = declared.map(|name| Self::named(name.strip_suffix("Fast").unwrap_or(name))) else {
            return registered.unwrap_or(Self::Whole);
        };
        match (declared, model_type) {
            // Repositories of Qwen 2 are known to declare other classes than theirs.
            (_, "qwen2") => Self::Qwen2,
            (_, "mistral") => Self::Whole,
            (Self::Llama, _) if bytes => Self::Whole,
            _ => declared,
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "GPT2Tokenizer" => Self::Gpt2,
            "LlamaTokenizer" => Self::Llama,
            "Qwen2Tokenizer" => Self::Qwen2,
            "GemmaTokenizer" => Self::Gemma,
            _ => Self::Whole,
        }
    }

    /// What a named token is when no file names it.
    pub(super) fn default_token(self, name: &str) -> Option<&'static str> {
        let of = |table: &[(&str, &'static str)]| table.iter().find(|(key, _)| *key == name).map(|(_, token)| *token);
        const END: &str = "<|endoftext|>";
        match self {
            Self::Whole => None,
            Self::Gpt2 => of(&[("bos_token", END), ("eos_token", END), ("unk_token", END)]),
            Self::Qwen2 => of(&[("eos_token", END), ("unk_token", END), ("pad_token", END)]),
            Self::Llama => of(&[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")]),
            Self::Gemma => of(&[
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ]),
        }
    }
}

/// Whether the pre-tokenizer of a `tokenizer.json` works on bytes.
pub(super) fn works_on_bytes(pre_tokenizer: &Value) -> bool {
    let is_bytes = |part: &Value| part["type"] == "ByteLevel";
    is_bytes(pre_tokenizer) || pre_tokenizer["pretokenizers"].as_array().is_some_and(|parts| parts.iter().any(is_bytes))
}
