//! `{% generation %}` … `{% endgeneration %}`: a template's own word on what the assistant says.

use std::ops::Range;

/// The function that a block of generation calls.
pub(super) const FUNCTION: &str = "__rldp_generation__";
/// Around what is marked, while marks are asked for: characters that no text holds.
pub(super) const MARKS: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];

/// The template with its blocks of generation as calls, which see and hide the same names; and whether it has any.
pub(super) fn as_calls(source: &str) -> (String, bool) {
    let mut out = String::with_capacity(source.len());
    let (mut rest, mut found) = (source, false);
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else { break };
        let inner = &tag[2..end];
        let word = inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']);
        let replaced = match word.trim() {
            "generation" => Some(format!(" call {FUNCTION}() ")),
            "endgeneration" => Some(" endcall ".to_owned()),
            _ => None,
        };
        if let Some(replaced) = replaced {
            found = true;
            let sign = |text: Option<char>| text.filter(|c| "-+".contains(*c)).map(String::from).unwrap_or_default();
            let (open, close) = (sign(inner.chars().next()), sign(inner.chars().next_back()));
            out.extend(["{%", &open, &replaced, &close, "%}"]);
            rest = &tag[end + 2..];
        } else {
            // A tag may hold `%}` in a string: only its head is passed over.
            out.push_str("{%");
            rest = &tag[2..];
        }
    }
    out.push_str(rest);
    (out, found)
}

/// What stands between marks, and the text without them; `None` when marks are not in pairs.
pub(super) fn marked(text: &str) -> Option<(String, Vec<Range<usize>>)> {
    let (mut plain, mut ranges) = (String::with_capacity(text.len()), Vec::new());
    let mut open = None;
    for c in text.chars() {
        match (c, open) {
            (c, None) if c == MARKS[0] => open = Some(plain.len()),
            (c, Some(start)) if c == MARKS[1] => {
                ranges.push(start..plain.len());
                open = None;
            }
            (c, _) if MARKS.contains(&c) => return None,
            (c, _) => plain.push(c),
        }
    }
    open.is_none().then_some((plain, ranges))
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges are what is tested")]
mod tests {
    use super::*;

    #[test]
    fn tags_become_calls_and_marks_become_ranges() {
        let (source, found) =
            as_calls("a{%- generation -%}{{ x }}{% endgeneration +%}{% if '%}' %}{%generation%}{% endif %}");
        assert!(found);
        assert_eq!(
            source,
            "a{%- call __rldp_generation__() -%}{{ x }}{% endcall +%}{% if '%}' %}{% call __rldp_generation__() %}{% endif %}"
        );
        assert!(!as_calls("{% set generation = 1 %}").1);
        let [open, close] = MARKS;
        assert_eq!(marked(&format!("a{open}bé{close}c")), Some(("abéc".into(), vec![1..4])));
        assert_eq!(marked(&format!("a{open}b")), None);
    }
}
