//! Records cut into blocks: what is scored stays, with as much of the end of its context as fits.

use std::ops::Range;

use crate::tokenize::TokenRecord;

/// Of a block that begins inside a record, the part that is context at least: one in so many tokens.
const CONTEXT_SHARE: usize = 4;

/// A piece of a record of at most the block size, whose scored tokens carry `weight`.
#[derive(Clone)]
pub struct Block {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// First scored position.
    pub scored_from: usize,
    /// Positions after the first scored one that are context, in order.
    pub skipped: Vec<Range<usize>>,
    /// Factor on each scored token's loss.
    pub weight: f32,
}

impl Block {
    /// The scored positions.
    pub fn scored(&self) -> impl Iterator<Item = usize> + '_ {
        (self.scored_from..self.tokens.len()).filter(|at| !self.skipped.iter().any(|gap| gap.contains(at)))
    }
}

impl TokenRecord {
    /// Whether a block of `max_length` tokens is too short for the record.
    pub fn is_cut(&self, max_length: usize) -> bool {
        self.last_scored() > max_length.max(2)
    }

    /// Blocks of at most `max_length` tokens, in which every scored token is scored exactly once. A record that fits is one block,
    /// whatever is scored of it. Of a longer one context is cut from its start, but for the tokens that the tokenizer puts before every
    /// text; what is scored and does not fit goes on in a further block, a quarter of which repeats what came before.
    pub fn blocks(&self, max_length: usize) -> Vec<Block> {
        let (length, end) = (max_length.max(2), self.last_scored());
        let prefix = if self.prefix + 2 < length { self.prefix } else { 0 };
        let room = length - prefix;
        let context = (length / CONTEXT_SHARE).clamp(1, room - 1);
        let mut blocks = Vec::new();
        let mut next = self.first_scored(0);
        while let Some(first) = next {
            // From its start the record brings its own prefix.
            let from_start = end.min(length);
            let reach = if first <= context + prefix { from_start } else { (first - context + room).min(end) };
            let last = self.end_of_block(first, reach, room - context);
            let start = if last <= length { 0 } else { last - room };
            blocks.push(self.block(start, first..last, prefix));
            next = self.first_scored(last);
        }
        blocks
    }

    /// Where a block that may reach to `reach` ends: after a scored token, and before a passage that the next block can hold whole.
    fn end_of_block(&self, first: usize, reach: usize, most: usize) -> usize {
        let mut within = self.scored.iter().filter(|range| range.start < reach && range.end > first);
        let Some(last) = within.next_back() else { return reach };
        if last.end <= reach {
            return last.end;
        }
        let before = self.scored.iter().rfind(|range| range.end <= last.start && range.end > first);
        match before {
            Some(before) if last.end - last.start <= most => before.end,
            _ => reach,
        }
    }

    /// The tokens from `start` on, of which those in `scored` count that the record scores.
    fn block(&self, start: usize, scored: Range<usize>, prefix: usize) -> Block {
        let prefix = if start == 0 { 0 } else { prefix };
        let mut tokens = self.tokens[..prefix].to_vec();
        tokens.extend_from_slice(&self.tokens[start..scored.end]);
        let place = |at: usize| at - start + prefix;
        let mut skipped = Vec::new();
        let mut at = scored.start;
        for range in &self.scored {
            let range = range.start.max(at)..range.end.min(scored.end);
            if range.start >= range.end {
                continue;
            }
            if range.start > at {
                skipped.push(place(at)..place(range.start));
            }
            at = range.end;
        }
        Block { scored_from: place(scored.start), tokens, skipped, weight: 1.0 }
    }

    /// The first scored position from `from` on; position 0 has no context and is never scored.
    fn first_scored(&self, from: usize) -> Option<usize> {
        let from = from.max(1);
        let range = self.scored.iter().find(|range| range.end > from && range.end > range.start)?;
        Some(range.start.max(from))
    }

