//! Records from CSV, JSON lines and Parquet, from files or standard input.

mod csv;
mod jsonl;
mod open;
mod parquet;

use std::path::Path;

use crate::error::DataError;
use open::Format;
pub use open::is_standard_input;

/// Where a record's text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextColumns {
    /// One column, all of it scored.
    Text(String),
    /// A prompt, which is context, and a completion, which is scored.
    PromptCompletion {
        /// Column of the prompt.
        prompt: String,
        /// Column of the completion.
        completion: String,
    },
    /// A conversation: an array of messages with `role` and `content`, of which the assistant's are scored.
    Messages(String),
}

impl TextColumns {
    /// What is named: a column of messages, or both a prompt and a completion; `None` when it is neither.
    pub fn named(messages: Option<&str>, prompt: Option<&str>, completion: Option<&str>) -> Option<Self> {
        let pair = || Some(Self::PromptCompletion { prompt: prompt?.to_owned(), completion: completion?.to_owned() });
        messages.map(|column| Self::Messages(column.to_owned())).or_else(pair)
    }
}

/// Which columns are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The text.
    pub text: TextColumns,
    /// The privacy unit, when a column names it.
    pub unit: Option<String>,
}

/// One record as it stands in the file. It holds private text and therefore cannot be printed.
pub struct RawRecord {
    /// Row of data, counted from 0.
    pub row: usize,
    /// The prompt, when there is one.
    pub prompt: Option<String>,
    /// The text, the completion, or the JSON of a conversation.
    pub text: String,
    /// Whether it is a conversation.
    pub conversation: bool,
    /// The value of the unit column.
    pub unit: Option<String>,
}

/// Values of the wanted columns of one row, in the order of [`Columns::names`].
type Row = Vec<String>;

impl Columns {
    fn names(&self) -> Vec<&str> {
        let text = match &self.text {
            TextColumns::Text(text) | TextColumns::Messages(text) => vec![text.as_str()],
            TextColumns::PromptCompletion { prompt, completion } => vec![prompt.as_str(), completion.as_str()],
        };
        text.into_iter().chain(self.unit.as_deref()).collect()
    }

    fn record(&self, row: usize, values: Row) -> RawRecord {
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let prompt = matches!(self.text, TextColumns::PromptCompletion { .. }).then(&mut next);
        let text = next();
        let conversation = matches!(self.text, TextColumns::Messages(_));
        RawRecord { row, prompt, text, conversation, unit: self.unit.as_ref().map(|_| next()) }
    }
}

/// Reads all records of a file; the format follows from the extension `.csv`, `.jsonl`, `.json` or `.parquet`. CSV and JSON
/// lines may be compressed by gzip or zstd; `-` is standard input, CSV or JSON lines.
///
/// # Errors
/// When the file cannot be read, is empty, lacks a column or holds a row that cannot be used. No message shows content.
pub fn read_records(path: &Path, columns: &Columns) -> Result<Vec<RawRecord>, DataError> {
    let names = columns.names();
    let rows = read_rows(path, &names, matches!(columns.text, TextColumns::Messages(_)))?;
    let unit_at = columns.unit.as_ref().map(|_| names.len() - 1);
    if let Some(at) = unit_at
        && let Some(row) = rows.iter().position(|values| values[at].is_empty())
    {
        return Err(row_error(
            path,
            row,
            format!("the unit column `{}` is empty; every record needs a unit", names[at]),
        ));
    }
    Ok(rows.into_iter().enumerate().map(|(row, values)| columns.record(row, values)).collect())
}

/// Reads the named columns of every row, by the file's extension. In JSON lines the values are strings; the last of
/// several columns may hold numbers and booleans too.
///
/// # Errors
/// As [`read_records`].
pub fn read_table(path: &Path, names: &[&str]) -> Result<Vec<Vec<String>>, DataError> {
    read_rows(path, names, false)
}

/// With `messages`, the first column of JSON lines may hold an array, which is given as its JSON.
fn read_rows(path: &Path, names: &[&str], messages: bool) -> Result<Vec<Row>, DataError> {
    let rows = if is_standard_input(path) {
        let label = Path::new("standard input");
        let (format, source) = open::standard_input(label)?;
        if format == Format::Csv {
            csv::read(label, source, names)?
        } else {
            jsonl::read(label, source, names, messages)?
        }
    } else {
        match open::format(path)? {
            Format::Csv => csv::read(path, open::open(path)?, names)?,
            Format::JsonLines => jsonl::read(path, open::open(path)?, names, messages)?,
            Format::Parquet => parquet::read(path, names)?,
        }
    };
    for (row, values) in rows.iter().enumerate() {
        if let Some(at) = values.iter().position(|value| value.contains('\0')) {
            let reason =
                format!("column `{}` holds a NUL; the file is binary or UTF-16, convert it to UTF-8", names[at]);
            return Err(row_error(path, row, reason));
        }
    }
    if rows.is_empty() {
        return Err(DataError::File { path: path.to_owned(), reason: "the file is empty: it holds no records".into() });
    }
    Ok(rows)
}

/// A stream that broke, such as a truncated compressed file.
fn unreadable(path: &Path, error: &std::io::Error) -> DataError {
    DataError::File { path: path.to_owned(), reason: format!("cannot be read to its end: {error}") }
}

fn row_error(path: &Path, row: usize, reason: String) -> DataError {
    DataError::Row { path: path.to_owned(), row: row + 1, reason }
}

fn missing_column<'a>(path: &Path, column: &str, found: impl Iterator<Item = &'a str>) -> DataError {
    let found: Vec<String> = found.map(|name| format!("`{name}`")).collect();
    DataError::MissingColumn { path: path.to_owned(), column: column.to_owned(), found: found.join(", ") }
}
