//! What blocks leave out of records, in words for the person at the terminal.
//!
//! Counts of private records are exact: they belong on standard error, and into no file of a run.

use rldp_data::TokenRecord;

/// Records that a block is too short for, and other things that a person should know of before a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    records: usize,
    /// Records longer than a block.
    cut: usize,
    /// Records whose text brings the tokens that the tokenizer adds.
    doubled: usize,
    /// Conversations with an answer that is context alone.
    left_out: usize,
    max_length: usize,
}

impl Cuts {
    /// Counts over `records` in blocks of `max_length` tokens.
    pub fn of(records: &[TokenRecord], max_length: usize) -> Self {
        let count = |holds: &dyn Fn(&TokenRecord) -> bool| records.iter().filter(|record| holds(record)).count();
        Self {
            records: records.len(),
            cut: count(&|record| record.is_cut(max_length)),
            doubled: count(&TokenRecord::begins_twice),
            left_out: count(&|record| record.left_out > 0),
            max_length,
        }
    }

    /// What there is to say; `label` names the records.
    pub fn words(&self, label: &str) -> Vec<String> {
        let Self { records, cut, doubled, left_out, max_length } = *self;
        let mut words = Vec::new();
        if cut > 0 {
            words.push(format!(
                "{cut} of {records} {label} are longer than {max_length} tokens: prompts and earlier turns lose their start, and what is \
                 scored and does not fit goes on in a further block; --max-length sets the length"
            ));
        }
        if doubled > 0 {
            words.push(format!(
                "{doubled} of {records} {label} begin with the special token that the tokenizer puts before every text, so that it stands \
                 there twice; remove it from the text"
            ));
        }
        if left_out > 0 {
            words.push(format!(
                "in {left_out} of {records} {label} earlier answers are not scored, for the model's chat template renders them otherwise once \
                 others follow; the last answer is. Give each answer a record of its own to score them all"
            ));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_said_once_for_all_records() {
        let record = |tokens: Vec<u32>, prefix, left_out| {
            let scored = std::iter::once(1..tokens.len()).collect();
            TokenRecord { row: 0, unit: None, content: [0; 32], tokens, prefix, scored, left_out }
        };
        let records = [record(vec![1, 5, 6], 1, 0), record(vec![1, 1, 5, 6], 1, 0), record(vec![1; 9], 0, 2)];
        let words = Cuts::of(&records, 8).words("records");
        assert_eq!(words.len(), 3);
        assert!(words[0].starts_with("1 of 3 records are longer than 8 tokens"), "{words:?}");
        assert!(words[1].starts_with("1 of 3 records begin with the special token"), "{words:?}");
        assert!(words[2].starts_with("in 1 of 3 records earlier answers"), "{words:?}");
        assert!(Cuts::of(&records[..1], 8).words("records").is_empty());
    }
}
