//! Conversations as text: the chat template of a model, rendered as `transformers` does.

mod answers;
mod files;
mod filters;
mod generation;
mod messages;
mod methods;
mod python;

use std::{collections::BTreeMap, fmt, ops::Range};

use minijinja::{
    Environment, Error, Output, State, Value,
    syntax::SyntaxConfig,
    value::{Kwargs, ValueKind},
};

use crate::source::Chat;
use answers::Talk;
use messages::Message;

/// Most instructions of one rendering: a template is code from the model's directory and may loop.
const FUEL: u64 = 20_000_000;

/// Names that a template may use for the tokenizer's special tokens, such as `bos_token`, with the tokens.
pub type SpecialTokens = BTreeMap<String, String>;

/// A model's chat template. One that cannot be read refuses conversations, and nothing else.
///
/// ```
/// use rldp_data::{Chat, ChatTemplate};
///
/// let source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
/// let template = ChatTemplate::new(source, Default::default());
/// let messages = r#"[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]"#.to_owned();
/// let chat = template.conversation(&Chat { messages, ..Chat::default() })?;
/// assert_eq!(&chat.text[chat.answers[0].clone()], "assistant: Yes\n");
/// # Ok::<(), String>(())
/// ```
pub struct ChatTemplate {
    compiled: Result<Environment<'static>, String>,
    /// Whether a second template is for conversations with tools.
    for_tools: bool,
    /// Whether a template says itself what the assistant generates.
    marks: bool,
    special: SpecialTokens,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("special", &self.special).finish_non_exhaustive()
    }
}

/// A rendered conversation. It holds private text and therefore cannot be printed.
pub struct Conversation {
    /// The text up to the end of the last answer.
    pub text: String,
    /// Where the assistant speaks, in bytes; from the first character of an answer to the end of its turn.
    pub answers: Vec<Range<usize>>,
    /// Answers that are in the text otherwise than they would be generated, and are context alone.
    pub left_out: usize,
}

impl ChatTemplate {
    /// A template with the tokens that it may name.
    pub fn new(source: &str, special: SpecialTokens) -> Self {
        Self::with_tools(source, None, special)
    }

    /// A template that nothing can be rendered with, and why.
    pub(crate) fn broken(reason: String) -> Self {
        Self { compiled: Err(reason), for_tools: false, marks: false, special: SpecialTokens::new() }
    }

    /// The same, with another template for conversations with tools.
    pub(crate) fn with_tools(source: &str, for_tools: Option<&str>, special: SpecialTokens) -> Self {
        let mut marks = false;
        let compiled = environment().and_then(|mut environment| {
            for (name, source) in [("chat", Some(source)), ("tools", for_tools)] {
                let Some(source) = source else { continue };
                let (source, found) = generation::as_calls(source);
                if filters::sums_safe_text(&source) {
                    environment.add_filter("safe", filters::refuse_safe);
                }
                marks |= found;
                environment.add_template_owned(name, source).map_err(|error| invalid(&error))?;
            }
            Ok(environment)
        });
        Self { compiled, for_tools: for_tools.is_some(), marks, special }
    }

    /// The text of messages and tools, given as JSON; `opens` adds what makes the assistant answer.
    ///
    /// # Errors
    /// When they are none, or the template refuses them; the reason does not show them.
    pub fn render(&self, messages: &str, tools: Option<&str>, opens: bool) -> Result<String, String> {
        let tools = tools.map(|tools| messages::value(tools, "the tools")).transpose()?;
        self.render_messages(&messages::messages(messages)?, tools.as_ref(), opens)
    }

    /// Renders a conversation, and finds the assistant's turns in it.
    ///
    /// # Errors
    /// When it is none, the assistant says nothing, or the template refuses it or leaves no text that can be said to be the last
    /// answer; the reason does not show the conversation.
    pub fn conversation(&self, chat: &Chat) -> Result<Conversation, String> {
        let tools = chat.tools.as_deref().map(|tools| messages::value(tools, "the tools")).transpose()?;
        let mut all = chat.before.as_deref().map_or_else(|| Ok(Vec::new()), messages::messages)?;
        let context = all.len();
        all.extend(messages::messages(&chat.messages)?);
        Talk { template: self, messages: all, context, tools }.conversation()
    }

