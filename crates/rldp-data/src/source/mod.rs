//! Records from CSV, JSON lines and Parquet.

mod csv;
mod jsonl;
mod parquet;

use std::path::Path;

use crate::error::DataError;

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
}

impl TextColumns {
    /// A prompt and a completion, when both are named.
    pub fn pair(prompt: Option<&str>, completion: Option<&str>) -> Option<Self> {
        Some(Self::PromptCompletion { prompt: prompt?.to_owned(), completion: completion?.to_owned() })
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
    /// The text, or the completion.
    pub text: String,
    /// The value of the unit column.
    pub unit: Option<String>,
}

/// Values of the wanted columns of one row, in the order of [`Columns::names`].
type Row = Vec<String>;

impl Columns {
    fn names(&self) -> Vec<&str> {
        let text = match &self.text {
            TextColumns::Text(text) => vec![text.as_str()],
            TextColumns::PromptCompletion { prompt, completion } => vec![prompt.as_str(), completion.as_str()],
        };
        text.into_iter().chain(self.unit.as_deref()).collect()
    }

    fn record(&self, row: usize, values: Row) -> RawRecord {
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let prompt = matches!(self.text, TextColumns::PromptCompletion { .. }).then(&mut next);
        let text = next();
        RawRecord { row, prompt, text, unit: self.unit.as_ref().map(|_| next()) }
    }
}

/// Reads all records of a file; the format follows from the extension `.csv`, `.jsonl`, `.json` or `.parquet`.
///
/// # Errors
/// When the file cannot be read, is empty, lacks a column or holds a row that cannot be used. No message shows content.
pub fn read_records(path: &Path, columns: &Columns) -> Result<Vec<RawRecord>, DataError> {
    let names = columns.names();
    let rows = read_table(path, &names)?;
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
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    let rows = match extension.as_str() {
        "csv" => csv::read(path, names)?,
        "jsonl" | "json" => jsonl::read(path, names)?,
        "parquet" => parquet::read(path, names)?,
        _ => {
            return Err(DataError::File {
                path: path.to_owned(),
                reason: format!(
                    "the extension `{extension}` is none of .csv (CSV), .jsonl (JSON lines) and .parquet; rename or convert the file"
                ),
            });
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

fn row_error(path: &Path, row: usize, reason: String) -> DataError {
    DataError::Row { path: path.to_owned(), row: row + 1, reason }
}

fn missing_column<'a>(path: &Path, column: &str, found: impl Iterator<Item = &'a str>) -> DataError {
    let found: Vec<String> = found.map(|name| format!("`{name}`")).collect();
    DataError::MissingColumn { path: path.to_owned(), column: column.to_owned(), found: found.join(", ") }
}
