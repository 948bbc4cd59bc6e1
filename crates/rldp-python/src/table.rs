//! A table that another library holds, read where it lies through Arrow's C stream.

use arrow_array::{
    Array, ArrayRef, RecordBatch, RecordBatchReader as _,
    cast::AsArray as _,
    ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader},
    types::{
        ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, SchemaRef};
use pyo3::{exceptions::PyTypeError, prelude::*, types::PyCapsule};
use rldp::data::{Datum, Table};

/// Batches of rows, with the number of rows before each.
pub(crate) struct ArrowTable {
    schema: SchemaRef,
    batches: Vec<(usize, RecordBatch)>,
    rows: usize,
}

impl ArrowTable {
    /// Takes over what `object.__arrow_c_stream__()` hands out; nothing is copied.
    pub(crate) fn import(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let capsule = object.call_method0("__arrow_c_stream__")?;
        let capsule = capsule.cast::<PyCapsule>()?;
        let stream = capsule.pointer_checked(Some(c"arrow_array_stream"))?.cast::<FFI_ArrowArrayStream>();
        // SAFETY: a capsule of this name holds a valid stream, which is moved out of it: what stays behind is marked as released, so
        // the capsule's destructor leaves it alone. Both are the terms of Arrow's PyCapsule interface.
        let reader = unsafe { RecordBatchStreamReader::from_raw(stream.as_ptr()) };
        // The words of errors may come from a library that quotes values.
        let odd = || PyTypeError::new_err("the records are no Arrow table that can be read");
        let reader = reader.map_err(|_| odd())?;
        let schema = reader.schema();
        let (mut batches, mut rows) = (Vec::new(), 0);
        for batch in reader {
            let batch = batch.map_err(|_| odd())?;
            let before = rows;
            rows += batch.num_rows();
            batches.push((before, batch));
        }
        Ok(Self { schema, batches, rows })
    }
}

impl Table for ArrowTable {
    fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn value(&self, column: usize, row: usize) -> Result<Datum, &'static str> {
        let batch = self.batches.partition_point(|(before, _)| *before <= row);
        let Some((before, batch)) = batch.checked_sub(1).and_then(|batch| self.batches.get(batch)) else {
            return Ok(Datum::Null);
        };
        datum(batch.column(column).as_ref(), row - before)
    }
}

/// The value of a row; types are those that Parquet has, and what Arrow packs in other ways.
fn datum(array: &dyn Array, row: usize) -> Result<Datum, &'static str> {
    if array.is_null(row) {
        return Ok(Datum::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Datum::Null,
        DataType::Boolean => Datum::Bool(array.as_boolean().value(row)),
        DataType::Int8 => whole::<Int8Type>(array, row),
        DataType::Int16 => whole::<Int16Type>(array, row),
        DataType::Int32 => whole::<Int32Type>(array, row),
        DataType::Int64 => whole::<Int64Type>(array, row),
        DataType::UInt8 => whole::<UInt8Type>(array, row),
        DataType::UInt16 => whole::<UInt16Type>(array, row),
        DataType::UInt32 => whole::<UInt32Type>(array, row),
        DataType::UInt64 => whole::<UInt64Type>(array, row),
        DataType::Float16 => Datum::Float(f64::from(array.as_primitive::<Float16Type>().value(row))),
        DataType::Float32 => Datum::Float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Datum::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Datum::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Datum::Text(array.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Datum::Text(array.as_string_view().value(row).to_owned()),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row))?,
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(row))?,
        DataType::BinaryView => bytes(array.as_binary_view().value(row))?,
        DataType::List(_) => list(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row))?,
        DataType::ListView(_) => list(&array.as_list_view::<i32>().value(row))?,
        DataType::LargeListView(_) => list(&array.as_list_view::<i64>().value(row))?,
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row))?,
        DataType::Struct(fields) => {
            let mut values = Vec::with_capacity(fields.len());
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                values.push((field.name().clone(), datum(column.as_ref(), row)?));
            }
            Datum::Object(values)
        }
        DataType::Map(..) => map(&array.as_map().value(row))?,
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            match datum(dictionary.keys(), row)? {
                Datum::Number(key) => datum(dictionary.values().as_ref(), key.parse().map_err(|_| "has an odd key")?)?,
                _ => Datum::Null,
            }
        }
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            Datum::Other("a decimal")
        }
        DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_)
        | DataType::Interval(_) => Datum::Other("a date or a time"),
        _ => Datum::Other("a value of a type that is not read"),
    })
}

fn whole<T: ArrowPrimitiveType<Native: std::fmt::Display>>(array: &dyn Array, row: usize) -> Datum {
    Datum::Number(array.as_primitive::<T>().value(row).to_string())
}

fn list(elements: &ArrayRef) -> Result<Datum, &'static str> {
    (0..elements.len()).map(|element| datum(elements.as_ref(), element)).collect::<Result<_, _>>().map(Datum::List)
}

fn bytes(bytes: &[u8]) -> Result<Datum, &'static str> {
    std::str::from_utf8(bytes).map(|text| Datum::Text(text.to_owned())).map_err(|_| "is not valid UTF-8")
}

/// Keys and values of one row.
fn map(entries: &arrow_array::StructArray) -> Result<Datum, &'static str> {
    let (keys, values) = (entries.column(0).as_ref(), entries.column(1).as_ref());
    let mut fields = Vec::with_capacity(entries.len());
    for row in 0..entries.len() {
        let Datum::Text(key) = datum(keys, row)? else { return Ok(Datum::OddMap) };
        fields.push((key, datum(values, row)?));
    }
    Ok(Datum::Object(fields))
}
