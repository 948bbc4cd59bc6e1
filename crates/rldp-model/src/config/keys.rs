//! Typed access to the keys of a `config.json`, with errors that name the key.

use serde_json::{Map, Value};

use super::ConfigError;

/// A JSON object and where in the file it lies.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    object: &'a Map<String, Value>,
    prefix: &'static str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(object: &'a Map<String, Value>, prefix: &'static str) -> Self {
        Self { object, prefix }
    }

    /// The key as the user can find it in the file.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Whether the key is there, `null` included.
    pub(super) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// The value; `None` when the key is absent or `null`.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// A non-negative integer.
    pub(super) fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.get(key)
            .map(|value| as_size(value).ok_or_else(|| self.wrong(key, "a whole number ≥ 0", value)))
            .transpose()
    }

    /// The first of several names of the same integer.
    pub(super) fn first_size(&self, keys: &[&str]) -> Result<Option<usize>, ConfigError> {
        keys.iter().find_map(|key| self.size(key).transpose()).transpose()
    }

    /// A finite number.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.get(key).map(|value| value.as_f64().ok_or_else(|| self.wrong(key, "a number", value))).transpose()
    }

    /// A number that has no default.
    pub(super) fn required_number(&self, key: &str) -> Result<f64, ConfigError> {
        self.number(key)?.ok_or_else(|| ConfigError::MissingKey { key: self.path(key) })
    }

    /// A boolean.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.get(key).map(|value| value.as_bool().ok_or_else(|| self.wrong(key, "true or false", value))).transpose()
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.get(key).map(|value| value.as_str().ok_or_else(|| self.wrong(key, "a string", value))).transpose()
    }

    /// A list of strings.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let items = value.as_array().map(|items| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        items.flatten().ok_or_else(|| self.wrong(key, "a list of strings", value)).map(Some)
    }

    /// A list of numbers.
    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let items = value.as_array().map(|items| items.iter().map(Value::as_f64).collect::<Option<Vec<_>>>());
        items.flatten().ok_or_else(|| self.wrong(key, "a list of numbers", value)).map(Some)
    }

    /// Token ids: one or a list.
    pub(super) fn tokens(&self, key: &str) -> Result<Option<Vec<usize>>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let ids = match value {
            Value::Array(items) => items.iter().map(as_size).collect::<Option<Vec<_>>>(),
            single => as_size(single).map(|id| vec![id]),
        };
        ids.ok_or_else(|| self.wrong(key, "a token id or a list of them", value)).map(Some)
    }

    /// A nested object.
    pub(super) fn object(&self, key: &str, prefix: &'static str) -> Result<Option<Keys<'a>>, ConfigError> {
        self.get(key)
            .map(|value| {
                value
                    .as_object()
                    .map(|object| Keys::new(object, prefix))
                    .ok_or_else(|| self.wrong(key, "an object", value))
            })
            .transpose()
    }

    /// Refuses an option unless it is absent or has the one value that is supported.
    pub(super) fn only(&self, key: &str, supported: bool) -> Result<(), ConfigError> {
        match self.flag(key)? {
            Some(value) if value != supported => Err(ConfigError::Unsupported {
                key: self.path(key),
                value: value.to_string(),
                supported: supported.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn wrong(&self, key: &str, expected: &'static str, found: &Value) -> ConfigError {
        let mut found = found.to_string();
        if found.len() > 60 {
            found = format!("{}…", found.chars().take(60).collect::<String>());
        }
        ConfigError::WrongType { key: self.path(key), expected, found }
    }
}

/// A whole number, also when written as `4096.0`.
fn as_size(value: &Value) -> Option<usize> {
    if let Some(number) = value.as_u64() {
        return usize::try_from(number).ok();
    }
    value.as_f64().filter(|x| *x >= 0.0 && x.fract() == 0.0 && *x < 2f64.powi(53)).map(|x| x as usize)
}
