//! The tokenizer of a GGUF file as a `tokenizer.json`.
//!
//! Two kinds are translated: SentencePiece's BPE (`llama`), whose merges follow from the scores of its pieces, and byte-level
//! BPE (`gpt2`) with a pre-tokenizer that is known here.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::{
    Chat,
    header::shown,
    value::{Metadata, Value},
};

/// Longest token, in bytes; real ones are far shorter, and the merges of a piece take the square of its length.
const LONGEST: usize = 512;

/// GGML's kinds of tokens.
const UNKNOWN: f64 = 2.0;
const CONTROL: f64 = 3.0;
const USER_DEFINED: f64 = 4.0;

const LLAMA3_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The `tokenizer.json`; `None` when the file has no tokenizer.
pub(super) fn json(metadata: &HashMap<String, Value>) -> Result<Option<Json>, String> {
    let metadata = Metadata(metadata);
    let Some(model) = metadata.text("tokenizer.ggml.model")? else { return Ok(None) };
    let vocabulary = Vocabulary::read(metadata)?;
    match model {
        "llama" => vocabulary.sentence_piece().map(Some),
        "gpt2" => vocabulary.byte_level().map(Some),
        other => Err(format!("`tokenizer.ggml.model` of `{}` is not supported; supported: llama, gpt2", shown(other))),
    }
}

/// The chat template; `None` when the file has none.
pub(super) fn chat(metadata: &HashMap<String, Value>) -> Result<Option<Chat>, String> {
    let metadata = Metadata(metadata);
    let Some(template) = metadata.text("tokenizer.chat_template")? else { return Ok(None) };
    let tokens = metadata.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
    let token = |name: &str| {
        let id = metadata.size(&format!("tokenizer.ggml.{name}_token_id"))?;
        Ok::<_, String>(id.and_then(|id| tokens.get(id as usize)).cloned().unwrap_or_default())
    };
    Ok(Some(Chat { template: template.to_owned(), bos: token("bos")?, eos: token("eos")? }))
}

struct Vocabulary<'a> {
    metadata: Metadata<'a>,
    tokens: &'a [String],
    kinds: &'a [f64],
    ids: HashMap<&'a str, usize>,
}

impl<'a> Vocabulary<'a> {
    fn read(metadata: Metadata<'a>) -> Result<Self, String> {
        let tokens = metadata.texts("tokenizer.ggml.tokens")?.ok_or("the metadata have no `tokenizer.ggml.tokens`")?;
        let kinds = metadata.numbers("tokenizer.ggml.token_type")?.unwrap_or_default();
        if !kinds.is_empty() && kinds.len() != tokens.len() {
            return Err(format!("there are {} token types for {} tokens", kinds.len(), tokens.len()));
        }
        if let Some(id) = tokens.iter().position(|token| token.len() > LONGEST) {
            return Err(format!("token {id} is longer than {LONGEST} bytes"));
        }
        let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
        if ids.len() != tokens.len() {
            return Err(format!("of {} tokens {} are repeated", tokens.len(), tokens.len() - ids.len()));
        }
        Ok(Self { metadata, tokens, kinds, ids })
    }

    /// Tokens that are never made by merging, in the order of their ids.
    fn added(&self) -> Vec<Json> {
        let kinds = self.kinds.iter().enumerate();
        let added = kinds.filter(|(_, kind)| [UNKNOWN, CONTROL, USER_DEFINED].contains(*kind));
        let token = |(id, kind): (usize, &f64)| {
            json!({
                "id": id, "content": self.tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind != USER_DEFINED,
            })
        };
        added.map(token).collect()
    }

