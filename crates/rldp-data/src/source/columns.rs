//! Which columns of a file make a record.

use super::{Chat, Content, Role, Value, Wanted};
use crate::unit_ids::UnitIds;

/// The column of tools that belong to a conversation, where a file has one: templates show them to the model.
const TOOLS: &str = "tools";

/// Where a record's text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextColumns {
    /// What the file's columns are the usual names of: `text`; `messages` or `conversations`; `prompt` and `completion`;
    /// `instruction`, `input` and `output`. The first that is there.
    Usual,
    /// One column, all of it scored.
    Text(String),
    /// A prompt, which is context, and a completion, which is scored; both texts, or both arrays of messages.
    PromptCompletion {
        /// Column of the prompt.
        prompt: String,
        /// Column of the completion.
        completion: String,
    },
    /// An instruction, with further input on a line of its own where it is not empty, and the output, which alone is scored.
    Instruction,
    /// A conversation: an array of messages with `role` and `content`, of which the assistant's are scored.
    Messages(String),
}

/// The column that names the privacy unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitColumn {
    /// Its name.
    pub name: String,
    /// When two of its values are one unit.
    pub ids: UnitIds,
}

/// Which columns are read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The text.
    pub text: TextColumns,
    /// The privacy unit, when a column names it.
    pub unit: Option<UnitColumn>,
    /// What stands between the fields of CSV; a comma, or in `.tsv` a tab, when absent.
    pub delimiter: Option<u8>,
}

impl Columns {
    /// Columns of text alone.
    pub fn of(text: TextColumns) -> Self {
        Self { text, unit: None, delimiter: None }
    }

    pub(super) fn wanted(&self, text: &TextColumns) -> Vec<Wanted> {
        let mut wanted = text.wanted();
        wanted.extend(self.unit.as_ref().map(|unit| Wanted::new(&unit.name, Role::Unit)));
        wanted
    }
}

impl TextColumns {
    /// What is named: a column of messages, or both a prompt and a completion; `None` when it is neither.
    pub fn named(messages: Option<&str>, prompt: Option<&str>, completion: Option<&str>) -> Option<Self> {
        let pair = || Some(Self::PromptCompletion { prompt: prompt?.to_owned(), completion: completion?.to_owned() });
        messages.map(|column| Self::Messages(column.to_owned())).or_else(pair)
    }

    /// The usual columns, told by those that a file has.
    pub(super) fn resolve(&self, found: &[&str]) -> Self {
        if *self != Self::Usual {
            return self.clone();
        }
        let has = |name: &str| found.contains(&name);
        let pair = || Self::named(None, Some("prompt"), Some("completion"));
        let usual = match () {
            () if has("text") => None,
            () if has("messages") => Some(Self::Messages("messages".into())),
            () if has("conversations") => Some(Self::Messages("conversations".into())),
            () if has("prompt") && has("completion") => pair(),
            () if has("instruction") && has("output") => Some(Self::Instruction),
            () => None,
        };
        usual.unwrap_or_else(|| Self::Text("text".into()))
    }

    fn wanted(&self) -> Vec<Wanted> {
        let tools = Wanted::optional(TOOLS, Role::Array);
        match self {
            Self::Usual => Vec::new(),
            Self::Text(text) => vec![Wanted::new(text, Role::Text)],
            Self::PromptCompletion { prompt, completion } => {
                vec![Wanted::new(prompt, Role::TextOrMessages), Wanted::new(completion, Role::Label), tools]
            }
            Self::Instruction => vec![
                Wanted::new("instruction", Role::Text),
                Wanted::optional("input", Role::Text),
                Wanted::new("output", Role::Label),
            ],
            Self::Messages(messages) => vec![Wanted::new(messages, Role::Array), tools],
        }
    }

    /// A record's content from the values of the wanted columns, in their order.
    pub(super) fn content(&self, values: &mut impl Iterator<Item = Option<Value>>) -> Result<Content, String> {
        let mut next = || values.next().flatten();
        let text = |value: Option<Value>| value.map(|value| value.text).unwrap_or_default();
        Ok(match self {
            Self::Usual | Self::Text(_) => Content::Text(text(next())),
            Self::Messages(_) => {
                let messages = text(next());
                Content::Chat(Chat { before: None, messages, tools: tools(next()) })
            }
            Self::Instruction => {
                let (instruction, input, completion) = (text(next()), text(next()), text(next()));
                let prompt = if input.is_empty() { instruction } else { format!("{instruction}\n{input}") };
                Content::Pair { prompt, completion }
            }
            Self::PromptCompletion { prompt, completion } => {
                let (context, answer, tools) = (next(), next(), tools(next()));
                let array = |value: &Option<Value>| value.as_ref().is_some_and(|value| value.array);
                match (array(&context), array(&answer)) {
                    (false, false) => Content::Pair { prompt: text(context), completion: text(answer) },
                    (true, true) => Content::Chat(Chat { before: Some(text(context)), messages: text(answer), tools }),
                    _ => {
                        return Err(format!(
                            "of `{prompt}` and `{completion}` one is an array of messages and one is not; they must be alike"
                        ));
                    }
                }
            }
        })
    }
}

/// Tools, unless there are none.
fn tools(value: Option<Value>) -> Option<String> {
    value.map(|value| value.text).filter(|text| !matches!(text.trim(), "" | "null" | "[]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_columns_are_found_by_their_names() {
        let found = |names: &[&str]| TextColumns::Usual.resolve(names);
        assert_eq!(found(&["id", "text", "messages"]), TextColumns::Text("text".into()));
        assert_eq!(found(&["messages"]), TextColumns::Messages("messages".into()));
        assert_eq!(found(&["conversations", "id"]), TextColumns::Messages("conversations".into()));
        assert_eq!(found(&["output", "input", "instruction"]), TextColumns::Instruction);
        assert!(matches!(found(&["completion", "prompt"]), TextColumns::PromptCompletion { .. }));
        assert_eq!(found(&["note"]), TextColumns::Text("text".into()));
        let named = TextColumns::Text("note".into());
        assert_eq!(named.resolve(&["text"]), named);
    }
}
