//! Methods of Python's strings, lists and dictionaries that templates call.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Kwargs, Rest, ValueKind, from_args},
};

use super::python::refused;

/// Calls `method` of `value`; what is not here is minijinja's own.
pub(super) fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let found = match value.kind() {
        ValueKind::String => of_string(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq => of_list(value, method, args)?,
        ValueKind::Map => of_map(value, method, args)?,
        _ => None,
    };
    found.map_or_else(|| minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args), Ok)
}

fn of_string(own: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            Value::from(strip(own, chars, method != "rstrip", method != "lstrip"))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(own.strip_prefix(prefix).unwrap_or(own))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(own.strip_suffix(suffix).unwrap_or(own))
        }
        "split" | "rsplit" => {
            let (separator, most) = split_arguments(args)?;
            split(own, separator.as_deref(), most, method == "rsplit")?.into()
        }
        "splitlines" => {
            let (keep,): (Option<bool>,) = from_args(args)?;
            lines(own, keep.unwrap_or(false)).into()
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            partition(own, separator, method == "rpartition")?.into()
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            Value::from(zfill(own, width))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<&str>) = from_args(args)?;
            Value::from(justified(own, width, fill.unwrap_or(" "), method)?)
        }
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(args)?;
            let at = if method == "index" { own.find(what) } else { own.rfind(what) };
            let at = at.ok_or_else(|| refused("a substring was not found"))?;
            Value::from(own[..at].chars().count())
        }
        "casefold" => Value::from(own.to_uppercase().to_lowercase()),
        "swapcase" => own
            .chars()
            .map(|c| if c.is_uppercase() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() })
            .collect::<String>()
            .into(),
        "capitalize" => Value::from(capitalized(own)),
        "title" => Value::from(titled(own)),
        "isspace" => Value::from(!own.is_empty() && own.chars().all(is_space)),
        "isdecimal" | "isdigit" if own.is_ascii() => {
            Value::from(!own.is_empty() && own.bytes().all(|byte| byte.is_ascii_digit()))
        }
        "count" => {
            let (what,): (&str,) = from_args(args)?;
            Value::from(if what.is_empty() { own.chars().count() + 1 } else { own.matches(what).count() })
        }
        _ => return Ok(None),
    }))
}

fn of_list(own: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "index" => {
            let (what,): (&Value,) = from_args(args)?;
            let at = own.try_iter()?.position(|item| item == *what);
            Value::from(at.ok_or_else(|| refused("a value was not found in a list"))?)
        }
        "copy" => own.clone(),
        "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "sort" | "reverse" => {
            return Err(refused("a template may not change what it is given, as in transformers"));
        }
        _ => return Ok(None),
    }))
}

fn of_map(own: &Value, method: &str, _args: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "copy" => Ok(Some(own.clone())),
        "pop" | "update" | "setdefault" | "clear" | "popitem" => {
            Err(refused("a template may not change what it is given, as in transformers"))
        }
        _ => Ok(None),
    }
}

/// What Python takes for white space: Unicode's, and four separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `strip`, `lstrip`, `rstrip`.
pub(super) fn strip<'a>(own: &'a str, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let gone = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let own = if left { own.trim_start_matches(gone) } else { own };
    if right { own.trim_end_matches(gone) } else { own }
}

fn split_arguments(args: &[Value]) -> Result<(Option<String>, Option<usize>), Error> {
    let (Rest(plain), named): (Rest<Value>, Kwargs) = from_args(args)?;
    let separator = match plain.first().cloned() {
        Some(separator) => Some(separator),
        None => named.get::<Option<Value>>("sep")?,
    };
    let most = match plain.get(1).cloned() {
        Some(most) => Some(most),
        None => named.get::<Option<Value>>("maxsplit")?,
    };
    named.assert_all_used()?;
    let separator = separator.filter(|separator| !separator.is_none());
    let separator = separator
        .map(|separator| separator.as_str().map(str::to_owned).ok_or_else(|| refused("a separator is no string")))
        .transpose()?;
    // A negative number is no limit.
    Ok((separator, most.and_then(|most| usize::try_from(most).ok())))
}

