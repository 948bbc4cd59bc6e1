//! The tables of the sampler: strips under the bell curve, and how often each is proposed.
//!
//! Strip i is the 2^26 integers k with i/64 ≤ k/2^32 < (i + 1)/64, for i below 2^10: magnitudes up to 16 deviations.
//! It is proposed with probability a_i/2^27 for integers a_i that sum to 2^27, by the alias method in integers, hence
//! exactly; inside the strip k is uniform. A proposal is accepted with probability
//!
//! ```text
//! r(k) = (C/a_i) · e^(-t²/2) · (1 + (t² − 1)/(24·2^64)),    t = (k + 1/2)/2^32,
//! ```
//!
//! for one integer C, and a_i is so large that r(k) ≤ 1. Accepted k thus have probability proportional to
//! e^(-t²/2)·(1 + …), whatever rounding went into the a_i: they decide how many proposals are wasted (1 in 130), and
//! nothing else.

use std::sync::LazyLock;

use super::fixed::{FRACTION, ONE, exp_minus, mul, scale};

/// log2 of the number of strips, which is also the number of columns of the alias table.
pub(super) const STRIP_BITS: u32 = 10;
/// log2 of the integers in a strip.
pub(super) const OFFSET_BITS: u32 = 26;
/// log2 of the sum of proposals in a column.
pub(super) const COLUMN_BITS: u32 = 17;
/// Leading bits of the acceptance variable that come with a proposal.
pub(super) const PREFIX_BITS: u32 = 10;

const STRIPS: usize = 1 << STRIP_BITS;
const PROPOSALS: u64 = 1 << (STRIP_BITS + COLUMN_BITS);
const COLUMN: u64 = 1 << COLUMN_BITS;

/// 1 in the units of [`Strips::quick_ratio`].
const QUICK_ONE: u64 = 1 << QUICK_BITS;
pub(super) const QUICK_BITS: u32 = 62;
/// Terms of Taylor's series in `quick_ratio`.
const QUICK_TERMS: usize = 13;
/// 1/n.
const RECIPROCALS: [u64; QUICK_TERMS + 1] = {
    let mut table = [QUICK_ONE; QUICK_TERMS + 1];
    let mut n = 1;
    while n <= QUICK_TERMS {
        table[n] = QUICK_ONE / n as u64;
        n += 1;
    }
    table
};

/// Tables of the proposal and acceptance.
pub(super) struct Strips {
    /// For each column of the alias table: own part of its 2^17 proposals, shifted by `STRIP_BITS`, plus the strip that
    /// has the rest.
    columns: Box<[u32; STRIPS]>,
    /// For each strip: a proposal whose prefix is below is accepted, wherever in the strip it lies.
    surely: Box<[u16; STRIPS]>,
    /// (C/a_i)·e^(-(i/64)²/2), off by at most (C/a_i)·2^8 + 1 units.
    height: Box<[u128; STRIPS]>,
}

/// The tables, computed when they are first needed.
pub(super) static TABLES: LazyLock<Strips> = LazyLock::new(Strips::build);

impl Strips {
    fn build() -> Self {
        let bell = bell();
        let (constant, proposals) = proposals(&bell);
        let height = boxed(|i| scale(bell[i], constant, u128::from(proposals[i])));
        let mut tables = Self { columns: alias_columns(&proposals), surely: boxed(|_| 0), height };
        tables.surely = boxed(|i| {
            // Exact ratios fall along a strip. Computed ones share the height's error, and differ by the others.
            let least = tables.ratio(i, (1 << OFFSET_BITS) - 1).saturating_sub(1 << 10);
            (least >> (FRACTION - PREFIX_BITS)) as u16
        });
        tables
    }

    /// The strip that the column's proposal number `ticket` (below 2^17) belongs to.
    #[inline]
    pub(super) fn strip(&self, column: usize, ticket: u32) -> usize {
        let entry = self.columns[column];
        if ticket < entry >> STRIP_BITS { column } else { entry as usize % STRIPS }
    }

    /// Whether the prefix alone decides for acceptance.
    #[inline]
    pub(super) fn accepts_surely(&self, strip: usize, prefix: u64) -> bool {
        prefix < u64::from(self.surely[strip])
    }

