//! Values of typed tables, Parquet's and those in memory, in the terms that both share: what is an id, a text or an array is decided
//! once.

use std::fmt::Write as _;

use super::Cell;

/// A value of a typed table. It holds private text and therefore cannot be printed.
pub enum Datum {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number, in digits.
    Number(String),
    /// A number that is stored as a float.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Datum>),
    /// Named values, in order.
    Object(Vec<(String, Datum)>),
    /// A map whose keys are no text.
    OddMap,
    /// Something that no record is made of, by its name: `a decimal`.
    Other(&'static str),
}

impl Datum {
    /// The value as a record is read from it; a list as JSON, with the order of its keys.
    pub(super) fn cell(self) -> Result<Cell, &'static str> {
        Ok(match self {
            Self::Null => Cell::Null,
            Self::Bool(value) => Cell::Bool(value),
            Self::Number(digits) => Cell::Number(digits),
            Self::Float(value) => Cell::Float(value),
            Self::Text(text) => Cell::Text(text),
            Self::List(_) => {
                let mut out = String::new();
                self.write_json(&mut out)?;
                Cell::Array(out)
            }
            Self::Object(_) | Self::OddMap => Cell::Object,
            Self::Other(kind) => Cell::Other(kind),
        })
    }

    fn write_json(&self, out: &mut String) -> Result<(), &'static str> {
        // Writing into a string cannot fail.
        let _ = match self {
            Self::List(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    separate(index, out);
                    element.write_json(out)?;
                }
                write!(out, "]")
            }
            Self::Object(fields) => {
                out.push('{');
                for (index, (key, value)) in fields.iter().enumerate() {
                    separate(index, out);
                    let _ = write!(out, "{}: ", serde_json::Value::from(key.as_str()));
                    value.write_json(out)?;
                }
                write!(out, "}}")
            }
            Self::Null => write!(out, "null"),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Number(digits) => write!(out, "{digits}"),
            Self::Float(value) if value.is_finite() => write!(out, "{value:?}"),
            Self::Text(text) => write!(out, "{}", serde_json::Value::from(text.as_str())),
            Self::OddMap => return Err("holds a map whose keys are no strings"),
            Self::Float(_) | Self::Other(_) => return Err("holds a value that is no text, number or boolean"),
        };
        Ok(())
    }
}

fn separate(index: usize, out: &mut String) {
    if index > 0 {
        out.push_str(", ");
    }
}
