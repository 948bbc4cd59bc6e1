//! Messages as they stand in a file, and as a template sees them.

use minijinja::Value;

use crate::fields;

/// Deeper JSON is refused.
const DEEPEST: usize = 100;
/// Names under which files keep what an assistant thought; templates read the first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
/// Who speaks in ShareGPT's terms, and in those of templates.
const SPEAKERS: [(&str, &str); 10] = [
    ("human", "user"),
    ("user", "user"),
    ("gpt", "assistant"),
    ("assistant", "assistant"),
    ("chatgpt", "assistant"),
    ("model", "assistant"),
    ("system", "system"),
    ("tool", "tool"),
    ("observation", "tool"),
    ("function_response", "tool"),
];

/// An object whose keys are in the order of the file.
type Object = Vec<(String, Value)>;

/// One message. It holds private text and therefore cannot be printed.
pub(super) struct Message {
    /// Who speaks.
    pub(super) role: String,
    /// What they say, when it is plain text.
    pub(super) content: Option<String>,
    /// What a template sees.
    pub(super) value: Value,
}

/// Messages from the JSON of an array.
///
/// # Errors
/// When it is none, or an element is no message; the reason shows none of it.
pub(super) fn messages(json: &str) -> Result<Vec<Message>, String> {
    let none = "the conversation is not an array of messages";
    fields::check(json).map_err(|_| none)?;
    let elements = fields::array(json).ok_or(none)?;
    elements.into_iter().enumerate().map(|(index, raw)| message(index + 1, raw)).collect()
}

/// Any JSON, such as tools, as a template sees it.
pub(super) fn value(json: &str, what: &str) -> Result<Value, String> {
    fields::check(json).map_err(|_| format!("{what} are not valid JSON"))?;
    convert(json.trim_ascii(), 0).map_err(|reason| format!("{what} hold {reason}"))
}

fn message(number: usize, raw: &str) -> Result<Message, String> {
    let refuse = |reason: &str| format!("message {number} {reason}");
    let mut object = Object::new();
    for (key, raw) in fields::object(raw).ok_or_else(|| refuse("is no object"))? {
        let value = convert(raw, 0).map_err(|reason| refuse(&format!("holds {reason}")))?;
        put(&mut object, key, value);
    }
    from_share_gpt(&mut object).map_err(|reason| refuse(&reason))?;
    // As `apply_chat_template` does: a key that is null is a key that is not there.
    object.retain(|(_, value)| !value.is_none());
    let object = with_reasoning(object);
    let field = |name: &str| object.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_str());
    let role = field("role").ok_or_else(|| refuse("has no `role` that is text"))?.to_owned();
    Ok(Message { role, content: field("content").map(str::to_owned), value: Value::from_pairs(object.clone()) })
}

/// Of a key that stands twice, the first place and the last value, as in Python.
fn put(object: &mut Object, key: String, value: Value) {
    match object.iter_mut().find(|(name, _)| *name == key) {
        Some((_, old)) => *old = value,
        None => object.push((key, value)),
    }
}

/// `from` and `value` become `role` and `content`.
fn from_share_gpt(object: &mut Object) -> Result<(), String> {
    let has = |object: &Object, name: &str| object.iter().any(|(key, _)| key == name);
    if has(object, "role") || !has(object, "from") {
        return Ok(());
    }
    for (key, value) in object.iter_mut() {
        if key == "from" {
            let known = SPEAKERS.iter().find(|(name, _)| value.as_str() == Some(*name));
            let (_, role) = known.ok_or_else(|| {
                let names: Vec<&str> = SPEAKERS.iter().map(|(name, _)| *name).collect();
                format!("is `from` none of {}", names.join(", "))
            })?;
            (*key, *value) = ("role".into(), Value::from(*role));
        } else if key == "value" {
            "content".clone_into(key);
        }
    }
    Ok(())
}

/// What was thought under the names that templates read.
fn with_reasoning(object: Object) -> Object {
    let of = |name: &str| object.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let Some(reasoning) = REASONING.iter().find_map(|name| of(name)) else { return object };
    let mut all = vec![("thinking".to_owned(), reasoning.clone())];
    object.into_iter().for_each(|(key, value)| put(&mut all, key, value));
    put(&mut all, "reasoning_content".to_owned(), reasoning);
    all
}

fn convert(text: &str, depth: usize) -> Result<Value, &'static str> {
    if depth > DEEPEST {
        return Err("values nested too deeply");
    }
    Ok(match text.as_bytes().first() {
        Some(b'"') => {
            Value::from(serde_json::from_str::<String>(text).map_err(|_| "a lone surrogate, which is no text")?)
        }
        Some(b'[') => {
            let elements = fields::array(text).unwrap_or_default();
            elements.into_iter().map(|raw| convert(raw, depth + 1)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Some(b'{') => {
            let mut object = Object::new();
            for (key, raw) in fields::object(text).unwrap_or_default() {
                put(&mut object, key, convert(raw, depth + 1)?);
            }
            Value::from_pairs(object)
        }
        Some(b't' | b'f') => Value::from(text == "true"),
        Some(b'n') => Value::from(()),
        _ if text.contains(['.', 'e', 'E']) => Value::from(text.parse::<f64>().map_err(|_| "broken JSON")?),
        _ => text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<i128>().map(Value::from))
            .map_err(|_| "a whole number of more than 127 bits")?,
    })
}
