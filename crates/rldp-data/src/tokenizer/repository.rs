//! The tokenizer of a Hugging Face directory, with the settings of the files beside it.
//!
//! `tokenizer.json` is what the model was trained with and stays as it is, but for what its declared class settles: the space
//! before a text, and how Llama's pieces treat what follows a special token.

use std::path::Path;

use serde_json::{Value, json};
use tokenizers::{
    AddedToken, PreTokenizerWrapper, Tokenizer, decoders::byte_level::ByteLevel as ByteLevelDecoder, models::bpe::BPE,
    processors::template::TemplateProcessing,
};

use super::{
    class::{Class, works_on_bytes},
    refused,
    settings::Settings,
    unreadable,
};
use crate::error::DataError;

const NFC: &str = r#"{"type": "NFC"}"#;
const QWEN2_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A tokenizer, and the token that its files call the end.
pub(super) struct Repository {
    pub(super) tokenizer: Tokenizer,
    pub(super) eos: Option<u32>,
}

/// Opens `tokenizer.json`, or `vocab.json` with `merges.txt`.
pub(super) fn open(directory: &Path) -> Result<Repository, DataError> {
    let path = directory.join("tokenizer.json");
    let whole = if path.exists() { Some(fs_err::read(&path)?) } else { None };
    let json: Option<Value> = whole
        .as_deref()
        .map(|bytes| serde_json::from_slice(bytes).map_err(|error| unreadable(&path, &error.into())))
        .transpose()?;
    let settings = Settings::read(directory, json.as_ref())?;
    let bytes = json.as_ref().is_some_and(|json| works_on_bytes(&json["pre_tokenizer"]));
    let config = model_config(directory);
    let declared = settings.class().or_else(|| config["tokenizer_class"].as_str());
    let class = Class::of(config["model_type"].as_str().unwrap_or_default(), declared, bytes);
    let (mut tokenizer, class) = match &whole {
        Some(bytes) => (Tokenizer::from_bytes(bytes).map_err(|error| unreadable(&path, &error))?, class),
        None => from_parts(directory, class)?,
    };
    if let (Some(json), true) = (&json, class != Class::Whole) {
        settle(&mut tokenizer, class, &settings, json).map_err(|error| unreadable(&path, &error))?;
    } else if json.is_none() {
        prefix_space(&mut tokenizer, settings.flag("add_prefix_space").unwrap_or(false))
            .map_err(|error| unreadable(&path, &error))?;
    }
    let present: Vec<AddedToken> = tokenizer.get_added_tokens_decoder().into_values().collect();
    tokenizer.add_tokens(settings.to_add(class, &present)).map_err(|error| unreadable(&path, &error))?;
    tokenizer.set_encode_special_tokens(settings.flag("split_special_tokens").unwrap_or(false));
    let named = |name: &str| settings.named(name, class).filter(|token| !token.is_empty());
    if json.is_none() {
        let wanted = |flag: &str, name: &str| named(name).filter(|_| settings.flag(flag) == Some(true));
        let around = [wanted("add_bos_token", "bos_token"), wanted("add_eos_token", "eos_token")];
        surround(&mut tokenizer, &around)
            .map_err(|error| unreadable(&directory.join("tokenizer_config.json"), &error))?;
    }
    let eos = named("eos_token").and_then(|token| tokenizer.token_to_id(&token));
    Ok(Repository { tokenizer, eos })
}

