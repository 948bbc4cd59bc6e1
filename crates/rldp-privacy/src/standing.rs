//! How far a ledger is, without verifying it.

use serde_json::Value;

/// How far a run is, by its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no more than a claim: nothing was charged.
    Fresh,
    /// Budget was charged, and more may follow.
    Charged,
    /// The run ended; no step follows.
    Closed,
}

impl Standing {
    /// Of the text of a ledger.
    ///
    /// Whatever stands after the claim counts as charged, also a line that cannot be read: to take a run for fresh that is not would
    /// refund its budget. Whether the lines are those of a run is for [`crate::verify()`] to say.
    pub fn of(ledger: &str) -> Self {
        let closes = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|entry| entry["kind"] == "close");
        match ledger.lines().count() {
            0 | 1 => Self::Fresh,
            _ if ledger.lines().any(closes) => Self::Closed,
            _ => Self::Charged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_counts_as_charged() {
        let claim = "{\"kind\":\"open\",\"reason\":\"\\\"kind\\\":\\\"close\\\"\"}\n";
        let of = |rest: &str| Standing::of(&format!("{claim}{rest}"));
        assert_eq!(Standing::of(""), Standing::Fresh);
        assert_eq!(of(""), Standing::Fresh);
        assert_eq!(of("{\"ki"), Standing::Charged);
        assert_eq!(of("{\"kind\":\"charge\"}\n"), Standing::Charged);
        assert_eq!(of("{\"kind\":\"charge\"}\n{\"kind\": \"close\"}\n"), Standing::Closed);
    }
}
