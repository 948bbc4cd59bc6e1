//! Records from CSV, JSON and Parquet, from files or standard input, and from tables in memory.

mod cell;
mod columns;
mod csv;
mod datum;
mod json;
mod memory;
mod open;
mod parquet;
mod quotes;

use std::path::Path;

use crate::{error::DataError, unit_ids::IdBook};
use cell::{Cell, Role, Value, Wanted};
pub use columns::{Columns, TextColumns, UnitColumn};
pub use datum::Datum;
pub use memory::{Loan, Table, columns_in_memory, is_in_memory, lend};
use open::Format;
pub use open::is_standard_input;

/// What a record is made of. It holds private text and therefore cannot be printed.
pub enum Content {
    /// A text, all of it scored.
    Text(String),
    /// A prompt, which is context, and a completion, which is scored.
    Pair {
        /// The prompt.
        prompt: String,
        /// The completion.
        completion: String,
    },
    /// A conversation.
    Chat(Chat),
}

/// A conversation as it stands in the file. It holds private text and therefore cannot be printed.
#[derive(Default)]
pub struct Chat {
    /// JSON of the messages that are context alone.
    pub before: Option<String>,
    /// JSON of the messages of which the assistant's are scored.
    pub messages: String,
    /// JSON of the tools that the template is handed.
    pub tools: Option<String>,
}

/// One record as it stands in its file. It holds private text and therefore cannot be printed.
pub struct RawRecord {
    /// Row of data, counted from 0.
    pub row: usize,
    /// The row as errors name it, counted from 1: for JSON lines the line.
    pub place: usize,
    /// What it is made of.
    pub content: Content,
    /// The unit's id, when a column names it.
    pub unit: Option<String>,
}

impl RawRecord {
    /// A text that stands in row `row`.
    pub fn text(row: usize, text: String) -> Self {
        Self { row, place: row + 1, content: Content::Text(text), unit: None }
    }

    /// A prompt with its completion that stand in row `row`.
    pub fn pair(row: usize, prompt: String, completion: String) -> Self {
        Self { row, place: row + 1, content: Content::Pair { prompt, completion }, unit: None }
    }

    /// The parts of what it holds, in order: the prompt, when there is one, and the text last but for tools.
    pub(crate) fn parts(&self) -> Vec<&str> {
        match &self.content {
            Content::Text(text) => vec![text],
            Content::Pair { prompt, completion } => vec![prompt, completion],
            Content::Chat(chat) => {
                chat.before.iter().chain([&chat.messages]).chain(&chat.tools).map(String::as_str).collect()
            }
        }
    }

    /// What is scored, as it stands in the file.
    pub fn scored_text(&self) -> &str {
        match &self.content {
            Content::Text(text) | Content::Pair { completion: text, .. } => text,
            Content::Chat(chat) => &chat.messages,
        }
    }
}

/// Cells of the wanted columns of one row, in their order.
struct Row {
    /// The row as errors name it, counted from 1.
    place: usize,
    cells: Vec<Cell>,
}

/// Values of one row that are allowed where they stand.
struct TakenRow {
    place: usize,
    values: Vec<Option<Value>>,
}

/// Tells the wanted columns from those that a file has.
type Choose<'a> = &'a mut dyn FnMut(&[&str]) -> Vec<Wanted>;

/// Reads all records of a file; the format follows from the extension `.csv`, `.tsv`, `.jsonl`, `.json` or `.parquet`. All but Parquet
/// may be compressed by gzip or zstd; `-` is standard input, CSV or JSON; `memory:NAME` is a table that this thread was lent.
///
/// # Errors
/// When the file cannot be read, is empty, lacks a column or holds a row that cannot be used. No message shows content.
pub fn read_records(path: &Path, columns: &Columns) -> Result<Vec<RawRecord>, DataError> {
    let rule = columns.unit.as_ref().map(|unit| unit.ids).unwrap_or_default();
    read_more_records(path, columns, &mut IdBook::new(rule))
}

