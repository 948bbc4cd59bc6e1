//! One JSON object a line, or an array of objects.

use std::{io::BufRead, path::Path};

use super::{Cell, Choose, Row, Wanted, missing_column, row_error, unreadable};
use crate::{error::DataError, fields};

/// Most keys of a row that an error lists.
const MOST_LISTED: usize = 30;

pub(super) fn read(path: &Path, mut reader: Box<dyn BufRead>, choose: Choose) -> Result<Vec<Row>, DataError> {
    let mut bytes = Vec::new();
    let mut rows = Rows { path, choose: Some(choose), wanted: Vec::new(), found: Vec::new() };
    let mut line = 0;
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(|error| unreadable(path, &error))? == 0 {
            return Ok(rows.found);
        }
        line += 1;
        let text = if line == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes) } else { &bytes };
        let text = text.trim_ascii();
        if rows.found.is_empty() && text.starts_with(b"[") {
            let mut all = text.to_vec();
            all.push(b'\n');
            reader.read_to_end(&mut all).map_err(|error| unreadable(path, &error))?;
            return array(rows, &all, line - 1);
        }
        if !text.is_empty() {
            let text = utf8(path, line, text)?;
            fields::check(text).map_err(|error| broken(path, line, text, &error, 0))?;
            let object = fields::object(text)
                .ok_or_else(|| row_error(path, line, format!("not a JSON object (it is {})", kind(text))))?;
            rows.push(line, &object)?;
        }
    }
}

fn utf8<'a>(path: &Path, place: usize, bytes: &'a [u8]) -> Result<&'a str, DataError> {
    std::str::from_utf8(bytes).map_err(|_| row_error(path, place, "not valid UTF-8; convert the file to UTF-8".into()))
}

/// Reads an array of objects, which begins after `before` lines.
fn array(mut rows: Rows, bytes: &[u8], before: usize) -> Result<Vec<Row>, DataError> {
    let path = rows.path;
    let text = std::str::from_utf8(bytes).map_err(|_| DataError::File {
        path: path.to_owned(),
        reason: "not valid UTF-8; convert the file to UTF-8".into(),
    })?;
    fields::check(text).map_err(|error| {
        let place = fields::elements_before(text, offset(text, &error)) + 1;
        broken(path, place, text, &error, before)
    })?;
    for (index, element) in fields::array(text).unwrap_or_default().into_iter().enumerate() {
        let object = fields::object(element).ok_or_else(|| {
            let reason = format!("it is {}, but must be an object with named values", kind(element));
            row_error(path, index + 1, reason)
        })?;
        rows.push(index + 1, &object)?;
    }
    Ok(rows.found)
}

/// The byte at which an error stands.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    lines + error.column()
}

/// Keys and values of a row.
type Object<'a> = [(String, &'a str)];

/// Rows found so far.
struct Rows<'a> {
    path: &'a Path,
    /// Until the first row.
    choose: Option<Choose<'a>>,
    wanted: Vec<Wanted>,
    found: Vec<Row>,
}

impl Rows<'_> {
    fn push(&mut self, place: usize, object: &Object) -> Result<(), DataError> {
        if let Some(choose) = self.choose.take() {
            self.wanted = choose(&object.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>());
        }
        let cells = self.wanted.iter().map(|wanted| {
            // Of a key that stands twice the last value counts, as in Python.
            match object.iter().rev().find(|(key, _)| *key == wanted.name) {
                Some((_, raw)) => {
                    cell(raw).map_err(|reason| row_error(self.path, place, format!("`{}` {reason}", wanted.name)))
                }
                None if wanted.optional => Ok(Cell::Absent),
                None => Err(self.missing(place, &wanted.name, object)),
            }
        });
        let cells = cells.collect::<Result<_, _>>()?;
        self.found.push(Row { place, cells });
        Ok(())
    }

    /// A key that the first row lacks is a wrong name; one that a later row lacks is a hole in the data.
    fn missing(&self, place: usize, name: &str, object: &Object) -> DataError {
        let mut keys: Vec<&str> = object.iter().map(|(key, _)| key.as_str()).collect();
        keys.truncate(MOST_LISTED);
        if self.found.is_empty() {
            return missing_column(self.path, name, keys.into_iter());
        }
        let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        let reason = format!("it has no `{name}`, which earlier rows have; its keys are: {}", keys.join(", "));
        row_error(self.path, place, reason)
    }
}

fn kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The value of a key whose column is read.
fn cell(text: &str) -> Result<Cell, &'static str> {
    Ok(match text.as_bytes().first() {
        Some(b'"') => Cell::Text(serde_json::from_str(text).map_err(|_| LONE_SURROGATE)?),
        Some(b'[') => Cell::Array(text.to_owned()),
        Some(b'{') => Cell::Object,
        Some(b't' | b'f') => Cell::Bool(text == "true"),
        Some(b'n') => Cell::Null,
        _ => Cell::Number(text.to_owned()),
    })
}

