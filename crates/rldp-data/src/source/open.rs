//! Opens a file of text records: plain, gzip or zstd, or standard input.

use std::{
    io::{self, BufRead, BufReader, IsTerminal as _},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use crate::error::DataError;

/// The name that means standard input.
const STANDARD_INPUT: &str = "-";

/// Layout of a file of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Tsv,
    Json,
    Parquet,
}

/// Whether `path` means standard input.
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// The format that a file's name tells, also of a compressed file. A file whose fields have a known delimiter may have any name.
pub(super) fn format(path: &Path, delimited: bool) -> Result<Format, DataError> {
    let extension = |path: &Path| path.extension().map(|name| name.to_string_lossy().to_ascii_lowercase());
    let mut found = extension(path).unwrap_or_default();
    if ["gz", "zst"].contains(&found.as_str()) {
        found = path.file_stem().and_then(|stem| extension(Path::new(stem))).unwrap_or_default();
    }
    match found.as_str() {
        "csv" => Ok(Format::Csv),
        "tsv" | "tab" => Ok(Format::Tsv),
        "jsonl" | "json" | "ndjson" => Ok(Format::Json),
        "parquet" => Ok(Format::Parquet),
        _ if delimited => Ok(Format::Csv),
        _ => Err(DataError::File {
            path: path.to_owned(),
            reason: format!(
                "the extension `{found}` is none of .csv, .tsv, .jsonl (JSON lines), .json (an array) and .parquet; all but Parquet may \
                 be compressed (.csv.gz, .jsonl.zst); rename or convert the file, or say what separates its fields by --delimiter"
            ),
        }),
    }
}

/// A reader of a file's text; compression is told from the first bytes, whatever the name says.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, DataError> {
    decoded(Box::new(BufReader::new(fs_err::File::open(path)?)), path)
}

/// Standard input, and the format that its first character tells: JSON begins with `{` or `[`.
pub(super) fn standard_input(label: &Path) -> Result<(Format, Box<dyn BufRead>), DataError> {
    if io::stdin().is_terminal() {
        let reason = "it is a terminal; pipe the records into the command, or name a file";
        return Err(DataError::File { path: label.to_owned(), reason: reason.into() });
    }
    // Records stay in memory: a copy on disk would be one more place to guard.
    let mut reader = decoded(Box::new(BufReader::new(io::stdin())), label)?;
    let first = reader.fill_buf()?;
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    let json = first.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| b"{[".contains(byte));
    Ok((if json { Format::Json } else { Format::Csv }, reader))
}

fn decoded(mut raw: Box<dyn BufRead>, path: &Path) -> Result<Box<dyn BufRead>, DataError> {
    let first = raw.fill_buf()?;
    if first.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(raw))));
    }
    if first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(BufReader::new(zstd::Decoder::with_buffer(raw)?)));
    }
    if first.starts_with(b"\xff\xfe") || first.starts_with(b"\xfe\xff") {
        let reason = "the file is UTF-16; convert it to UTF-8, such as by `iconv -f UTF-16 -t UTF-8`";
        return Err(DataError::File { path: path.to_owned(), reason: reason.into() });
    }
    Ok(raw)
}
