//! When two ids in the unit column name the same person.
//!
//! The guarantee is for one unit at a time: a person under two ids has two budgets, and nothing in the numbers says so. Ids that
//! are numbers of one value are therefore one id, and ids that differ in a way in which people and spreadsheets make mistakes are
//! refused, unless the person who runs the training says what is meant.

use std::{collections::HashMap, fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use crate::error::DataError;

/// How ids are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitIds {
    /// Numbers by value, other ids as written; ids that differ only in blanks, case, leading zeros or Unicode form are refused.
    #[default]
    Checked,
    /// Every spelling is an id of its own.
    AsWritten,
    /// Blanks around an id do not count; numbers by value.
    Trimmed,
    /// Neither blanks nor case, leading zeros or Unicode form count; numbers by value.
    Folded,
}

impl UnitIds {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Checked, Self::AsWritten, Self::Trimmed, Self::Folded];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::AsWritten => "as-written",
            Self::Trimmed => "trimmed",
            Self::Folded => "folded",
        }
    }

    /// What it says, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Checked => "Numbers by value, others as written; those that differ by a slip are refused",
            Self::AsWritten => "Every spelling is a unit",
            Self::Trimmed => "Without the blanks around them; numbers by value",
            Self::Folded => "Without blanks, case, leading zeros and Unicode form; numbers by value",
        }
    }

    /// The rule in words that may be released.
    pub fn description(self) -> &'static str {
        match self {
            Self::Checked => {
                "ids are compared as written and numbers by value, and no two of them differ only in blanks, case, leading zeros or \
                 Unicode form"
            }
            Self::AsWritten => "ids are compared as written: every spelling is a unit of its own",
            Self::Trimmed => "ids are compared without the blanks around them, numbers by value",
            Self::Folded => "ids are compared without blanks, case, leading zeros and Unicode form, numbers by value",
        }
    }

    /// The id that a spelling stands for; `number` says that the file calls it a number.
    fn id(self, written: &str, number: bool) -> String {
        match self {
            Self::AsWritten => written.to_owned(),
            Self::Checked => by_value(written, number),
            Self::Trimmed => by_value(written.trim_matches(is_blank), number),
            Self::Folded => folded(written, number),
        }
    }
}

impl fmt::Display for UnitIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for UnitIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == text);
        found.ok_or_else(|| format!("unit ids are `{text}`, but must be checked, as-written, trimmed or folded"))
    }
}

/// All ids of a run so far, over all its files.
#[derive(Default)]
pub struct IdBook {
    rule: UnitIds,
    /// By folded id: the id that has it, and where it stood first.
    seen: HashMap<String, (String, String)>,
}

impl IdBook {
    /// An empty book under a rule.
    pub fn new(rule: UnitIds) -> Self {
        Self { rule, seen: HashMap::new() }
    }

    /// The id of a spelling in `row` of `path`.
    ///
    /// # Errors
    /// When it is blank, or differs from an earlier one only in a way that may be a mistake. The message shows no id.
    pub(crate) fn id(&mut self, path: &Path, row: usize, written: &str, number: bool) -> Result<String, DataError> {
        let refuse = |reason: String| DataError::Row { path: path.to_owned(), row, reason };
        if written.trim_matches(is_blank).is_empty() {
            return Err(refuse("the unit column is empty; every record needs a unit".into()));
        }
        let id = self.rule.id(written, number);
        if self.rule != UnitIds::Checked {
            return Ok(id);
        }
        let place = || format!("row {row} of {}", path.display());
        let (first, at) = self.seen.entry(folded(written, number)).or_insert_with(|| (id.clone(), place()));
        if *first == id {
            return Ok(id);
        }
        let reason = format!(
            "its unit and that of {at} differ only in {}: they would be two units with a budget each, although they may be one \
             person. Use --unit-ids {} if they are one, or --unit-ids as-written if they are two",
            difference(first, &id),
            if id.trim_matches(is_blank) == first.trim_matches(is_blank) { "trimmed" } else { "folded" }
        );
        Err(refuse(reason))
    }
}

/// In what two ids with the same fold differ.
fn difference(a: &str, b: &str) -> &'static str {
    let bare = |text: &str| text.chars().filter(|c| !is_blank(*c)).collect::<String>();
    let form = |text: &str| text.nfkc().collect::<String>();
    let case = |text: &str| text.to_uppercase().to_lowercase();
    if bare(a) == bare(b) {
        "blanks"
    } else if form(&bare(a)) == form(&bare(b)) {
        "Unicode form"
    } else if case(&form(&bare(a))) == case(&form(&bare(b))) {
        "case"
    } else if without_zeros(&bare(a)) == without_zeros(&bare(b)) {
        "leading zeros"
    } else {
        "how a number is written, or in several of blanks, case, leading zeros and Unicode form"
    }
}

/// White space, and characters that show nothing.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// What is left of an id without blanks, case, leading zeros and Unicode form.
fn folded(written: &str, number: bool) -> String {
    let plain: String = written.nfkc().filter(|c| !is_blank(*c)).collect();
    // Upper case first, so that letters of two capitals and final sigma fold too.
    let plain = plain.to_uppercase().to_lowercase();
    // Folding may compose anew.
    let plain: String = plain.nfkc().collect();
    let bare = without_zeros(&plain);
    decimal(bare, true).unwrap_or_else(|| if number { by_value(written, true) } else { bare.to_owned() })
}

