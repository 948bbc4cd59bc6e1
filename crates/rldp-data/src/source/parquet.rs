//! Parquet files.

use std::{panic, path::Path};

use parquet::{
    errors::ParquetError,
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
    schema::types::Type,
};

use super::{Cell, Choose, Datum, Row, missing_column, row_error};
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
                datum(field)
                    .and_then(Datum::cell)
                    .map_err(|reason| row_error(path, place, format!("column `{name}` {reason}")))
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

fn datum(field: &Field) -> Result<Datum, &'static str> {
    Ok(match field {
        Field::Null => Datum::Null,
        Field::Bool(value) => Datum::Bool(*value),
        Field::Byte(_)
        | Field::Short(_)
        | Field::Int(_)
        | Field::Long(_)
        | Field::UByte(_)
        | Field::UShort(_)
        | Field::UInt(_)
        | Field::ULong(_) => Datum::Number(field.to_string()),
        Field::Float16(value) => Datum::Float(f64::from(*value)),
        Field::Float(value) => Datum::Float(f64::from(*value)),
        Field::Double(value) => Datum::Float(*value),
        Field::Str(text) => Datum::Text(text.clone()),
        Field::Bytes(bytes) => {
            Datum::Text(std::str::from_utf8(bytes.data()).map_err(|_| "is not valid UTF-8")?.to_owned())
        }
        Field::ListInternal(list) => Datum::List(list.elements().iter().map(datum).collect::<Result<_, _>>()?),
        Field::Group(group) => {
            let mut fields = Vec::with_capacity(group.len());
            for (key, value) in group.get_column_iter() {
                fields.push((key.clone(), datum(value)?));
            }
            Datum::Object(fields)
        }
        Field::MapInternal(map) => {
            let mut fields = Vec::with_capacity(map.entries().len());
            for (key, value) in map.entries() {
                let Field::Str(key) = key else { return Ok(Datum::OddMap) };
                fields.push((key.clone(), datum(value)?));
            }
            Datum::Object(fields)
        }
        Field::Decimal(_) => Datum::Other("a decimal"),
        _ => Datum::Other("a date or a time"),
    })
}