/// The one thing that a string may hold wrongly after its syntax was checked.
const LONE_SURROGATE: &str = "holds a lone surrogate (half of a character, such as \\ud83d without its second half), which is no \
                              text; write the file anew from whole characters";

/// What is wrong with JSON. Messages about types can quote the input; those about syntax and positions cannot.
fn broken(path: &Path, place: usize, text: &str, error: &serde_json::Error, before: usize) -> DataError {
    let (line, column) = (error.line(), error.column());
    let at = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let place_in_file =
        if line > 1 { format!("line {}, column {column}", before + line) } else { format!("column {column}") };
    let rest = at.get(column.saturating_sub(1)..).unwrap_or_default();
    let words = error.to_string();
    let what = if ["NaN", "Infinity", "-Infinity", "nan"].iter().any(|name| rest.starts_with(name))
        || rest.starts_with("Infinity")
    {
        "NaN or Infinity stands there, which JSON does not have; write null, or leave the key out".to_owned()
    } else if words.contains("surrogate") || words.contains("hex escape") {
        LONE_SURROGATE.to_owned()
    } else if error.is_eof() {
        "it ends in the middle of a value; the file may be cut".to_owned()
    } else {
        words.split(" at line ").next().unwrap_or_default().to_owned()
    };
    row_error(path, place, format!("not a JSON object ({place_in_file}: {what})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Role, read_rows};

    fn rows(name: &str, text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        let wanted = [Wanted::new("who", Role::Unit), Wanted::optional("tools", Role::Array)];
        let read = read_rows(&path, None, &mut |_| wanted.to_vec()).map_err(|error| error.to_string())?;
        let text = |value: Option<super::super::Value>| value.map_or("-".to_owned(), |value| value.text);
        Ok(read.into_iter().map(|row| (row.place, row.values.into_iter().map(text).collect())).collect())
    }

    #[test]
    fn lines_and_arrays_are_read_alike_with_exact_numbers() {
        let row = |place, who: &str| (place, vec![who.to_owned(), "-".to_owned()]);
        let objects = [
            r#"{"who": 12345678901234567890123, "x": {"who": 1}}"#,
            r#"{"x": "\ud83d", "who": true}"#,
            r#"{"who": 1e2}"#,
        ];
        let expected = [row(1, "12345678901234567890123"), row(2, "true"), row(3, "1e2")];
        assert_eq!(rows("a.jsonl", &objects.join("\n")).unwrap(), expected);
        assert_eq!(rows("a.json", &format!("[{}]", objects.join(","))).unwrap(), expected);
        assert_eq!(rows("a.json", &format!("\u{feff}\n[\n{}\n]\n", objects.join(",\n"))).unwrap(), expected);
        let twice = rows("a.jsonl", "\n{\"who\": 1, \"who\": 2, \"tools\": [1]}\n").unwrap();
        assert_eq!(twice, [(2, vec!["2".to_owned(), "[1]".to_owned()])]);
    }

    #[test]
    fn causes_are_named_with_row_and_column() {
        for (name, text, says) in [
            (
                "a.jsonl",
                "{\"who\": 1}\n{\"who\": 2, \"x\": NaN}",
                "row 2: not a JSON object (column 17: NaN or Infinity",
            ),
            ("a.jsonl", "{\"who\": \"SECRET \\ud83d x\"}", "row 1: `who` holds a lone surrogate"),
            ("a.jsonl", "{\"who\": \"SECRET", "row 1: not a JSON object (column 15: it ends in the middle"),
            ("a.jsonl", "{\"who\": 1 \"x\": 2}", "(column 11: expected `,` or `}`)"),
            ("a.jsonl", "\"SECRET\"", "it is a string"),
            (
                "a.jsonl",
                "{\"who\": 1}\n{\"x\": 2}",
                "row 2: it has no `who`, which earlier rows have; its keys are: `x`",
            ),
            ("a.jsonl", "{\"x\": 2}", "there is no column `who`; the columns are: `x`"),
            ("a.json", "[{\"who\": 1},\n{\"who\": 1,\n\"x\": -Infinity}]", "row 2: not a JSON object (line 3, column"),
            ("a.json", "[{\"who\": 1}, 5]", "row 2: it is a number"),
            ("a.json", "[{\"who\": 1}, {\"x\": 5}, {", "row 3: not a JSON object"),
            ("a.json", "[{\"who\": 1}, {\"x\": 5}]", "row 2: it has no `who`"),
            ("a.json", "[{\"who\": 1}", "it ends in the middle of a value"),
            ("a.json", "[{\"who\": 1}] tail", "not a JSON object (column 14: trailing characters)"),
            ("a.json", "[]", "the file is empty"),
        ] {
            let found = rows(name, text).unwrap_err();
            assert!(found.contains(says) && !found.contains("SECRET"), "{text}: {found}");
        }
    }
}
