//! Jinja's own filters and tests where they differ from minijinja's.

use minijinja::{
    Error, Value,
    value::{Kwargs, Rest, ValueKind},
};

use super::{
    methods::{capitalized, is_space, justified, lines, strip},
    python::{refused, text},
};

/// The `trim` filter, which is `str.strip`.
pub(super) fn trim(value: &Value, chars: Option<&str>) -> String {
    strip(&text(value), chars, true, true).to_owned()
}

/// The `join` filter: `str` of each, or of an attribute of each.
#[expect(clippy::needless_pass_by_value, reason = "the template engine hands arguments over")]
pub(super) fn join(value: &Value, joiner: Option<Value>, arguments: Kwargs) -> Result<String, Error> {
    let attribute: Option<Value> = arguments.get("attribute")?;
    let joiner = match joiner {
        Some(joiner) => Some(joiner),
        None => arguments.get::<Option<Value>>("d")?,
    };
    arguments.assert_all_used()?;
    let one = |item: Value| match &attribute {
        Some(attribute) => item.get_item(attribute).map(|item| text(&item)),
        None => Ok(text(&item)),
    };
    let parts: Vec<String> = value.try_iter()?.map(one).collect::<Result<_, _>>()?;
    Ok(parts.join(&joiner.as_ref().map(text).unwrap_or_default()))
}

/// The `capitalize` filter.
pub(super) fn capitalize(value: &Value) -> String {
    capitalized(&text(value))
}

/// The `title` filter of Jinja, which keeps to word boundaries: white space, hyphens and brackets.
pub(super) fn title(value: &Value) -> String {
    let mut first = true;
    let mut out = String::new();
    for c in text(value).chars() {
        if first {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        first = is_space(c) || "-([{<".contains(c);
    }
    out
}

/// The `indent` filter: spaces, or a text, before every line but the first and empty ones.
#[expect(clippy::needless_pass_by_value, reason = "the template engine hands arguments over")]
pub(super) fn indent(
    value: &Value,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    named: Kwargs,
) -> Result<String, Error> {
    let width = width.or(named.get::<Option<Value>>("width")?);
    let first = first.or(named.get("first")?).unwrap_or(false);
    let blank = blank.or(named.get("blank")?).unwrap_or(false);
    named.assert_all_used()?;
    let step = match width {
        None => " ".repeat(4),
        Some(width) if width.as_str().is_some() => text(&width),
        Some(width) => " ".repeat(usize::try_from(width).unwrap_or(0).min(1 << 10)),
    };
    let own = value.as_str().ok_or_else(|| refused("indent takes text"))?;
    // Jinja adds a line break and breaks lines, so that one at the end stays.
    let mut out = String::new();
    for (index, line) in lines(&format!("{own}\n"), false).iter().map(text).enumerate() {
        out.push_str(if index > 0 { "\n" } else { "" });
        if if index == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&step);
        }
        out.push_str(&line);
    }
    Ok(out)
}

/// The `truncate` filter, which lets a text be a little longer.
#[expect(clippy::needless_pass_by_value, reason = "the template engine hands arguments over")]
pub(super) fn truncate(value: &Value, plain: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let argument = |at: usize, name: &str| -> Result<Option<Value>, Error> {
        Ok(plain.get(at).cloned().or(named.get::<Option<Value>>(name)?))
    };
    let number = |value: Option<Value>, usual: usize| value.map_or(Ok(usual), usize::try_from);
    let length = number(argument(0, "length")?, 255)?;
    let whole_words = !argument(1, "killwords")?.is_some_and(|kill| kill.is_true());
    let end = argument(2, "end")?.map_or_else(|| "...".to_owned(), |end| text(&end));
    let leeway = number(argument(3, "leeway")?, 5)?;
    named.assert_all_used()?;
    let all: Vec<char> = text(value).chars().collect();
    if all.len() <= length + leeway {
        return Ok(all.into_iter().collect());
    }
    let kept = length.checked_sub(end.chars().count()).ok_or_else(|| refused("truncate has no room for its end"))?;
    let mut kept: String = all[..kept].iter().collect();
    if let Some(at) = kept.rfind(' ').filter(|_| whole_words) {
        kept.truncate(at);
    }
    Ok(kept + &end)
}

/// The `center` filter.
pub(super) fn center(value: &Value, width: Option<usize>) -> Result<String, Error> {
    justified(&text(value), width.unwrap_or(80), " ", "center")
}

/// The `wordcount` filter.
pub(super) fn wordcount(value: &Value) -> usize {
    let text = text(value);
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).count()
}

/// What has a length and places: texts and dictionaries too, and even what is not defined.
pub(super) fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined)
}

/// What can be walked over, even when it is not defined.
pub(super) fn is_iterable(value: &Value) -> bool {
    is_sequence(value) || value.kind() == ValueKind::Iterable
}

/// `dict(pairs, key=value)`.
#[expect(clippy::needless_pass_by_value, reason = "the template engine hands arguments over")]
pub(super) fn dict(first: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    if let Some(first) = first {
        let is_map = first.kind() == ValueKind::Map;
        for item in first.try_iter()? {
            let (key, value) = if is_map { (item.clone(), first.get_item(&item)?) } else { pair(&item)? };
            pairs.push((key, value));
        }
    }
    for name in named.args() {
        pairs.push((Value::from(name), named.get(name)?));
    }
    Ok(Value::from_pairs(pairs))
}

fn pair(item: &Value) -> Result<(Value, Value), Error> {
    let parts: Vec<Value> = item.try_iter()?.collect();
    <[Value; 2]>::try_from(parts).map(|[key, value]| (key, value)).map_err(|_| refused("a pair has not two parts"))
}

/// The `escape` filter.
pub(super) fn escape(value: &Value) -> String {
    let mut out = String::new();
    for c in text(value).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    out
}

/// Whether text that is called safe is added to other text: Jinja then escapes the other, and minijinja does not.
pub(super) fn sums_safe_text(source: &str) -> bool {
    let after = |filter: &str| source.split(filter).skip(1).any(|rest| rest.trim_start().starts_with('+'));
    after("|safe") || after("| safe")
}

/// Refuses what would be rendered otherwise than by Jinja.
pub(super) fn refuse_safe(_: &Value) -> Result<Value, Error> {
    Err(refused("a sum with safe text is not rendered"))
}
