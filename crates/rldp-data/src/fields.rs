//! Parts of JSON as they are written: keys in the order of the file, numbers of any length, and values that nobody looks into.
//!
//! A parser that makes values rounds long numbers and may sort keys; here texts are only divided, after they were checked.

use serde::de::IgnoredAny;

/// Checks that a text is JSON; what is checked can be divided.
///
/// # Errors
/// Where it is none.
pub(crate) fn check(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(text).map(drop)
}

/// Keys and values of an object, in order; a key may stand twice. `None` when the text is no object.
pub(crate) fn object(text: &str) -> Option<Vec<(String, &str)>> {
    let mut rest = text.trim_ascii().strip_prefix('{')?.trim_ascii_start();
    let mut found = Vec::new();
    while rest.starts_with('"') {
        let (key, after) = rest.split_at(length(rest));
        let value = after.trim_ascii_start().strip_prefix(':')?.trim_ascii_start();
        let (value, after) = value.split_at(length(value));
        // A key that is no text names no column.
        found.push((serde_json::from_str(key).unwrap_or_else(|_| key.to_owned()), value));
        rest = next(after);
    }
    Some(found)
}

/// Elements of an array. `None` when the text is none.
pub(crate) fn array(text: &str) -> Option<Vec<&str>> {
    let mut rest = text.trim_ascii().strip_prefix('[')?.trim_ascii_start();
    let mut found = Vec::new();
    while !rest.is_empty() && !rest.starts_with(']') {
        let (element, after) = rest.split_at(length(rest));
        found.push(element);
        rest = next(after);
    }
    Some(found)
}

/// How many elements of an array are whole before its first `end` bytes end.
pub(crate) fn elements_before(text: &str, end: usize) -> usize {
    let mut depth = Depth::default();
    let within = text.bytes().take(end);
    within
        .filter(|byte| {
            let separates = depth.inside == 1 && !depth.quoted && *byte == b',';
            depth.see(*byte);
            separates
        })
        .count()
}

/// What follows a comma.
fn next(after: &str) -> &str {
    let after = after.trim_ascii_start();
    after.strip_prefix(',').unwrap_or(after).trim_ascii_start()
}

/// Where a walk over JSON is.
#[derive(Default)]
struct Depth {
    /// Open brackets.
    inside: usize,
    quoted: bool,
    escaped: bool,
}

impl Depth {
    fn see(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            b'{' | b'[' if !self.quoted => self.inside += 1,
            b'}' | b']' if !self.quoted => self.inside = self.inside.saturating_sub(1),
            _ => {}
        }
    }
}

/// Bytes of the value that a text begins with.
fn length(text: &str) -> usize {
    let plain = !text.starts_with(['"', '{', '[']);
    let mut depth = Depth::default();
    for (at, byte) in text.bytes().enumerate() {
        if plain && (byte.is_ascii_whitespace() || matches!(byte, b',' | b'}' | b']' | b':')) {
            return at;
        }
        depth.see(byte);
        if !plain && depth.inside == 0 && !depth.quoted {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_divided_as_they_are_written() {
        let text = r#" { "b" : 12345678901234567890123, "a\n": [1, {"x": "]}\""}], "c":"é,\\" , "b":null } "#;
        check(text).unwrap();
        let expected =
            [("b", "12345678901234567890123"), ("a\n", r#"[1, {"x": "]}\""}]"#), ("c", r#""é,\\""#), ("b", "null")];
        assert_eq!(object(text).unwrap(), expected.map(|(key, value)| (key.to_owned(), value)));
        assert_eq!(array(r#"[1.50,"a,b" , [2,3],{},true]"#).unwrap(), ["1.50", "\"a,b\"", "[2,3]", "{}", "true"]);
        assert_eq!((array("[ ]").unwrap().len(), object("{}").unwrap().len()), (0, 0));
        assert!(object("[1]").is_none() && array("{}").is_none() && array("7").is_none());
    }

    #[test]
    fn whole_elements_are_counted() {
        let text = r#"[{"a": [1, 2]}, "x,y", {"#;
        assert_eq!([0, 10, 16, 24].map(|end| elements_before(text, end)), [0, 0, 1, 2]);
    }
}
