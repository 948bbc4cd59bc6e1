//! Values as Python prints them and as its `json` writes them: templates are written for Jinja, which is Python.

use std::fmt::Write as _;

use minijinja::{
    Error, ErrorKind, Value,
    value::{Kwargs, Tuple, ValueKind},
};

/// Deeper values are refused.
const DEEPEST: usize = 100;

/// `str(value)`; an undefined value is empty, as Jinja prints it.
pub(super) fn text(value: &Value) -> String {
    match value.kind() {
        ValueKind::String => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        ValueKind::Undefined => String::new(),
        ValueKind::Number => number(value),
        ValueKind::Seq | ValueKind::Map => {
            let mut out = String::new();
            repr(value, &mut out, 0);
            out
        }
        _ => value.to_string(),
    }
}

/// `repr(value)`.
fn repr(value: &Value, out: &mut String, depth: usize) {
    match value.kind() {
        _ if depth > DEEPEST => out.push_str("..."),
        ValueKind::String => quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::Seq => {
            let is_tuple = value.downcast_object_ref::<Tuple>().is_some();
            out.push(if is_tuple { '(' } else { '[' });
            let mut count = 0;
            for item in items(value) {
                out.push_str(if count > 0 { ", " } else { "" });
                repr(&item, out, depth + 1);
                count += 1;
            }
            out.push_str(match (is_tuple, count) {
                (false, _) => "]",
                (true, 1) => ",)",
                (true, _) => ")",
            });
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in items(value).enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                repr(&key, out, depth + 1);
                out.push_str(": ");
                repr(&value.get_item(&key).unwrap_or_default(), out, depth + 1);
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
}

fn items(value: &Value) -> impl Iterator<Item = Value> {
    value.try_iter().into_iter().flatten()
}

/// A string between the quotes that Python would take.
fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        let _ = match c {
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '\\' => out.write_str("\\\\"),
            c if c == quote => write!(out, "\\{c}"),
            c if (c as u32) < 0x20 || (0x7f..0xa1).contains(&(c as u32)) || c == '\u{ad}' => {
                write!(out, "\\x{:02x}", c as u32)
            }
            c if is_unprintable(c) && (c as u32) < 0x10000 => write!(out, "\\u{:04x}", c as u32),
            c if is_unprintable(c) => write!(out, "\\U{:08x}", c as u32),
            c => out.write_char(c),
        };
    }
    out.push(quote);
}

/// What Python's repr escapes beside controls: separators, formats and private use.
fn is_unprintable(c: char) -> bool {
    let code = c as u32;
    (c.is_whitespace() && c != ' ')
        || matches!(code, 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff)
        || matches!(code, 0xe000..=0xf8ff | 0xfff0..=0xfffb | 0xfffe | 0xffff | 0xe0000..=0x10_ffff)
}

/// A number; floats as Python's shortest spelling.
pub(super) fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float)
}

fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value:?}")
}

/// How JSON is written.
struct Style {
    ascii: bool,
    indent: Option<String>,
    between: String,
    colon: String,
    sorted: bool,
}

/// `tojson` as `transformers` defines it: `json.dumps` without escapes of HTML and, unless asked for, of characters.
#[expect(clippy::needless_pass_by_value, reason = "the template engine hands arguments over")]
pub(super) fn tojson(value: &Value, indent: Option<Value>, arguments: Kwargs) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => arguments.get::<Option<Value>>("indent")?,
    };
    let separators: Option<Vec<String>> = arguments.get("separators")?;
    let style = style(
        indent.filter(|indent| !indent.is_none()),
        separators,
        arguments.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        arguments.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    )?;
    arguments.assert_all_used()?;
    let mut out = String::new();
    write_json(value, &style, 0, &mut out)?;
    Ok(Value::from(out))
}

#[expect(clippy::needless_pass_by_value, reason = "the template engine hands arguments over")]
fn style(indent: Option<Value>, separators: Option<Vec<String>>, ascii: bool, sorted: bool) -> Result<Style, Error> {
    let indent = match indent {
        None => None,
        Some(text) if text.as_str().is_some() => text.as_str().map(str::to_owned),
        Some(count) => Some(" ".repeat(usize::try_from(count).unwrap_or(0).min(64))),
    };
    let (between, colon) = match separators.as_deref() {
        Some([between, colon]) => (between.clone(), colon.clone()),
        Some(_) => return Err(refused("separators are two strings")),
        None => ((if indent.is_some() { "," } else { ", " }).to_owned(), ": ".to_owned()),
    };
    Ok(Style { ascii, indent, between, colon, sorted })
}

fn write_json(value: &Value, style: &Style, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(refused("a value is nested too deeply for JSON"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&json_number(value)),
        ValueKind::String => string(value.as_str().unwrap_or_default(), style.ascii, out),
        ValueKind::Seq => {
            let items: Vec<Value> = value.try_iter()?.collect();
            write_all(items.len(), ('[', ']'), style, depth, out, |index, out| {
                write_json(&items[index], style, depth + 1, out)
            })?;
        }
        ValueKind::Map => {
            let mut pairs: Vec<(String, Value)> = Vec::new();
            for key in value.try_iter()? {
                pairs.push((key_text(&key)?, value.get_item(&key)?));
            }
            if style.sorted {
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
            }
            write_all(pairs.len(), ('{', '}'), style, depth, out, |index, out| {
                string(&pairs[index].0, style.ascii, out);
                out.push_str(&style.colon);
                write_json(&pairs[index].1, style, depth + 1, out)
            })?;
        }
        // A generator is none in Python either.
        _ => return Err(refused("a value is undefined, or no list, and cannot be JSON")),
    }
    Ok(())
}

/// A list between brackets, with its commas and indents.
fn write_all(
    count: usize,
    (open, close): (char, char),
    style: &Style,
    depth: usize,
    out: &mut String,
    mut write: impl FnMut(usize, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = style.indent.as_ref().filter(|_| count > 0) {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(open);
    for index in 0..count {
        out.push_str(if index > 0 { &style.between } else { "" });
        line(depth + 1, out);
        write(index, out)?;
    }
    line(depth, out);
    out.push(close);
    Ok(())
}

fn json_number(value: &Value) -> String {
    match number(value).as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        plain => plain.to_owned(),
    }
}

fn key_text(key: &Value) -> Result<String, Error> {
    Ok(match key.kind() {
        ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
        ValueKind::Number => json_number(key),
        ValueKind::None => "null".into(),
        ValueKind::Bool => (if key.is_true() { "true" } else { "false" }).into(),
        _ => return Err(refused("a key is no string")),
    })
}

fn string(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '\u{8}' => out.write_str("\\b"),
            '\u{c}' => out.write_str("\\f"),
            c if (c as u32) < 0x20 => write!(out, "\\u{:04x}", c as u32),
            c if ascii && (c as u32) > 0x7e => {
                c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
            }
            c => out.write_char(c),
        };
    }
    out.push('"');
}

pub(super) fn refused(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_spelled_as_in_python() {
        for (value, spelled) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e22, "1e+22"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.234e-100, "1.234e-100"),
        ] {
            assert_eq!(float(value), spelled);
        }
    }

    #[test]
    fn strings_are_quoted_as_in_python() {
        for (text, spelled) in
            [("it's", "\"it's\""), ("'\"", "'\\'\"'"), ("a\n\u{a0}\u{7f}é\u{200b}🙂", "'a\\n\\xa0\\x7fé\\u200b🙂'")]
        {
            let mut out = String::new();
            quoted(text, &mut out);
            assert_eq!(out, spelled);
        }
    }
}
