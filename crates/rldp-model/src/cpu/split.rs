//! How the items of a step are divided into micro-batches.

use std::ops::Range;

/// What a micro-batch costs beside its tokens, in tokens: it reads every matrix once more. Measured on SmolLM2-135M.
const OVERHEAD: usize = 32;
/// Divisions that are compared.
const TRIED: usize = 4;

/// Consecutive ranges of items, at least one item each, whose tokens add up to at most `most`, divided so that `workers` that
/// take one after another are done soonest. An item of more tokens than that is a range by itself.
pub(crate) fn split(tokens: &[usize], most: usize, workers: usize) -> Vec<Range<usize>> {
    let total: usize = tokens.iter().sum();
    let fewest = total.div_ceil(most).next_multiple_of(workers).max(1);
    let divided = (0..TRIED).map(|more| divide(tokens, most, total, fewest + more * workers));
    divided.min_by_key(|ranges| finish(tokens, ranges, workers)).unwrap_or_default()
}

/// Ranges of about equal shares, `count` of them unless that takes more than `most` tokens in one.
fn divide(tokens: &[usize], most: usize, total: usize, count: usize) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut sum, mut before) = (Vec::new(), 0, 0, 0);
    for (index, &length) in tokens.iter().enumerate() {
        // The next range begins where the items so far come nearest to their even share.
        let enough = (before + sum + length / 2) * count > total * (ranges.len() + 1);
        if index > start && (sum + length > most || enough) {
            ranges.push(start..index);
            before += sum;
            (start, sum) = (index, 0);
        }
        sum += length;
    }
    if start < tokens.len() {
        ranges.push(start..tokens.len());
    }
    ranges
}

/// When the last worker is done, if each takes the next range as soon as it is free.
fn finish(tokens: &[usize], ranges: &[Range<usize>], workers: usize) -> usize {
    let mut busy = vec![0; workers.max(1)];
    for range in ranges {
        let cost = OVERHEAD + tokens[range.clone()].iter().sum::<usize>();
        if let Some(first) = busy.iter_mut().min() {
            *first += cost;
        }
    }
    busy.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_items_within_the_bound() {
        for workers in 1..5 {
            for count in [0, 1, 2, 7, 33, 400] {
                let tokens: Vec<usize> = (0..count).map(|i| 1 + i * 7919 % 90).collect();
                for most in [1, 64, 500] {
                    let ranges = split(&tokens, most, workers);
                    let items: Vec<usize> = ranges.iter().cloned().flatten().collect();
                    assert_eq!(items, (0..count).collect::<Vec<_>>());
                    let fits =
                        |range: &Range<usize>| range.len() == 1 || tokens[range.clone()].iter().sum::<usize>() <= most;
                    assert!(ranges.iter().all(|range| !range.is_empty() && fits(range)), "{ranges:?}");
                }
            }
        }
    }

    /// 16 items of 128 tokens in ranges of at most 448 are six ranges of two or three items; of two items each they are eight, and
    /// two workers are done together.
    #[test]
    fn workers_are_done_together() {
        let tokens = [128; 16];
        let ranges = split(&tokens, 448, 2);
        assert_eq!(ranges.len(), 8);
        assert_eq!(finish(&tokens, &ranges, 2), 4 * (256 + OVERHEAD));
        // Where the fewest are even, there is no reason for more.
        assert_eq!(split(&tokens, 576, 2).len(), 4);
    }
}
