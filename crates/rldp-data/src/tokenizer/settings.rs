//! The files beside `tokenizer.json`: `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`.
//!
//! Read in the order and with the precedence of `transformers` 5: an `added_tokens_decoder` in the configuration goes before
//! the two older files, which are read without it.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::{class::Class, refused};
use crate::error::DataError;

/// Tokens with a role, in the order in which they are added.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// What the files beside `tokenizer.json` say.
pub(super) struct Settings {
    values: Map<String, Value>,
    /// Added tokens by id.
    added: BTreeMap<u64, AddedToken>,
    /// Whether the configuration itself lists them.
    complete: bool,
}

impl Settings {
    /// Reads them; all may be absent. `whole` is the `tokenizer.json`, when there is one.
    pub(super) fn read(directory: &Path, whole: Option<&Value>) -> Result<Self, DataError> {
        let mut values = object(&directory.join("tokenizer_config.json"))?;
        let mut settings =
            Self { complete: values.contains_key("added_tokens_decoder"), added: BTreeMap::new(), values: Map::new() };
        let path = directory.join("tokenizer_config.json");
        if let Some(listed) = values.remove("added_tokens_decoder") {
            for (id, token) in listed.as_object().into_iter().flatten() {
                let id = id
                    .parse()
                    .map_err(|_| refused(&path, &format!("`added_tokens_decoder` has the id `{id}`, no number")))?;
                let token =
                    full(token).ok_or_else(|| refused(&path, "`added_tokens_decoder` holds what is no token"))?;
                settings.added.insert(id, token);
            }
        } else {
            values.extend(object(&directory.join("special_tokens_map.json"))?);
        }
        if values.get("extra_special_tokens").is_none_or(is_empty)
            && let Some(tokens) = values.remove("additional_special_tokens")
        {
            values.insert("extra_special_tokens".into(), tokens);
        }
        settings.values = values;
        if !settings.complete {
            settings.add_older(&directory.join("added_tokens.json"), whole)?;
        }
        Ok(settings)
    }

    /// Tokens of `added_tokens.json`, then those of `tokenizer.json`.
    fn add_older(&mut self, path: &Path, whole: Option<&Value>) -> Result<(), DataError> {
        let named = |settings: &Self, content: &str| {
            let roles = NAMES.iter().filter_map(|name| content_of(settings.values.get(*name)?));
            roles.chain(settings.extra_contents()).any(|token| token == content)
        };
        for (content, id) in object(path)? {
            let id = id.as_u64().ok_or_else(|| refused(path, "holds an id that is no number"))?;
            let special = named(self, &content);
            self.added.insert(id, AddedToken::from(content, special).normalized(!special));
        }
        for token in whole.and_then(|whole| whole["added_tokens"].as_array()).into_iter().flatten() {
            if let (Some(id), Some(token)) = (token["id"].as_u64(), full(token)) {
                self.added.insert(id, token);
            }
        }
        Ok(())
    }

    fn extra_contents(&self) -> impl Iterator<Item = &str> {
        self.values.get("extra_special_tokens").and_then(Value::as_array).into_iter().flatten().filter_map(content_of)
    }

    /// A flag of `tokenizer_config.json`.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.values.get(key)?.as_bool()
    }

    /// The declared class.
    pub(super) fn class(&self) -> Option<&str> {
        self.values.get("tokenizer_class")?.as_str()
    }

    /// Content of a token with a role; `None` when the files say that there is none.
    pub(super) fn named(&self, name: &str, class: Class) -> Option<String> {
        match self.values.get(name) {
            Some(given) => content_of(given).map(str::to_owned),
            None => class.default_token(name).map(str::to_owned),
        }
    }

    /// Tokens to add, in order, to a tokenizer that has the tokens `present`.
    pub(super) fn to_add(&self, class: Class, present: &[AddedToken]) -> Vec<AddedToken> {
        let roles = self.roles(class);
        let mut adding: Vec<AddedToken> =
            self.added.values().filter(|token| !present.contains(token)).cloned().collect();
        for token in roles.iter().cloned().chain(self.extras()) {
            if ![&adding[..], present].concat().iter().any(|there| there.content == token.content) {
                adding.push(token);
            }
        }
        for token in &mut adding {
            token.special |= roles.iter().any(|role| role.content == token.content);
        }
        adding
    }

    /// Tokens with a role: the usual names, then a model's own in the order of their names, in which `transformers` saves them.
    fn roles(&self, class: Class) -> Vec<AddedToken> {
        let usual = NAMES.iter().filter_map(|name| match self.values.get(*name) {
            Some(given) => self.as_listed(given),
            None => class
                .default_token(name)
                .map(|content| self.listed(content).unwrap_or_else(|| AddedToken::from(content, true))),
        });
        let own = self.values.iter().filter(|(key, _)| key.ends_with("_token") && !NAMES.contains(&key.as_str()));
        let by_name = self.values.get("extra_special_tokens").and_then(Value::as_object);
        let own = own.map(|(_, value)| value).chain(by_name.into_iter().flatten().map(|(_, value)| value));
        usual.chain(own.filter_map(plain)).collect()
    }

    fn extras(&self) -> Vec<AddedToken> {
        let listed = self.values.get("extra_special_tokens").and_then(Value::as_array);
        listed.into_iter().flatten().filter_map(plain).collect()
    }

    /// A named token as the list of added tokens has it, if it does.
    fn as_listed(&self, given: &Value) -> Option<AddedToken> {
        content_of(given).and_then(|content| self.listed(content)).or_else(|| plain(given))
    }

    fn listed(&self, content: &str) -> Option<AddedToken> {
        self.added.values().find(|token| token.content == content).cloned()
    }
}

/// A JSON object; empty when the file is absent.
fn object(path: &Path) -> Result<Map<String, Value>, DataError> {
    if !path.exists() {
        return Ok(Map::new());
    }
    let value: Value =
        serde_json::from_str(&fs_err::read_to_string(path)?).map_err(|error| refused(path, &error.to_string()))?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(refused(path, "is not a JSON object")),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        other => other.is_null(),
    }
}

fn content_of(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// A token that is special unless it says otherwise.
fn plain(value: &Value) -> Option<AddedToken> {
    match value {
        Value::String(content) => Some(AddedToken::from(content, true)),
        _ => full(value).map(|token| AddedToken { special: true, ..token }),
    }
}

/// A token with its settings.
fn full(value: &Value) -> Option<AddedToken> {
    let flag = |key: &str| value[key].as_bool();
    let special = flag("special").unwrap_or(false);
    Some(AddedToken {
        content: value["content"].as_str()?.to_owned(),
        single_word: flag("single_word").unwrap_or(false),
        lstrip: flag("lstrip").unwrap_or(false),
        rstrip: flag("rstrip").unwrap_or(false),
        normalized: flag("normalized").unwrap_or(!special),
        special,
    })
}