fn split(own: &str, separator: Option<&str>, most: Option<usize>, from_right: bool) -> Result<Vec<Value>, Error> {
    let Some(separator) = separator else { return Ok(words(own, most, from_right)) };
    if separator.is_empty() {
        return Err(refused("a separator is empty"));
    }
    let most = most.map_or(usize::MAX, |most| most.saturating_add(1));
    if from_right {
        let mut parts: Vec<Value> = own.rsplitn(most, separator).map(Value::from).collect();
        parts.reverse();
        return Ok(parts);
    }
    Ok(own.splitn(most, separator).map(Value::from).collect())
}

/// Splits at runs of white space.
fn words(own: &str, most: Option<usize>, from_right: bool) -> Vec<Value> {
    let most = most.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut rest = strip(own, None, !from_right, from_right);
    while parts.len() < most && !rest.is_empty() {
        let cut = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(cut) = cut else { break };
        let after = cut + rest[cut..].chars().next().map_or(1, char::len_utf8);
        let (word, left) = if from_right { (&rest[after..], &rest[..cut]) } else { (&rest[..cut], &rest[after..]) };
        parts.push(Value::from(word));
        rest = strip(left, None, !from_right, from_right);
    }
    let last = strip(rest, None, !from_right || parts.len() < most, from_right || parts.len() < most);
    if !last.is_empty() {
        parts.push(Value::from(last));
    }
    if from_right {
        parts.reverse();
    }
    parts
}

/// Lines as Python breaks them.
pub(super) fn lines(own: &str, keep: bool) -> Vec<Value> {
    let is_break = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}' | '\u{1d}' | '\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut found = Vec::new();
    let mut rest = own;
    while !rest.is_empty() {
        let cut = rest.find(is_break).unwrap_or(rest.len());
        let end =
            if rest[cut..].starts_with("\r\n") { 2 } else { rest[cut..].chars().next().map_or(0, char::len_utf8) };
        found.push(Value::from(&rest[..if keep { cut + end } else { cut }]));
        rest = &rest[cut + end..];
    }
    found
}

fn partition(own: &str, separator: &str, last: bool) -> Result<Vec<Value>, Error> {
    if separator.is_empty() {
        return Err(refused("a separator is empty"));
    }
    let found = if last { own.rsplit_once(separator) } else { own.split_once(separator) };
    let parts = match found {
        Some((before, after)) => [before, separator, after],
        None if last => ["", "", own],
        None => [own, "", ""],
    };
    Ok(parts.map(Value::from).to_vec())
}

fn zfill(own: &str, width: usize) -> String {
    let (sign, digits) = own.split_at(usize::from(own.starts_with(['+', '-'])));
    let missing = width.min(1 << 16).saturating_sub(own.chars().count());
    format!("{sign}{}{digits}", "0".repeat(missing))
}

pub(super) fn justified(own: &str, width: usize, fill: &str, method: &str) -> Result<String, Error> {
    if fill.chars().count() != 1 {
        return Err(refused("a fill is not one character"));
    }
    let missing = width.min(1 << 16).saturating_sub(own.chars().count());
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        // As CPython rounds.
        _ => missing / 2 + (missing & width & 1),
    };
    Ok(format!("{}{own}{}", fill.repeat(left), fill.repeat(missing - left)))
}

pub(super) fn capitalized(own: &str) -> String {
    let mut chars = own.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars.as_str().to_lowercase().chars()).collect())
}

/// `str.title`: a capital after everything that is no letter.
fn titled(own: &str) -> String {
    let mut first = true;
    let mut out = String::new();
    for c in own.chars() {
        if first {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        // Letters without case end a word.
        first = !(c.is_lowercase() || c.is_uppercase());
    }
    out
}

/// `raise_exception(message)`. A template's own message may quote what it refuses, so it is not shown.
pub(super) fn raise_exception(message: &Value) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_string()))
}

/// `strftime_now(format)`: today by the machine's clock and zone, as in transformers.
pub(super) fn strftime_now(format: &str) -> Result<String, Error> {
    use std::fmt::Write as _;
    let mut out = String::new();
    write!(out, "{}", chrono::Local::now().format(format)).map_err(|_| refused("a format of dates is not known"))?;
    Ok(out)
}
