//! Conversations as text: the chat template of a model, rendered as `transformers` does.

use std::{fmt, ops::Range, path::Path};

use minijinja::{Environment, Error, ErrorKind, context, syntax::SyntaxConfig, value::Serde};
use serde_json::Value;

use crate::error::DataError;

/// Most instructions of one rendering: a template is code from the model's directory and may loop.
const FUEL: u64 = 5_000_000;

/// A model's chat template.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rldp_data::ChatTemplate;
///
/// let source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
/// let template = ChatTemplate::new(source.into(), String::new(), String::new())?;
/// let chat = template.conversation(r#"[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]"#)?;
/// assert_eq!(&chat.text[chat.answers[0].clone()], "assistant: Yes\n");
/// # Ok(())
/// # }
/// ```
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("bos", &self.bos).field("eos", &self.eos).finish_non_exhaustive()
    }
}

/// A rendered conversation. It holds private text and therefore cannot be printed.
pub struct Conversation {
    /// The whole text.
    pub text: String,
    /// Where the assistant speaks, in bytes; from the first character of an answer to the end of its turn.
    pub answers: Vec<Range<usize>>,
}

impl ChatTemplate {
    /// Reads `chat_template.jinja`, or `chat_template` of `tokenizer_config.json`; `None` when the model has neither.
    ///
    /// # Errors
    /// When a file is damaged or the template is not valid.
    pub fn from_dir(directory: &Path) -> Result<Option<Self>, DataError> {
        let path = directory.join("tokenizer_config.json");
        let config: Value = if path.exists() {
            serde_json::from_str(&fs_err::read_to_string(&path)?).map_err(|error| refused(&path, &error.to_string()))?
        } else {
            Value::Null
        };
        let file = directory.join("chat_template.jinja");
        let source = if file.exists() { Some(fs_err::read_to_string(&file)?) } else { template_of(&config) };
        let Some(source) = source else { return Ok(None) };
        let special = |key: &str| {
            let token = &config[key];
            token.as_str().or_else(|| token["content"].as_str()).unwrap_or_default().to_owned()
        };
        Self::new(source, special("bos_token"), special("eos_token")).map(Some)
    }

    /// A template with the tokens that it may name.
    ///
    /// # Errors
    /// When the template is not valid.
    pub fn new(source: String, bos: String, eos: String) -> Result<Self, DataError> {
        let mut environment = Environment::new();
        let invalid = |error: &Error| {
            let reason = format!("is not valid: {} (line {})", error.kind(), error.line().unwrap_or(0));
            refused(Path::new("chat template"), &reason)
        };
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| invalid(&error))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned("chat", source).map_err(|error| invalid(&error))?;
        Ok(Self { environment, bos, eos })
    }

    /// The text of some messages (objects with `role` and `content`); `opens` adds what makes the assistant answer.
    ///
    /// # Errors
    /// When the template refuses the messages; the reason does not show them.
    pub fn render(&self, messages: &[Value], opens: bool) -> Result<String, String> {
        let values = context! {
            messages => Serde(messages), add_generation_prompt => opens, bos_token => self.bos.clone(), eos_token => self.eos.clone(),
        };
        let rendered = self.environment.get_template("chat").and_then(|template| template.render(values));
        // A template's own message may quote what it refuses.
        rendered.map_err(|error| format!("the model's chat template refuses the conversation ({})", error.kind()))
    }

    /// Renders a conversation given as a JSON array, and finds the assistant's turns in it.
    ///
    /// # Errors
    /// When it is no such array, the assistant says nothing, or the template changes earlier turns when later ones follow,
    /// so that no text can be said to be the answer; the reason does not show the conversation.
    pub fn conversation(&self, json: &str) -> Result<Conversation, String> {
        let messages: Vec<Value> =
            serde_json::from_str(json).map_err(|_| "the conversation is not an array of messages")?;
        if messages.iter().any(|message| !message["role"].is_string()) {
            return Err("a message has no `role`".into());
        }
        let text = self.render(&messages, false)?;
        let mut answers = Vec::new();
        for (index, _) in messages.iter().enumerate().filter(|(_, message)| message["role"] == "assistant") {
            let before = self.render(&messages[..index], true)?;
            let after = self.render(&messages[..=index], false)?;
            // What invites an answer may end in more white space than what precedes one.
            let before = if after.starts_with(&before) { before.as_str() } else { before.trim_end() };
            if !(text.starts_with(&after) && after.starts_with(before)) {
                return Err(format!(
                    "the model's chat template renders turn {} differently when others follow, so that it cannot be scored \
                     by itself; keep one answer a record, the last message",
                    index + 1
                ));
            }
            answers.push(before.len()..after.len());
        }
        if answers.is_empty() {
            Err("the assistant says nothing in it".into())
        } else {
            Ok(Conversation { text, answers })
        }
    }
}

/// The template of a `tokenizer_config.json`: a text, or the one called `default` of several.
fn template_of(config: &Value) -> Option<String> {
    let template = &config["chat_template"];
    let named = || template.as_array()?.iter().find(|entry| entry["name"] == "default")?["template"].as_str();
    template.as_str().or_else(named).map(str::to_owned)
}

fn refused(path: &Path, reason: &str) -> DataError {
    DataError::Tokenizer { path: path.to_owned(), reason: reason.to_owned() }
}
