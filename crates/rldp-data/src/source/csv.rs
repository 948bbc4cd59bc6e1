//! Comma-separated values with a header.

use std::{io::BufRead, path::Path};

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::{Row, missing_column, row_error, unreadable};
use crate::error::DataError;

pub(super) fn read(path: &Path, source: Box<dyn BufRead>, names: &[&str]) -> Result<Vec<Row>, DataError> {
    let mut reader = ReaderBuilder::new().from_reader(source);
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
        .map(|name| {
            header
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| missing_column(path, name, header.iter().map(String::as_str)))
        })
        .collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    let mut record = ByteRecord::new();
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
        rows.push(at.iter().map(value).collect::<Result<_, _>>()?);
    }
    Ok(rows)
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