    fn render_messages(&self, messages: &[Message], tools: Option<&Value>, opens: bool) -> Result<String, String> {
        self.render_with(messages, tools, opens, false)
    }

    /// What the template itself marks as generated, when it does and the marks change nothing else in `text`.
    fn marked(
        &self,
        messages: &[Message],
        tools: Option<&Value>,
        text: &str,
    ) -> Result<Option<Vec<Range<usize>>>, String> {
        if !self.marks || text.contains(generation::MARKS) {
            return Ok(None);
        }
        let found = generation::marked(&self.render_with(messages, tools, false, true)?);
        Ok(found.filter(|(plain, ranges)| plain == text && !ranges.is_empty()).map(|(_, ranges)| ranges))
    }

    fn render_with(
        &self,
        messages: &[Message],
        tools: Option<&Value>,
        opens: bool,
        marks: bool,
    ) -> Result<String, String> {
        let environment = self.compiled.as_ref().map_err(Clone::clone)?;
        let name = if self.for_tools && tools.is_some() { "tools" } else { "chat" };
        let shown: Vec<Value> = messages.iter().map(|message| message.value.clone()).collect();
        let mut values: Vec<(String, Value)> = vec![
            ("messages".into(), shown.into()),
            ("tools".into(), tools.cloned().unwrap_or_else(|| Value::from(()))),
            ("documents".into(), Value::from(())),
            ("add_generation_prompt".into(), opens.into()),
            (MARKING.into(), marks.into()),
        ];
        values.extend(self.special.iter().map(|(name, token)| (name.clone(), Value::from(token.clone()))));
        let rendered = environment.get_template(name).and_then(|template| template.render(Value::from_pairs(values)));
        // A template's own message may quote what it refuses.
        rendered.map_err(|error| {
            format!("the model's chat template refuses the conversation ({}{})", error.kind(), line_of(&error))
        })
    }
}

/// The name under which a template's own marks are asked for.
const MARKING: &str = "__rldp_marking__";

fn line_of(error: &Error) -> String {
    error.line().map(|line| format!(", line {line} of the template")).unwrap_or_default()
}

fn invalid(error: &Error) -> String {
    format!("the model's chat template is not valid: {} (line {})", error.kind(), error.line().unwrap_or(0))
}

/// Jinja as `transformers` sets it up.
fn environment() -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| invalid(&error))?);
    environment.set_fuel(Some(FUEL));
    minijinja_contrib::add_to_environment(&mut environment);
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(|out: &mut Output, _: &mut State, value: &Value| {
        // What is printed is Python's `str`.
        match value.kind() {
            ValueKind::String => out.write_str(value.as_str().unwrap_or_default()).map_err(Error::from),
            _ => out.write_str(&python::text(value)).map_err(Error::from),
        }
    });
    environment.add_filter("tojson", |value: &Value, indent: Option<Value>, arguments: Kwargs| {
        python::tojson(value, indent, arguments)
    });
    environment.add_filter("trim", filters::trim);
    environment.add_filter("string", python::text);
    environment.add_filter("join", filters::join);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("title", filters::title);
    environment.add_filter("escape", filters::escape);
    environment.add_filter("e", filters::escape);
    environment.add_filter("indent", filters::indent);
    environment.add_filter("truncate", filters::truncate);
    environment.add_filter("center", filters::center);
    environment.add_filter("wordcount", filters::wordcount);
    environment.add_test("sequence", filters::is_sequence);
    environment.add_test("iterable", filters::is_iterable);
    environment.add_function("dict", filters::dict);
    environment.add_function("raise_exception", methods::raise_exception);
    environment.add_function("strftime_now", methods::strftime_now);
    environment.add_function(generation::FUNCTION, generated);
    Ok(environment)
}

/// What a block of generation holds, between marks when they are asked for.
#[expect(clippy::needless_pass_by_value, reason = "the template engine hands arguments over")]
fn generated(state: &mut State, arguments: Kwargs) -> Result<String, Error> {
    let caller: Value = arguments.get("caller")?;
    let said = python::text(&caller.call(state, &[])?);
    let [open, close] = generation::MARKS;
    Ok(if state.lookup(MARKING).is_some_and(|marks| marks.is_true()) { format!("{open}{said}{close}") } else { said })
}
