//! The chat template in a model's directory.

use std::path::Path;

use serde_json::Value;

use super::{ChatTemplate, SpecialTokens};

/// Special tokens that templates may name.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl ChatTemplate {
    /// The template in `chat_template.jinja`, or `chat_template` of `tokenizer_config.json`; `None` when the model has neither. What is
    /// damaged refuses conversations when there is one.
    pub fn from_dir(directory: &Path) -> Option<Self> {
        let json = |name: &str| -> Result<Value, String> {
            let path = directory.join(name);
            if !path.exists() {
                return Ok(Value::Null);
            }
            let text = fs_err::read_to_string(&path).map_err(|error| error.to_string())?;
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
        };
        let read = |name: &str| -> Option<Result<String, String>> {
            let path = directory.join(name);
            path.exists().then(|| fs_err::read_to_string(&path).map_err(|error| error.to_string()))
        };
        let found = || -> Result<Option<Self>, String> {
            let config = json("tokenizer_config.json")?;
            let tokens = special_tokens(&config, &json("special_tokens_map.json").unwrap_or_default());
            let own = |name: &str| template_of(&config, name);
            let source = match read("chat_template.jinja") {
                Some(source) => Some(source?),
                None => own("default"),
            };
            let tools = match read("additional_chat_templates/tool_use.jinja") {
                Some(source) => Some(source?),
                None => own("tool_use"),
            };
            let source = source.or_else(|| tools.clone());
            Ok(source.map(|source| Self::with_tools(&source, tools.as_deref(), tokens)))
        };
        found().unwrap_or_else(|reason| Some(Self::broken(reason)))
    }
}

/// The tokens that a tokenizer's files name; the configuration goes before the map.
fn special_tokens(config: &Value, map: &Value) -> SpecialTokens {
    let token = |files: &Value, name: &str| {
        let token = &files[name];
        token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
    };
    let one = |name: &str| Some((name.to_owned(), token(config, name).or_else(|| token(map, name))?));
    NAMES.into_iter().filter_map(one).collect()
}

/// The template called `name` of a `tokenizer_config.json`; one alone is the default.
fn template_of(config: &Value, name: &str) -> Option<String> {
    let template = &config["chat_template"];
    let named = || template.as_array()?.iter().find(|entry| entry["name"] == name)?["template"].as_str();
    let alone = template.as_str().filter(|_| name == "default");
    alone.or_else(named).map(str::to_owned)
}
