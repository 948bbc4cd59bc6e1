//! Parquet files with flat columns.

use std::{panic, path::Path};

use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
    schema::types::Type,
};

use super::{Row, missing_column, row_error};
use crate::error::DataError;

/// The parquet crate panics on some damaged files. Their bytes are somebody else's, so that is an answer like another, and its
/// words, which might quote a record, are not shown.
pub(super) fn read(path: &Path, names: &[&str]) -> Result<Vec<Row>, DataError> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let found = panic::catch_unwind(|| read_columns(path, names));
    panic::set_hook(hook);
    found.unwrap_or_else(|_| {
        let reason = "not a readable Parquet file (its pages do not fit one another)".to_owned();
        Err(DataError::File { path: path.to_owned(), reason })
    })
}

fn read_columns(path: &Path, names: &[&str]) -> Result<Vec<Row>, DataError> {
    let file = fs_err::File::open(path)?.into_parts().0;
    let broken = |error: parquet::errors::ParquetError| DataError::File {
        path: path.to_owned(),
        reason: format!("not a readable Parquet file ({error})"),
    };
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let fields = schema.get_fields();
    let mut wanted = Vec::new();
    for name in names {
        let field = fields.iter().find(|field| field.name() == *name);
        wanted.push(field.cloned().ok_or_else(|| missing_column(path, name, fields.iter().map(|field| field.name())))?);
    }
    wanted.dedup_by(|a, b| a.name() == b.name());
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build().map_err(broken)?;
    let mut rows = Vec::new();
    for (row, record) in reader.get_row_iter(Some(projection)).map_err(broken)?.enumerate() {
        let record = record.map_err(broken)?;
        let value = |name: &&str| {
            let field = record.get_column_iter().find(|(column, _)| column == name).map(|(_, field)| field);
            match field {
                Some(Field::Str(text)) => Ok(text.clone()),
                Some(field @ (Field::Int(_) | Field::Long(_) | Field::UInt(_) | Field::ULong(_) | Field::Short(_))) => {
                    Ok(field.to_string())
                }
                Some(Field::Bytes(bytes)) => std::str::from_utf8(bytes.data())
                    .map(str::to_owned)
                    .map_err(|_| row_error(path, row, format!("column `{name}` is not valid UTF-8"))),
                _ => Err(row_error(path, row, format!("column `{name}` is not a string"))),
            }
        };
        rows.push(names.iter().map(value).collect::<Result<_, _>>()?);
    }
    Ok(rows)
}
