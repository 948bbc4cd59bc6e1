//! One JSON object a line.

use std::{io::BufRead, path::Path};

use serde_json::{Map, Value};

use super::{Row, missing_column, row_error, unreadable};
use crate::error::DataError;

pub(super) fn read(
    path: &Path,
    mut reader: Box<dyn BufRead>,
    names: &[&str],
    messages: bool,
) -> Result<Vec<Row>, DataError> {
    let (mut rows, mut bytes, mut line) = (Vec::new(), Vec::new(), 0);
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(|error| unreadable(path, &error))? == 0 {
            return Ok(rows);
        }
        let text = if line == 0 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes) } else { &bytes };
        if !text.iter().all(u8::is_ascii_whitespace) {
            rows.push(read_line(path, names, messages, (line, text))?);
        }
        line += 1;
    }
}

fn read_line(path: &Path, names: &[&str], messages: bool, (line, bytes): (usize, &[u8])) -> Result<Row, DataError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| row_error(path, line, "not valid UTF-8; convert the file to UTF-8".into()))?;
    // serde_json's message can quote the input; its position cannot.
    let value: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| row_error(path, line, format!("not a JSON object (broken at column {})", error.column())))?;
    names
        .iter()
        .map(|name| match value.get(*name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ Value::Array(_)) if messages && Some(name) == names.first() => Ok(value.to_string()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) if Some(name) == names.last() && names.len() > 1 => {
                Ok(value.to_string())
            }
            Some(other) => Err(row_error(path, line, format!("`{name}` is {}, but must be a string", kind(other)))),
            None => Err(missing_column(path, name, value.keys().map(String::as_str))),
        })
        .collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
