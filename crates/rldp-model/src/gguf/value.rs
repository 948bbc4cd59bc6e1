//! Values of a GGUF file's metadata, and typed access to them.

use std::collections::HashMap;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Number(f64),
    Flag(bool),
    Text(String),
    Array(Array),
}

/// Values of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Array {
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

impl Value {
    pub(super) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Flag(value) => Some(f64::from(u8::from(*value))),
            Self::Text(_) | Self::Array(_) => None,
        }
    }
}

/// The metadata with errors that name the key.
#[derive(Clone, Copy)]
pub(super) struct Metadata<'a>(pub(super) &'a HashMap<String, Value>);

impl<'a> Metadata<'a> {
    fn typed<T>(self, key: &str, what: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, String> {
        self.0.get(key).map(|value| read(value).ok_or_else(|| format!("`{key}` is not {what}"))).transpose()
    }

    pub(super) fn size(self, key: &str) -> Result<Option<u64>, String> {
        self.typed(key, "a whole number", Value::as_u64)
    }

    pub(super) fn needed_size(self, key: &str) -> Result<u64, String> {
        self.size(key)?.ok_or_else(|| format!("the metadata have no `{key}`"))
    }

    pub(super) fn number(self, key: &str) -> Result<Option<f64>, String> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(super) fn flag(self, key: &str) -> Result<Option<bool>, String> {
        self.typed(key, "true or false", |value| match value {
            Value::Flag(value) => Some(*value),
            _ => None,
        })
    }

    pub(super) fn text(self, key: &str) -> Result<Option<&'a str>, String> {
        self.typed(key, "a text", |value| match value {
            Value::Text(value) => Some(value.as_str()),
            _ => None,
        })
    }

    pub(super) fn texts(self, key: &str) -> Result<Option<&'a [String]>, String> {
        self.typed(key, "an array of texts", |value| match value {
            Value::Array(Array::Texts(values)) => Some(values.as_slice()),
            _ => None,
        })
    }

    pub(super) fn numbers(self, key: &str) -> Result<Option<&'a [f64]>, String> {
        self.typed(key, "an array of numbers", |value| match value {
            Value::Array(Array::Numbers(values)) => Some(values.as_slice()),
            _ => None,
        })
    }
}
