//! Whether two files share records.

use std::collections::HashSet;

use crate::tokenize::TokenRecord;

/// How many of `others` hold, in their file, just what one of `records` holds in its own. Whatever a tokenizer or a template makes of
/// them, and whoever their unit is, does not count.
///
/// An exact count of private data where one of the two is private: for the person who runs the training, not for release.
pub fn shared_records(records: &[TokenRecord], others: &[TokenRecord]) -> usize {
    let known: HashSet<&[u8; 32]> = records.iter().map(|record| &record.content).collect();
    others.iter().filter(|other| known.contains(&other.content)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(content: u8, unit: Option<&str>) -> TokenRecord {
        let tokens = vec![u32::from(content); 3];
        let unit = unit.map(str::to_owned);
        let scored = std::iter::once(1..3).collect();
        TokenRecord { row: 0, unit, content: [content; 32], tokens, prefix: 0, scored, left_out: 0 }
    }

    #[test]
    fn what_a_record_holds_counts_and_nothing_else() {
        let private = [record(1, Some("a")), record(2, Some("b")), record(2, Some("c"))];
        assert_eq!(shared_records(&private, &[record(3, None), record(4, Some("a"))]), 0);
        assert_eq!(shared_records(&private, &[record(2, None), record(3, None), record(2, Some("z"))]), 2);
        assert_eq!(shared_records(&[], &[record(2, None)]), 0);
    }
}