    /// r(k) in units of 2^-120.
    ///
    /// **Error.** (C/a_i)·2^8 + 1 units from the height, 3 from the exponential, 1 from their product, and 1 from the
    /// last factor, whose division floors once more: at most (C/a_i)·2^8 + 7.
    pub(super) fn ratio(&self, strip: usize, offset: u64) -> u128 {
        let odd = u128::from(2 * offset + 1);
        let smooth = mul(self.height[strip], exp_minus(fall(strip, odd) << 53));
        // (t² − 1)·2^66, exactly.
        let (square, one) = (((strip as u128) << 27 | odd).pow(2), 1 << 66);
        let change = mul(smooth, square.abs_diff(one) / (24 << 10));
        if square >= one { smooth + change } else { smooth - change }
    }

    /// r(k) in units of 2^-62, off by at most 2^5 of them.
    ///
    /// **Error.** The exponential is off by at most 3 from Horner's rule (9/4 a step, errors before it times 1/4), 1 from
    /// flooring its argument and 1 from the series' remainder (1/4)^14/14! < 2^-64; the height by 1, the product by 1,
    /// and the factor that is left out is at most 1 + 11·2^-64, 3 more. The errors of [`Self::ratio`] are far smaller.
    pub(super) fn quick_ratio(&self, strip: usize, offset: u64) -> u64 {
        let argument = (fall(strip, u128::from(2 * offset + 1)) >> 5) as u64;
        let exponential = RECIPROCALS[1..]
            .iter()
            .rev()
            .fold(QUICK_ONE, |tail, &reciprocal| QUICK_ONE - quick_mul(quick_mul(argument, tail), reciprocal));
        quick_mul((self.height[strip] >> (FRACTION - QUICK_BITS)) as u64, exponential)
    }
}

/// t²/2 − (i/64)²/2 in units of 2^-67, exactly: at most 1/4. `odd` is twice the offset plus 1, so that
/// t = (i·2^27 + odd)/2^33.
fn fall(strip: usize, odd: u128) -> u128 {
    odd * (((strip as u128) << 28) + odd)
}

fn quick_mul(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> QUICK_BITS) as u64
}

/// ⌊bell·constant⌋ as an integer, for a constant below 2^24.
fn floor_product(bell: u128, constant: u128) -> u128 {
    let (high, low) = (bell >> 40, bell & ((1 << 40) - 1));
    (high * constant + ((low * constant) >> 40)) >> 80
}

/// e^(-(i/64)²/2) = e^(-i²/2^13), off by at most 2^8 units: the product over the binary digits b of i² of e^(-2^b/2^13).
///
/// Those powers are off by at most 3 units up to b = 11, where the series serves; squaring doubles an error, times a
/// number below 0.78, and adds 1: at most 8 units each. At most 20 factors give at most 20·9.
fn bell() -> [u128; STRIPS] {
    let mut powers = [0; 2 * STRIP_BITS as usize];
    for b in 0..powers.len() {
        powers[b] = if b <= 11 { exp_minus(ONE >> (13 - b)) } else { mul(powers[b - 1], powers[b - 1]) };
    }
    std::array::from_fn(|i| {
        let digits = (0..powers.len()).filter(|b| (i * i) >> b & 1 == 1);
        digits.fold(ONE, |product, b| mul(product, powers[b]))
    })
}

/// C and the a_i: C·e^(-(i/64)²/2) rounded up, and what is left of 2^27 to strip 0.
fn proposals(bell: &[u128; STRIPS]) -> (u128, Box<[u64; STRIPS]>) {
    // 2^27 less what rounding up can add, over the sum of the bell's values.
    let constant = ((u128::from(PROPOSALS) - STRIPS as u128) << 100) / ((bell.iter().sum::<u128>() >> 20) + 1);
    let mut proposals = boxed(|i| floor_product(bell[i], constant) as u64 + 1);
    proposals[0] += PROPOSALS - proposals.iter().sum::<u64>();
    (constant, proposals)
}

/// The alias table of integer proposals that sum to 2^17 a column: every strip keeps exactly its count.
fn alias_columns(proposals: &[u64; STRIPS]) -> Box<[u32; STRIPS]> {
    let mut left = *proposals;
    let mut columns = boxed(|i| ((COLUMN as u32) << STRIP_BITS) | i as u32);
    let (mut short, mut long): (Vec<usize>, Vec<usize>) = (0..STRIPS).partition(|&i| left[i] < COLUMN);
    while let (Some(&donor), Some(poor)) = (long.last(), short.pop()) {
        columns[poor] = ((left[poor] as u32) << STRIP_BITS) | donor as u32;
        left[donor] -= COLUMN - left[poor];
        if left[donor] < COLUMN {
            long.pop();
            short.push(donor);
        }
    }
    columns
}

