//! Comma-separated values with a header.

use std::{
    io::{BufRead, Read},
    path::Path,
};

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::{Row, missing_column, row_error, unreadable};
use crate::error::DataError;

pub(super) fn read(path: &Path, source: Box<dyn BufRead>, names: &[&str]) -> Result<Vec<Row>, DataError> {
    let mut last = None;
    let mut reader = ReaderBuilder::new().from_reader(Watched { inner: source, last: &mut last });
    let header = reader.byte_headers().map_err(|error| explain(path, &error))?.clone();
    let header: Vec<String> = header
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let name = if i == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
            String::from_utf8_lossy(name).trim().to_owned()
        })
        .collect();
    if header.iter().all(String::is_empty) {
        return Err(DataError::File { path: path.to_owned(), reason: "the file is empty: it has no header".into() });
    }
    let at: Vec<usize> = names
        .iter()
        .map(|name| header.iter().position(|column| column == name).ok_or_else(|| no_column(path, name, &header)))
        .collect::<Result<_, _>>()?;
    if let Some(name) = names.iter().find(|name| header.iter().filter(|column| column == *name).count() > 1) {
        let reason = format!("the header has the column `{name}` more than once; rename all but one");
        return Err(DataError::File { path: path.to_owned(), reason });
    }
    let mut rows = Vec::new();
    let mut record = ByteRecord::new();
    let mut lines = false;
    while reader.read_byte_record(&mut record).map_err(|error| explain(path, &error))? {
        let row = rows.len();
        let value = |&column: &usize| {
            let bytes = record.get(column).unwrap_or_default();
            let text = std::str::from_utf8(bytes);
            text.map(str::to_owned).map_err(|_| {
                row_error(
                    path,
                    row,
                    format!("column `{}` is not valid UTF-8; convert the file to UTF-8", header[column]),
                )
            })
        };
        lines = record.iter().next_back().is_some_and(|field| field.contains(&b'\n'));
        rows.push(at.iter().map(value).collect::<Result<_, _>>()?);
    }
    drop(reader);
    // A line break stands in quotes only: without the closing one, the rest of the file would be taken for one record.
    if lines && last != Some(b'"') {
        let reason = "a quote that begins in this row never ends; close it, or double quotes inside quoted fields";
        return Err(row_error(path, rows.len().saturating_sub(1), reason.into()));
    }
    Ok(rows)
}

/// Remembers the last byte that is no white space.
struct Watched<'a, R> {
    inner: R,
    last: &'a mut Option<u8>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        if let Some(byte) = buffer[..length].iter().rev().find(|byte| !byte.is_ascii_whitespace()) {
            *self.last = Some(*byte);
        }
        Ok(length)
    }
}

/// A file without a header has a record in its first line: it is shown only when all of it reads like names.
fn no_column(path: &Path, name: &str, header: &[String]) -> DataError {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_name = |text: &String| {
        text.len() <= 40 && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(plain)
    };
    if header.iter().all(is_name) {
        return missing_column(path, name, header.iter().map(String::as_str));
    }
    let reason = format!(
        "there is no column `{name}` in the first line; its {} fields do not all read like column names and may be a record, so \
         they are not shown. The first line must be a header",
        header.len()
    );
    DataError::File { path: path.to_owned(), reason }
}

/// The csv crate's message without the record it quotes.
fn explain(path: &Path, error: &csv::Error) -> DataError {
    match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            let row = pos.as_ref().map_or(0, |pos| pos.record().saturating_sub(1)) as usize;
            row_error(
                path,
                row,
                format!(
                    "{len} fields where the header has {expected_len} (line {line}); quote fields that hold commas"
                ),
            )
        }
        ErrorKind::Io(error) => unreadable(path, error),
        _ => DataError::File { path: path.to_owned(), reason: "not valid CSV".into() },
    }
}
