//! Parquet files.

use std::{fmt::Write as _, panic, path::Path};

use parquet::{
    errors::ParquetError,
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, Row as Record},
    schema::types::Type,
};

use super::{Cell, Choose, Row, missing_column, row_error};
use crate::error::DataError;

/// The parquet crate panics on some damaged files. Their bytes are somebody else's, so that is an answer like another, and its
/// words, which might quote a record, are not shown.
pub(super) fn read(path: &Path, choose: Choose) -> Result<Vec<Row>, DataError> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let found = panic::catch_unwind(panic::AssertUnwindSafe(|| read_columns(path, choose)));
    panic::set_hook(hook);
    found.unwrap_or_else(|_| {
        let reason = "not a readable Parquet file (its pages do not fit one another)".to_owned();
        Err(DataError::File { path: path.to_owned(), reason })
    })
}

fn read_columns(path: &Path, choose: Choose) -> Result<Vec<Row>, DataError> {
    let file = fs_err::File::open(path)?.into_parts().0;
    let broken = |error: ParquetError| DataError::File { path: path.to_owned(), reason: cause(&error) };
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let fields = schema.get_fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    let wanted = choose(&names);
    if let Some(missing) = wanted.iter().find(|wanted| !wanted.optional && !names.contains(&wanted.name.as_str())) {
        return Err(missing_column(path, &missing.name, names.into_iter()));
    }
    let read = fields.iter().filter(|field| wanted.iter().any(|wanted| wanted.name == field.name()));
    let projection = Type::group_type_builder(schema.name()).with_fields(read.cloned().collect()).build();
    let mut rows = Vec::new();
    for record in reader.get_row_iter(Some(projection.map_err(broken)?)).map_err(broken)? {
        let (place, record) = (rows.len() + 1, record.map_err(broken)?);
        let value = |wanted: &super::Wanted| {
            let field = record.get_column_iter().find(|(column, _)| **column == wanted.name);
            field.map_or(Ok(Cell::Absent), |(name, field)| {
                cell(field).map_err(|reason| row_error(path, place, format!("column `{name}` {reason}")))
            })
        };
        let cells = wanted.iter().map(value).collect::<Result<_, _>>()?;
        rows.push(Row { place, cells });
    }
    Ok(rows)
}

/// What is wrong with a file, in words that name what could be read instead.
fn cause(error: &ParquetError) -> String {
    let words = error.to_string();
    if words.contains("Disabled feature") || words.contains("LZO") || words.contains("ompression") {
        return format!(
            "its compression cannot be read ({words}); those that can are none, snappy, gzip, zstd, lz4 and brotli: write it anew \
             with one of them"
        );
    }
    format!("not a readable Parquet file ({words})")
}

fn cell(field: &Field) -> Result<Cell, &'static str> {
    Ok(match field {
        Field::Null => Cell::Null,
        Field::Bool(value) => Cell::Bool(*value),
        Field::Byte(_)
        | Field::Short(_)
        | Field::Int(_)
        | Field::Long(_)
        | Field::UByte(_)
        | Field::UShort(_)
        | Field::UInt(_)
        | Field::ULong(_) => Cell::Number(field.to_string()),
        Field::Float16(value) => Cell::Float(f64::from(*value)),
        Field::Float(value) => Cell::Float(f64::from(*value)),
        Field::Double(value) => Cell::Float(*value),
        Field::Str(text) => Cell::Text(text.clone()),
        Field::Bytes(bytes) => {
            Cell::Text(std::str::from_utf8(bytes.data()).map_err(|_| "is not valid UTF-8")?.to_owned())
        }
        Field::ListInternal(_) => Cell::Array(json(field)?),
        Field::Group(_) | Field::MapInternal(_) => Cell::Object,
        Field::Decimal(_) => Cell::Other("a decimal"),
        _ => Cell::Other("a date or a time"),
    })
}

/// A nested value as JSON, with the order of its keys.
fn json(field: &Field) -> Result<String, &'static str> {
    let mut out = String::new();
    write_json(field, &mut out)?;
    Ok(out)
}

fn write_json(field: &Field, out: &mut String) -> Result<(), &'static str> {
    match field {
        Field::ListInternal(list) => {
            out.push('[');
            for (index, element) in list.elements().iter().enumerate() {
                separate(index, out);
                write_json(element, out)?;
            }
            out.push(']');
        }
        Field::Group(group) => write_group(group, out)?,
        Field::MapInternal(map) => {
            out.push('{');
            for (index, (key, value)) in map.entries().iter().enumerate() {
                separate(index, out);
                let Field::Str(key) = key else { return Err("holds a map whose keys are no strings") };
                write_key(key, out);
                write_json(value, out)?;
            }
            out.push('}');
        }
        plain => write_plain(plain, out)?,
    }
    Ok(())
}

fn write_plain(field: &Field, out: &mut String) -> Result<(), &'static str> {
    // Writing into a string cannot fail.
    let _ = match cell(field)? {
        Cell::Null => write!(out, "null"),
        Cell::Bool(value) => write!(out, "{value}"),
        Cell::Number(number) => write!(out, "{number}"),
        Cell::Float(value) if value.is_finite() => write!(out, "{value:?}"),
        Cell::Text(text) => write!(out, "{}", serde_json::Value::from(text)),
        _ => return Err("holds a value that is no text, number or boolean"),
    };
    Ok(())
}

fn write_group(group: &Record, out: &mut String) -> Result<(), &'static str> {
    out.push('{');
    for (index, (key, value)) in group.get_column_iter().enumerate() {
        separate(index, out);
        write_key(key, out);
        write_json(value, out)?;
    }
    out.push('}');
    Ok(())
}

fn separate(index: usize, out: &mut String) {
    if index > 0 {
        out.push_str(", ");
    }
}

fn write_key(key: &str, out: &mut String) {
    let _ = write!(out, "{}: ", serde_json::Value::from(key));
}