fn boxed<T: Copy>(entry: impl FnMut(usize) -> T) -> Box<[T; STRIPS]> {
    Box::new(std::array::from_fn(entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::fixed::tests::decimal;

    const LAST: u64 = (1 << OFFSET_BITS) - 1;

    #[test]
    fn the_alias_table_gives_every_strip_exactly_its_proposals() {
        let mut counts = vec![0_u64; STRIPS];
        for (column, entry) in TABLES.columns.iter().enumerate() {
            let own = u64::from(entry >> STRIP_BITS);
            counts[column] += own;
            counts[*entry as usize % STRIPS] += COLUMN - own;
        }
        assert_eq!(counts, proposals(&bell()).1.to_vec());
        assert_eq!(counts.iter().sum::<u64>(), PROPOSALS);
    }

    #[test]
    fn ratios_are_at_most_one_and_fall_along_a_strip() {
        for strip in 0..STRIPS {
            let ratios: Vec<u128> = [0, LAST / 3, LAST / 2, LAST].map(|offset| TABLES.ratio(strip, offset)).to_vec();
            assert!(ratios[0] <= ONE, "strip {strip}");
            assert!(ratios.is_sorted_by(|a, b| a >= b), "strip {strip}");
            assert!(u128::from(TABLES.surely[strip]) << (FRACTION - PREFIX_BITS) <= ratios[3], "strip {strip}");
        }
    }

    /// What the whole construction is about: the probability that (strip, offset) is proposed and accepted, over C, is
    /// the Gaussian's mass in that cell. The digits are 2^32·√(π/2)·(erfc(k/(2^32·√2)) − erfc((k + 1)/(2^32·√2))) by
    /// mpmath with 90 digits; 36 of them leave 1.33 million units.
    #[test]
    fn cells_have_the_mass_of_the_gaussian_to_36_digits() {
        let (constant, proposals) = proposals(&bell());
        for (strip, offset, digits) in [
            (0, 0, "999999999999999999990964981895954129"),
            (0, 67108863, "999877937139596208638331014051928654"),
            (1, 12345678, "999828899772141140505118149802301070"),
            (63, 67108863, "606530659783242885552148841304305814"),
            (64, 0, "606530659642023961655450228678055092"),
            (100, 33554432, "291434303065510962187120604476684689"),
            (191, 1, "011640707329862455653623871179823773"),
            (255, 50000000, "000340847953867088451694452866427398"),
            (320, 40000000, "000003556941550423197055377525050622"),
            (400, 1234567, "000000003287802023248343132732580847"),
        ] {
            let accepted = scale(TABLES.ratio(strip, offset), u128::from(proposals[strip]), constant);
            let error = accepted.abs_diff(decimal(digits));
            assert!(error < 1_500_000, "strip {strip} offset {offset}: off by {error} units");
        }
    }

    #[test]
    fn few_proposals_are_rejected_or_undecided() {
        let (mut accepted, mut surely) = (0.0, 0.0);
        let (constant, proposals) = proposals(&bell());
        assert!(constant < 1 << 21, "the proof's bound on C");
        for strip in 0..STRIPS {
            let weight = proposals[strip] as f64 / PROPOSALS as f64;
            accepted += weight * TABLES.ratio(strip, LAST / 2) as f64 / ONE as f64;
            surely += weight * f64::from(TABLES.surely[strip]) / f64::from(1 << PREFIX_BITS);
        }
        assert!(accepted > 0.99, "{accepted}");
        assert!(surely > 0.98, "{surely}");
    }

    #[test]
    fn the_bell_agrees_with_floating_point() {
        for (i, value) in bell().iter().enumerate() {
            let exact = libm::exp(-((i * i) as f64) / 8192.0);
            let error = *value as f64 / ONE as f64 - exact;
            // Up to the bell's 2^-112 and the rounding of `exact`, relative 2^-52 with its last bit in doubt.
            assert!(error.abs() < 4e-16 * exact + 1e-33, "{i}: {error:e}");
        }
    }

    #[test]
    fn the_quick_ratio_keeps_its_bound() {
        for strip in 0..STRIPS {
            for step in 0..64 {
                let offset = (step * 1_065_353 + strip as u64 * 7919) & LAST;
                let exact = (TABLES.ratio(strip, offset) >> (FRACTION - QUICK_BITS)) as u64;
                let error = TABLES.quick_ratio(strip, offset).abs_diff(exact);
                assert!(error <= 16, "strip {strip} offset {offset}: {error} units");
            }
        }
    }
}
