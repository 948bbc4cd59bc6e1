//! What one column of one row holds, and what a column may hold.

/// A value as the file has it. It holds private text and therefore cannot be printed.
pub(super) enum Cell {
    /// The row has no such column, which it need not have.
    Absent,
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number as it is written; whole ones may have any length.
    Number(String),
    /// A number that is stored as a float, without its spelling.
    Float(f64),
    /// Text.
    Text(String),
    /// JSON of an array.
    Array(String),
    /// An object.
    Object,
    /// Something else, by its name.
    Other(&'static str),
}

/// What a column is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Text that a model reads: a string, and nothing that somebody would have to spell.
    Text,
    /// The same, or an array of messages.
    TextOrMessages,
    /// A completion: text, an array of messages, or a label that is a number or a boolean.
    Label,
    /// Messages, or tools: an array, or its JSON in a string.
    Array,
    /// The privacy unit: text, a number or a boolean.
    Unit,
}

/// A column that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) role: Role,
    /// Whether a row may do without it.
    pub(super) optional: bool,
}

impl Wanted {
    pub(super) fn new(name: &str, role: Role) -> Self {
        Self { name: name.to_owned(), role, optional: false }
    }

    pub(super) fn optional(name: &str, role: Role) -> Self {
        Self { optional: true, ..Self::new(name, role) }
    }
}

/// A value that is allowed where it stands. It holds private text and therefore cannot be printed.
pub(super) struct Value {
    /// Its text, or its JSON.
    pub(super) text: String,
    /// Whether it is the JSON of an array.
    pub(super) array: bool,
    /// Whether the file says that it is a number.
    pub(super) number: bool,
}

/// Largest whole number below which every whole number is a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Cell {
    /// The value for a column's role; `None` when it is absent and may be.
    ///
    /// # Errors
    /// What is wrong with it, without its content.
    pub(super) fn take(self, wanted: &Wanted) -> Result<Option<Value>, String> {
        let plain = |text: String, number| Ok(Some(Value { text, array: false, number }));
        let Wanted { name, role, optional } = wanted;
        match (self, role) {
            (Self::Absent, _) => Ok(None),
            (Self::Null, _) if *optional => Ok(None),
            (Self::Text(text), _) => plain(text, false),
            (Self::Array(text), Role::TextOrMessages | Role::Label | Role::Array) => {
                Ok(Some(Value { text, array: true, number: false }))
            }
            (Self::Number(text), Role::Label | Role::Unit) => plain(text, true),
            (Self::Bool(value), Role::Label | Role::Unit) => plain(value.to_string(), false),
            (Self::Float(value), Role::Unit) if value.fract() == 0.0 && value.abs() < EXACT => {
                plain(format!("{value:.0}"), true)
            }
            (Self::Float(value), Role::Unit) => Err(format!("`{name}` is {}", odd_float(value))),
            (other, role) => Err(format!("`{name}` is {}, but must be {}", other.kind(), role.wants())),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Float(value) if value.is_nan() => "NaN, a missing value,",
            Self::Float(_) => "a floating-point number",
            Self::Text(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object => "an object",
            Self::Other(kind) => kind,
        }
    }
}

/// Why a float names nobody.
fn odd_float(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN, a missing value; every record needs a unit"
    } else if value.is_infinite() {
        "infinite; every record needs a unit"
    } else if value.fract() != 0.0 {
        "a floating-point number with a fraction, which names nobody; store ids as text or whole numbers"
    } else {
        "a floating-point number of 2^53 or more, which may have been rounded; store ids as text or whole numbers"
    }
}

impl Role {
    fn wants(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::TextOrMessages => "a string or an array of messages",
            Self::Label => "a string, a number, a boolean or an array of messages",
            Self::Array => "an array, or its JSON in a string",
            Self::Unit => "a string, a whole number or a boolean",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_for_what_they_are() {
        let unit = Wanted::new("who", Role::Unit);
        let text = |cell: Cell| cell.take(&unit).map(|value| value.map(|value| value.text));
        assert_eq!(text(Cell::Float(7.0)), Ok(Some("7".into())));
        assert_eq!(text(Cell::Float(-0.0)), Ok(Some("-0".into())));
        assert_eq!(text(Cell::Bool(true)), Ok(Some("true".into())));
        for (cell, says) in [
            (Cell::Float(f64::NAN), "NaN, a missing value"),
            (Cell::Float(0.5), "with a fraction"),
            (Cell::Float(1e16), "may have been rounded"),
            (Cell::Null, "null, but must be a string, a whole number or a boolean"),
            (Cell::Array("[]".into()), "an array"),
        ] {
            assert!(text(cell).unwrap_err().contains(says), "{says}");
        }
        let label = Wanted::new("answer", Role::Label);
        assert!(Cell::Number("1".into()).take(&label).is_ok_and(|value| value.is_some_and(|value| value.number)));
        assert!(Cell::Number("1".into()).take(&Wanted::new("text", Role::Text)).is_err());
        assert!(Cell::Null.take(&Wanted::optional("tools", Role::Array)).is_ok_and(|value| value.is_none()));
    }
}