    /// One after the last scored position.
    fn last_scored(&self) -> usize {
        self.scored.iter().filter(|range| range.end > range.start.max(1)).map(|range| range.end).max().unwrap_or(0)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges are what is tested")]
mod tests {
    use super::*;

    fn record(length: u32, prefix: usize, scored: Vec<Range<usize>>) -> TokenRecord {
        TokenRecord { row: 0, unit: None, content: [0; 32], tokens: (0..length).collect(), prefix, scored, left_out: 0 }
    }

    fn scored(record: &TokenRecord, most: usize) -> Vec<u32> {
        record
            .blocks(most)
            .iter()
            .flat_map(|block| block.scored().map(|at| block.tokens[at]).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn every_scored_token_is_scored_once_in_order_and_after_its_own_context() {
        let cases = (0..40_u32).flat_map(|length| (0..9).map(move |from| (length, vec![from..length as usize])));
        let turns = (12..40_u32).flat_map(|length| {
            (1..4).map(move |size| {
                (length, (0..length as usize / 5).map(|turn| turn * 5 + 2..turn * 5 + 2 + size).collect())
            })
        });
        for (length, ranges) in cases.chain(turns) {
            for prefix in 0..3 {
                for most in 2..24 {
                    let record = record(length, prefix.min(length as usize), ranges.clone());
                    let expected: Vec<u32> =
                        ranges.iter().flat_map(|range| range.start.max(1) as u32..range.end as u32).collect();
                    assert_eq!(
                        scored(&record, most),
                        expected,
                        "{length} tokens, {ranges:?}, prefix {prefix}, blocks of {most}"
                    );
                    for block in record.blocks(most) {
                        assert!(block.tokens.len() <= most && block.scored_from >= 1);
                        let own = &block.tokens[block.tokens.len().min(prefix)..];
                        assert!(own.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole in {:?}", block.tokens);
                    }
                }
            }
        }
    }

    #[test]
    fn a_completion_keeps_the_end_of_its_prompt_and_the_first_token() {
        let long = record(140, 1, vec![130..140]);
        let [block] = &long.blocks(64)[..] else { panic!("one block") };
        assert_eq!((block.tokens.len(), block.tokens[0], block.tokens[1]), (64, 0, 140 - 63));
        assert_eq!(block.scored().count(), 10);
        assert!(long.is_cut(139) && !long.is_cut(140));
        // A completion longer than a block: a quarter of every block is context.
        let longer = record(300, 1, vec![130..300]);
        for block in longer.blocks(64) {
            assert!(block.scored_from > 64 / CONTEXT_SHARE, "{}", block.scored_from);
        }
    }

    #[test]
    fn a_conversation_that_fits_is_one_block_and_a_longer_one_is_cut_between_answers() {
        let chat = record(40, 1, vec![5..10, 15..20, 25..30, 35..40]);
        let [block] = &chat.blocks(40)[..] else { panic!("one block") };
        assert_eq!((block.scored_from, &block.skipped[..]), (5, &[10..15, 20..25, 30..35][..]));
        let blocks = chat.blocks(24);
        let answers: Vec<usize> = blocks.iter().map(|block| block.scored().count()).collect();
        assert_eq!(answers, [10, 10], "no answer is cut in two");
        // Tokens after the last answer are of no use.
        assert_eq!(record(40, 0, vec![5..10]).blocks(40)[0].tokens.len(), 10);
        assert!(record(5, 0, Vec::new()).blocks(8).is_empty());
    }

    /// What long conversations cost grows with their tokens: a block repeats at most what its context takes.
    #[test]
    fn cost_grows_with_tokens_and_not_with_turns() {
        let turns = |count: usize| (0..count).map(|turn| turn * 10 + 5..turn * 10 + 10).collect::<Vec<_>>();
        for count in [10, 100, 800] {
            let chat = record(count as u32 * 10, 1, turns(count));
            let passed: usize = chat.blocks(128).iter().map(|block| block.tokens.len()).sum();
            assert!(passed < 2 * chat.tokens.len(), "{passed} of {}", chat.tokens.len());
        }
    }
}