/// `config.json` as far as it tells the class; what is wrong with it is said where the model is opened.
fn model_config(directory: &Path) -> Value {
    let text = fs_err::read_to_string(directory.join("config.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// A tokenizer on bytes from its vocabulary and merges.
fn from_parts(directory: &Path, class: Class) -> Result<(Tokenizer, Class), DataError> {
    let (vocab, merges) = (directory.join("vocab.json"), directory.join("merges.txt"));
    if !(vocab.exists() && merges.exists()) {
        return Err(refused(
            directory,
            "there is neither `tokenizer.json` nor `vocab.json` with `merges.txt`; copy them from the base model",
        ));
    }
    let failed = |error: tokenizers::Error| refused(&vocab, &error.to_string());
    let model = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy()).build().map_err(failed)?;
    let mut tokenizer = Tokenizer::new(model);
    let class = if class == Class::Qwen2 { class } else { Class::Gpt2 };
    let bytes =
        |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
    let words = if class == Class::Qwen2 {
        let split =
            json!({"type": "Split", "pattern": {"Regex": QWEN2_WORDS}, "behavior": "Isolated", "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
    } else {
        bytes(true)
    };
    tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(words).map_err(failed)?));
    if class == Class::Qwen2 {
        let normalizer: tokenizers::NormalizerWrapper =
            serde_json::from_str(NFC).map_err(|error| failed(error.into()))?;
        tokenizer.with_normalizer(Some(normalizer)).map_err(failed)?;
    }
    tokenizer.with_decoder(Some(ByteLevelDecoder::default()));
    Ok((tokenizer, class))
}

fn part<T: serde::de::DeserializeOwned>(value: Value) -> tokenizers::Result<T> {
    Ok(serde_json::from_value(value)?)
}

/// What a class settles of a `tokenizer.json`.
fn settle(tokenizer: &mut Tokenizer, class: Class, settings: &Settings, json: &Value) -> tokenizers::Result<()> {
    let space = settings.flag("add_prefix_space");
    match class {
        Class::Gpt2 => prefix_space(tokenizer, space.unwrap_or(false)),
        Class::Qwen2 => {
            tokenizer.with_normalizer(Some(part::<tokenizers::NormalizerWrapper>(json!({"type": "NFC"}))?))?;
            prefix_space(tokenizer, space.unwrap_or(false))
        }
        Class::Llama if is_pieces(json) => {
            let scheme = match (space.unwrap_or(true), settings.flag("legacy").unwrap_or(false)) {
                (false, _) => "never",
                (true, true) => "always",
                (true, false) => "first",
            };
            let words = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
            tokenizer.with_normalizer(None::<tokenizers::NormalizerWrapper>)?;
            tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(words)?));
            Ok(())
        }
        Class::Llama | Class::Whole | Class::Gemma => Ok(()),
    }
}

/// Whether a `tokenizer.json` marks spaces as SentencePiece does.
fn is_pieces(json: &Value) -> bool {
    let marks = |part: &Value| part["type"] == "Metaspace" || part["content"] == "▁";
    let normalizers = json["normalizer"]["normalizers"].as_array();
    marks(&json["pre_tokenizer"]) || normalizers.into_iter().flatten().chain([&json["normalizer"]]).any(marks)
}

/// Sets whether a space is put before a text that does not begin with one.
fn prefix_space(tokenizer: &mut Tokenizer, wanted: bool) -> tokenizers::Result<()> {
    let Some(words) = tokenizer.get_pre_tokenizer() else { return Ok(()) };
    let mut words = serde_json::to_value(words)?;
    let set = |part: &mut Value| {
        if part["type"] == "ByteLevel" {
            part["add_prefix_space"] = json!(wanted);
        }
    };
    set(&mut words);
    words.get_mut("pretokenizers").and_then(Value::as_array_mut).into_iter().flatten().for_each(set);
    tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(words)?));
    Ok(())
}

/// Puts tokens before and after every text.
fn surround(tokenizer: &mut Tokenizer, around: &[Option<String>; 2]) -> tokenizers::Result<()> {
    let [first, last] = around;
    if first.is_none() && last.is_none() {
        return Ok(());
    }
    let pieces = |text: &str| -> Vec<Value> {
        let token = |token: &String| json!({"SpecialToken": {"id": token, "type_id": 0}});
        let text = json!({"Sequence": {"id": text, "type_id": 0}});
        first.iter().map(token).chain([text]).chain(last.iter().map(token)).collect()
    };
    let table: serde_json::Map<String, Value> = around
        .iter()
        .flatten()
        .filter_map(|token| {
            Some((token.clone(), json!({"id": token, "ids": [tokenizer.token_to_id(token)?], "tokens": [token]})))
        })
        .collect();
    let pair = [pieces("A"), pieces("B")].concat();
    let template = json!({"type": "TemplateProcessing", "single": pieces("A"), "pair": pair, "special_tokens": table});
    tokenizer.with_post_processor(Some(part::<TemplateProcessing>(template)?));
    Ok(())
}
