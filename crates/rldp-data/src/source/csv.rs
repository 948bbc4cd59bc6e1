//! Values with a header, separated by commas, tabs or what else is asked for.

use std::{io::BufRead, path::Path};

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::{
    Cell, Choose, Row, Wanted, missing_column,
    quotes::{Fault, Watch},
    row_error, unreadable,
};
use crate::error::DataError;

pub(super) fn read(
    path: &Path,
    source: Box<dyn BufRead>,
    delimiter: u8,
    choose: Choose,
) -> Result<Vec<Row>, DataError> {
    let mut watch = Watch::new(delimiter);
    let found = read_all(path, watch.over(source), delimiter, choose);
    // A fault of quoting may be the cause of any other, but a file that cannot be read to its end leaves quotes open.
    let fault = watch.fault().filter(|(_, fault)| !(matches!(fault, Fault::Open) && found.is_err()));
    if let Some((record, fault)) = fault {
        let reason = match fault {
            Fault::TextAfterQuote => {
                "text follows a closing quote, so that fields or whole rows may be lost in one another; double quotes inside quoted \
                 fields, or quote no field that merely begins with one"
            }
            Fault::Open => {
                "a quote that begins in this row never ends; close it, or double quotes inside quoted fields"
            }
        };
        if record < 2 {
            return Err(DataError::File { path: path.to_owned(), reason: format!("the header: {reason}") });
        }
        return Err(row_error(path, record - 1, reason.into()));
    }
    found
}

fn read_all(path: &Path, source: impl std::io::Read, delimiter: u8, choose: Choose) -> Result<Vec<Row>, DataError> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(source);
    let header = header(path, reader.byte_headers().map_err(|error| explain(path, &error))?)?;
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    let at = places(path, &header, &choose(&names))?;
    let mut rows = Vec::new();
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| explain(path, &error))? {
        let place = rows.len() + 1;
        let cell = |column: &Option<usize>| {
            let Some(column) = *column else { return Ok(Cell::Absent) };
            let text = std::str::from_utf8(record.get(column).unwrap_or_default());
            text.map(|text| Cell::Text(text.to_owned())).map_err(|_| {
                let name = &header[column];
                row_error(path, place, format!("column `{name}` is not valid UTF-8; convert the file to UTF-8"))
            })
        };
        rows.push(Row { place, cells: at.iter().map(cell).collect::<Result<_, _>>()? });
    }
    Ok(rows)
}

fn header(path: &Path, record: &ByteRecord) -> Result<Vec<String>, DataError> {
    let name = |(i, name): (usize, &[u8])| {
        let name = if i == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
        String::from_utf8_lossy(name).trim().to_owned()
    };
    let header: Vec<String> = record.iter().enumerate().map(name).collect();
    if header.iter().all(String::is_empty) {
        return Err(DataError::File { path: path.to_owned(), reason: "the file is empty: it has no header".into() });
    }
    Ok(header)
}

/// Where each wanted column is.
fn places(path: &Path, header: &[String], wanted: &[Wanted]) -> Result<Vec<Option<usize>>, DataError> {
    let place = |wanted: &Wanted| {
        let name = &wanted.name;
        if header.iter().filter(|column| *column == name).count() > 1 {
            let reason = format!("the header has the column `{name}` more than once; rename all but one");
            return Err(DataError::File { path: path.to_owned(), reason });
        }
        match header.iter().position(|column| column == name) {
            None if !wanted.optional => Err(no_column(path, name, header)),
            place => Ok(place),
        }
    };
    wanted.iter().map(place).collect()
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
            let place = pos.as_ref().map_or(0, csv::Position::record) as usize;
            let reason = format!(
                "{len} fields where the header has {expected_len} (line {line}); quote fields that hold commas"
            );
            row_error(path, place, reason)
        }
        ErrorKind::Io(error) => unreadable(path, error),
        _ => DataError::File { path: path.to_owned(), reason: "not valid CSV".into() },
    }
}
