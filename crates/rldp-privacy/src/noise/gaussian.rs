//! One draw: a proposal from a strip, accepted or rejected.

use rand::RngCore;

use super::strips::{COLUMN_BITS, OFFSET_BITS, PREFIX_BITS, QUICK_BITS, STRIP_BITS, Strips};

/// More than the quick ratio is off by, in its units: twice its proven bound.
const MARGIN: u64 = 1 << 6;

/// A proposal, cut out of one random word.
///
/// From the highest bit: column (10), ticket (17), sign (1), offset (26), and the first bits of the uniform variable U
/// that acceptance compares with the ratio (10).
struct Proposal {
    strip: usize,
    offset: u64,
    /// All ones for a negative draw, else 0.
    sign: i64,
    prefix: u64,
}

impl Proposal {
    #[inline]
    fn from_word(tables: &Strips, word: u64) -> Self {
        let field = |low: u32, bits: u32| (word >> low) & ((1 << bits) - 1);
        let column = field(64 - STRIP_BITS, STRIP_BITS) as usize;
        let ticket = field(PREFIX_BITS + OFFSET_BITS + 1, COLUMN_BITS) as u32;
        Self {
            strip: tables.strip(column, ticket),
            offset: field(PREFIX_BITS, OFFSET_BITS),
            sign: -(field(PREFIX_BITS + OFFSET_BITS, 1) as i64),
            prefix: field(0, PREFIX_BITS),
        }
    }

    /// k, or −1 − k.
    #[inline]
    fn value(&self) -> i64 {
        (((self.strip as u64) << OFFSET_BITS | self.offset) as i64) ^ self.sign
    }
}

/// ⌊2^32·N⌋ for a standard normal N, up to the distance that [`super::TV_PER_COORDINATE`] bounds.
#[inline]
pub(super) fn draw(tables: &Strips, rng: &mut impl RngCore) -> i64 {
    loop {
        let proposal = Proposal::from_word(tables, rng.next_u64());
        if tables.accepts_surely(proposal.strip, proposal.prefix) || accepts(tables, &proposal, rng) {
            return proposal.value();
        }
    }
}

/// Whether U is below the ratio, with the rest of U's bits: 120 in all.
#[cold]
fn accepts(tables: &Strips, proposal: &Proposal, rng: &mut impl RngCore) -> bool {
    let Proposal { strip, offset, prefix, .. } = *proposal;
    let second = rng.next_u64();
    quick_verdict(tables, strip, offset, prefix, second)
        .unwrap_or_else(|| exact_verdict(tables, strip, offset, prefix, second, rng.next_u64()))
}

/// The verdict where the first 62 bits of U decide it, whatever bits follow.
fn quick_verdict(tables: &Strips, strip: usize, offset: u64, prefix: u64, second: u64) -> Option<bool> {
    let uniform = prefix << (QUICK_BITS - PREFIX_BITS) | second >> (64 - QUICK_BITS + PREFIX_BITS);
    let ratio = tables.quick_ratio(strip, offset);
    if uniform + 1 + MARGIN <= ratio {
        Some(true)
    } else if uniform >= ratio + MARGIN {
        Some(false)
    } else {
        None
    }
}

fn exact_verdict(tables: &Strips, strip: usize, offset: u64, prefix: u64, second: u64, third: u64) -> bool {
    let uniform = u128::from(prefix) << 110 | u128::from(second) << 46 | u128::from(third) >> 18;
    uniform < tables.ratio(strip, offset)
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::noise::strips::TABLES;

    /// Words whose U lies within `distance` of the ratio, in units of 2^-74, on both sides.
    fn near_boundary(rng: &mut ChaCha12Rng, distance: i128) -> (usize, u64, u64, u64) {
        // Strips up to 6 deviations have ratios that 74 bits resolve.
        let (strip, offset) = (rng.random_range(0..384), rng.random_range(0..1 << OFFSET_BITS));
        let ratio = (TABLES.ratio(strip, offset) >> 46) as i128;
        let uniform = (ratio + rng.random_range(-distance..=distance)).clamp(0, (1 << 74) - 1);
        (strip, offset, (uniform >> 64) as u64, uniform as u64)
    }

    #[test]
    fn quick_verdicts_agree_with_the_exact_ones_near_the_boundary() {
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        let (mut quick, mut open) = (0, 0);
        for round in 0..600_000_u32 {
            // Distances from 1 to 2^24 units of 2^-74: the margin is 2^18.
            let (strip, offset, prefix, second) = near_boundary(&mut rng, 1 << (round % 25));
            match quick_verdict(&TABLES, strip, offset, prefix, second) {
                None => open += 1,
                Some(verdict) => {
                    quick += 1;
                    for third in [0, u64::MAX] {
                        assert_eq!(verdict, exact_verdict(&TABLES, strip, offset, prefix, second, third));
                    }
                }
            }
        }
        assert!(quick > 50_000 && open > 50_000, "{quick} quick, {open} open");
    }

    #[test]
    fn sure_acceptance_agrees_with_the_exact_verdict() {
        let mut rng = ChaCha12Rng::seed_from_u64(8);
        for strip in 0..1024 {
            for _ in 0..50 {
                let (offset, prefix) = (rng.random_range(0..1 << OFFSET_BITS), rng.random_range(0..1 << PREFIX_BITS));
                if TABLES.accepts_surely(strip, prefix) {
                    assert!(exact_verdict(&TABLES, strip, offset, prefix, u64::MAX, u64::MAX));
                }
            }
        }
    }

    #[test]
    fn the_two_signs_of_a_word_are_mirror_images() {
        let mut rng = ChaCha12Rng::seed_from_u64(9);
        for _ in 0..1000 {
            let word: u64 = rng.random();
            let (one, other) = (word, word ^ 1 << (PREFIX_BITS + OFFSET_BITS));
            let [one, other] = [one, other].map(|word| Proposal::from_word(&TABLES, word).value());
            assert_eq!(one, -1 - other);
        }
    }
}