/// Without zeros before another letter or digit.
fn without_zeros(text: &str) -> &str {
    let bare = text.trim_start_matches('0');
    let zeros = text.len() - bare.len();
    if bare.starts_with(char::is_alphanumeric) { bare } else { &text[zeros.saturating_sub(1)..] }
}

/// Numbers in one spelling for each value, other ids as they are. Text is a number when it is one without leading zeros and
/// exponent: `1E5` and `007` may be names.
fn by_value(written: &str, number: bool) -> String {
    decimal(written, number).unwrap_or_else(|| written.to_owned())
}

/// A decimal number of any length in one spelling for each value: digits, or digits and an exponent.
fn decimal(text: &str, any: bool) -> Option<String> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let rest = if any { rest.strip_prefix('+').unwrap_or(rest) } else { rest };
    let (mantissa, exponent) = match rest.find(['e', 'E']).filter(|_| any) {
        Some(at) => (&rest[..at], rest[at + 1..].parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || !digits_only(whole) || !digits_only(fraction) || (padded && !any) || mantissa.ends_with('.')
    {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let kept = significant.trim_end_matches('0');
    if kept.is_empty() {
        return Some("0".into());
    }
    let exponent = exponent.checked_sub(fraction.len() as i64)?.checked_add((significant.len() - kept.len()) as i64)?;
    let sign = if negative { "-" } else { "" };
    Some(match usize::try_from(exponent) {
        Ok(zeros) if zeros <= MOST_ZEROS => format!("{sign}{kept}{}", "0".repeat(zeros)),
        _ => format!("{sign}{kept}e{exponent}"),
    })
}

/// Longer runs of zeros are written as an exponent.
const MOST_ZEROS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(rule: UnitIds, written: &[&str]) -> Result<Vec<String>, String> {
        let mut book = IdBook::new(rule);
        let id = |(row, text): (usize, &&str)| book.id(Path::new("f.csv"), row + 1, text, false);
        written.iter().enumerate().map(id).collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_of_one_value_are_one_id_of_any_length() {
        for same in [
            ["7", "7.0"],
            ["-0", "0"],
            ["0.50", "0.5"],
            ["12345678901234567890123", "12345678901234567890123.00"],
            ["100", "100.000"],
        ] {
            let found = ids(UnitIds::Checked, &same).unwrap();
            assert_eq!(found[0], found[1], "{same:?}");
        }
        let apart =
            ids(UnitIds::Checked, &["12345678901234567890123", "12345678901234567890124", "A1", "A10"]).unwrap();
        assert_eq!(apart.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        for (a, b) in [("1", "1.0"), ("1000", "1e3"), ("1E+2", "100.0"), ("0.001", "1e-3")] {
            assert_eq!(by_value(a, true), by_value(b, true), "{a} {b} in JSON");
        }
        assert_eq!(decimal("1e400", true).unwrap(), "1e400");
        assert_eq!(decimal("1e99999999999999999999", true), None);
    }

    #[test]
    fn ids_that_differ_by_a_slip_are_refused_with_the_way_out() {
        for (pair, what) in [
            ([" 7", "7"], "blanks"),
            (["7\u{a0}", "7"], "blanks"),
            (["P 1", "P1"], "blanks"),
            (["01", "1"], "leading zeros"),
            (["00A1", "A1"], "leading zeros"),
            (["p1", "P1"], "case"),
            (["Straße", "STRASSE"], "case"),
            (["Zo\u{eb}", "Zoe\u{308}"], "Unicode form"),
            (["\u{ff17}", "7"], "Unicode form"),
            (["1e3", "1000"], "how a number is written"),
        ] {
            let refused = ids(UnitIds::Checked, &pair).unwrap_err();
            assert!(refused.contains(what) && refused.contains("--unit-ids"), "{pair:?}: {refused}");
            assert!(refused.starts_with("f.csv: row 2") && refused.contains("row 1 of f.csv"), "{refused}");
            let distinct = |rule| ids(rule, &pair).unwrap()[0] != ids(rule, &pair).unwrap()[1];
            assert!(!distinct(UnitIds::Folded) && distinct(UnitIds::AsWritten), "{pair:?}");
        }
        assert_eq!(
            ids(UnitIds::Trimmed, &[" 7", "7.0", "7\u{a0}", "p", "P", "07"]).unwrap(),
            ["7", "7", "7", "p", "P", "07"]
        );
        for other in [["P1", "P2"], ["1.5", "15"], ["0", "00A"], ["10", "1"], ["-1", "1"]] {
            let found = ids(UnitIds::Checked, &other).unwrap();
            assert_ne!(found[0], found[1]);
        }
        assert!(ids(UnitIds::AsWritten, &["\u{a0} "]).unwrap_err().contains("empty"));
    }

    #[test]
    fn zeros_alone_are_an_id() {
        for text in ["0", "00", "000"] {
            assert_eq!(folded(text, false), "0");
        }
        assert_eq!(
            [without_zeros("00"), without_zeros("0-1"), without_zeros("007"), without_zeros("a0")],
            ["0", "0-1", "7", "a0"]
        );
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for rule in UnitIds::ALL {
            assert_eq!(rule.to_string().parse(), Ok(rule));
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.to_string());
        }
        assert!("loose".parse::<UnitIds>().is_err());
    }
}
