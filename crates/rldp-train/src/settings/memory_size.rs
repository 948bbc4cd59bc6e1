//! Amounts of memory as people write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Bytes, written as a number with `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB` or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemorySize(pub u64);

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("", 1),
];

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim());
        let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
        let bytes = number.parse::<f64>().ok().zip(unit).map(|(number, unit)| number * unit as f64);
        match bytes.filter(|bytes| (1.0..1e18).contains(bytes)) {
            Some(bytes) => Ok(Self(bytes as u64)),
            None => Err(format!("`{text}` is no amount of memory; write it like 6GiB, 800MiB or 2.5GB")),
        }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit)).copied().unwrap_or(("", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl TryFrom<String> for MemorySize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MemorySize> for String {
    fn from(size: MemorySize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, again) in [
            ("6GiB", 6 << 30, "6GiB"),
            ("1.5 GiB", 3 << 29, "1536MiB"),
            ("2.5GB", 2_500_000_000, "2500MB"),
            ("1000", 1000, "1kB"),
            ("1001", 1001, "1001"),
        ] {
            assert_eq!(text.parse(), Ok(MemorySize(bytes)));
            assert_eq!(MemorySize(bytes).to_string(), again);
            assert_eq!(again.parse(), Ok(MemorySize(bytes)));
        }
        for text in ["", "GiB", "6 gigs", "-1GiB", "0", "1e30GiB", "6GiB7"] {
            assert!(text.parse::<MemorySize>().is_err(), "{text}");
        }
    }
}