    /// Puts the tokens that open and close a sequence around it, as far as the metadata ask for them.
    fn template(&self, opens: bool) -> Result<Json, String> {
        let special = |name: &str, default: bool| {
            let wanted = self.metadata.flag(&format!("tokenizer.ggml.add_{name}_token"))?.unwrap_or(default);
            let key = format!("tokenizer.ggml.{name}_token_id");
            let Some(id) = self.metadata.size(&key)?.filter(|_| wanted) else { return Ok(None) };
            let token = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
            token.map(|token| Some((token, id))).ok_or_else(|| format!("`{key}` of {id} is not a token"))
        };
        let (first, last) = (special("bos", opens)?, special("eos", false)?);
        if first.is_none() && last.is_none() {
            return Ok(Json::Null);
        }
        let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let part = |special: &Option<(&String, u64)>| {
            special.map(|(token, _)| json!({"SpecialToken": {"id": token, "type_id": 0}}))
        };
        let around =
            |id: &str| [part(&first), Some(sequence(id)), part(&last)].into_iter().flatten().collect::<Vec<_>>();
        let table: serde_json::Map<String, Json> = [first, last]
            .into_iter()
            .flatten()
            .map(|(token, id)| (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]})))
            .collect();
        let pair: Vec<Json> = around("A").into_iter().chain(around("B")).collect();
        Ok(json!({"type": "TemplateProcessing", "single": around("A"), "pair": pair, "special_tokens": table}))
    }

    fn byte_level(&self) -> Result<Json, String> {
        let words = self.metadata.text("tokenizer.ggml.pre")?.unwrap_or("gpt-2");
        let regex = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let bytes = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
        let sequence = |first: Json, last: Json| json!({"type": "Sequence", "pretokenizers": [first, last]});
        let digits = json!({"type": "Digits", "individual_digits": true});
        let (pre_tokenizer, normalizer, whole_words, opens) = match words {
            "gpt-2" => (bytes(true), Json::Null, false, false),
            "smollm" => (sequence(digits, bytes(true)), Json::Null, false, false),
            "llama-bpe" | "llama3" => (sequence(regex(LLAMA3_WORDS), bytes(false)), Json::Null, true, true),
            "qwen2" => (sequence(regex(QWEN2_WORDS), bytes(false)), json!({"type": "NFC"}), false, false),
            other => {
                return Err(format!(
                    "`tokenizer.ggml.pre` of `{}` is not supported; supported: gpt-2, llama-bpe, qwen2, smollm",
                    shown(other)
                ));
            }
        };
        let merges =
            self.metadata.texts("tokenizer.ggml.merges")?.ok_or("the metadata have no `tokenizer.ggml.merges`")?;
        let merges: Vec<Json> = merges
            .iter()
            .map(|merge| {
                merge.split_once(' ').map(|pair| json!([pair.0, pair.1])).ok_or("a merge is not a pair of tokens")
            })
            .collect::<Result<_, _>>()?;
        Ok(json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": self.added(),
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": self.template(opens)?,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole_words,
                "vocab": self.ids, "merges": merges,
            },
        }))
    }

    fn sentence_piece(&self) -> Result<Json, String> {
        let spaced = self.metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let prepend = json!({"type": "Prepend", "prepend": "▁"});
        let normalizers = if spaced { vec![prepend, replace] } else { vec![replace] };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if spaced {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.kinds.iter().position(|kind| *kind == UNKNOWN).map(|id| &self.tokens[id]);
        Ok(json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": self.added(),
            "normalizer": {"type": "Sequence", "normalizers": normalizers}, "pre_tokenizer": null,
            "post_processor": self.template(true)?, "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": self.ids, "merges": self.merges()?,
            },
        }))
    }

    /// SentencePiece merges the neighbours whose union has the highest score; as a list of merges, that is every split of
    /// every piece into two pieces, the best score first.
    fn merges(&self) -> Result<Vec<[&'a str; 2]>, String> {
        let scores =
            self.metadata.numbers("tokenizer.ggml.scores")?.ok_or("the metadata have no `tokenizer.ggml.scores`")?;
        if scores.len() != self.tokens.len() {
            return Err(format!("there are {} scores for {} tokens", scores.len(), self.tokens.len()));
        }
        let mut merges = Vec::new();
        for (id, token) in self.tokens.iter().enumerate() {
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if let (Some(first), Some(second)) = (self.ids.get(left), self.ids.get(right)) {
                    merges.push((scores[id], id, *first, *second, [left, right]));
                }
            }
        }
        merges.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
        Ok(merges.into_iter().map(|(.., merge)| merge).collect())
    }
}