/// The same for one of several files, whose units are in one book.
///
/// # Errors
/// As [`read_records`]; and when a unit is written otherwise in an earlier file.
pub fn read_more_records(path: &Path, columns: &Columns, ids: &mut IdBook) -> Result<Vec<RawRecord>, DataError> {
    let mut resolved = columns.text.clone();
    let label = labelled(path);
    let rows = read_rows(path, columns.delimiter, &mut |found| {
        resolved = columns.text.resolve(found);
        columns.wanted(&resolved)
    })?;
    let mut records = Vec::with_capacity(rows.len());
    for (row, TakenRow { place, values }) in rows.into_iter().enumerate() {
        let mut values = values.into_iter();
        let refuse = |reason: String| DataError::Row { path: label.to_owned(), row: place, reason };
        let content = resolved.content(&mut values).map_err(refuse)?;
        let unit = if columns.unit.is_none() {
            None
        } else {
            let value = values.next().flatten().ok_or_else(|| refuse("it has no unit".into()))?;
            Some(ids.id(label, place, &value.text, value.number)?)
        };
        records.push(RawRecord { row, place, content, unit });
    }
    Ok(records)
}

/// Reads the named columns of every row, by the file's extension. Values are strings, numbers or booleans.
///
/// # Errors
/// As [`read_records`].
pub fn read_table(path: &Path, names: &[&str]) -> Result<Vec<Vec<String>>, DataError> {
    let wanted: Vec<Wanted> = names.iter().map(|name| Wanted::new(name, Role::Unit)).collect();
    let text = |value: Option<Value>| value.map(|value| value.text).unwrap_or_default();
    let rows = read_rows(path, None, &mut |_| wanted.clone())?;
    Ok(rows.into_iter().map(|row| row.values.into_iter().map(text).collect()).collect())
}

/// How errors name a file.
fn labelled(path: &Path) -> &Path {
    if is_standard_input(path) { Path::new("standard input") } else { path }
}

/// The chosen columns of every row, each allowed where it stands.
fn read_rows(path: &Path, delimiter: Option<u8>, choose: Choose) -> Result<Vec<TakenRow>, DataError> {
    let label = labelled(path);
    let mut wanted = Vec::new();
    let choose: Choose = &mut |found| {
        wanted = choose(found);
        wanted.clone()
    };
    let rows = if is_in_memory(path) {
        memory::read(path, choose)?
    } else if is_standard_input(path) {
        let (format, source) = open::standard_input(label)?;
        match format {
            Format::Json => json::read(label, source, choose)?,
            _ => csv::read(label, source, delimiter.unwrap_or(b','), choose)?,
        }
    } else {
        match open::format(path, delimiter.is_some())? {
            Format::Csv => csv::read(path, open::open(path)?, delimiter.unwrap_or(b','), choose)?,
            Format::Tsv => csv::read(path, open::open(path)?, delimiter.unwrap_or(b'\t'), choose)?,
            Format::Json => json::read(path, open::open(path)?, choose)?,
            Format::Parquet => parquet::read(path, choose)?,
        }
    };
    if rows.is_empty() {
        return Err(DataError::File {
            path: label.to_owned(),
            reason: format!("the {} is empty: it holds no records", if is_in_memory(path) { "table" } else { "file" }),
        });
    }
    rows.into_iter().map(|row| taken(label, row, &wanted)).collect()
}

/// A row whose values are what their columns may hold.
fn taken(path: &Path, Row { place, cells }: Row, wanted: &[Wanted]) -> Result<TakenRow, DataError> {
    let refuse = |reason| DataError::Row { path: path.to_owned(), row: place, reason };
    let mut values = Vec::with_capacity(cells.len());
    for (cell, wanted) in cells.into_iter().zip(wanted) {
        let value = cell.take(wanted).map_err(refuse)?;
        if value.as_ref().is_some_and(|value| value.text.contains('\0')) {
            let name = &wanted.name;
            return Err(refuse(format!(
                "column `{name}` holds a NUL; the file is binary or UTF-16, convert it to UTF-8"
            )));
        }
        values.push(value);
    }
    Ok(TakenRow { place, values })
}

/// A stream that broke, such as a truncated compressed file.
fn unreadable(path: &Path, error: &std::io::Error) -> DataError {
    DataError::File { path: path.to_owned(), reason: format!("cannot be read to its end: {error}") }
}

fn row_error(path: &Path, place: usize, reason: String) -> DataError {
    DataError::Row { path: path.to_owned(), row: place, reason }
}

fn missing_column<'a>(path: &Path, column: &str, found: impl Iterator<Item = &'a str>) -> DataError {
    let found: Vec<String> = found.map(|name| format!("`{name}`")).collect();
    DataError::MissingColumn { path: path.to_owned(), column: column.to_owned(), found: found.join(", ") }
}
