//! Fixed-point arithmetic in `u128`, in units u = 2^-120, for numbers below 2^8.
//!
//! Integers do the same on every machine and every error below is a count of units, which is why the sampler's proof
//! uses them instead of floating point.

/// Binary digits after the point.
pub(super) const FRACTION: u32 = 120;
/// 1.
pub(super) const ONE: u128 = 1 << FRACTION;

const LOW: u128 = u64::MAX as u128;

/// ⌊a·b⌋ to a unit: at most one unit too small. The product must lie below 2^8.
pub(super) const fn mul(a: u128, b: u128) -> u128 {
    let (a_high, a_low, b_high, b_low) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let lowest = a_low * b_low;
    let first = a_high * b_low + (lowest >> 64);
    let second = a_low * b_high + (first & LOW);
    let high = a_high * b_high + (first >> 64) + (second >> 64);
    let low = (second << 64) | (lowest & LOW);
    (high << (128 - FRACTION)) | (low >> FRACTION)
}

/// ⌊a·b / c⌋ for a at most 1, b and c below 2^22, and a·b/c below 2^8; exact.
pub(super) const fn scale(a: u128, b: u128, c: u128) -> u128 {
    (a / c) * b + (a % c) * b / c
}

/// e^-y for y from 0 to 1/4, off by at most 3u.
///
/// Taylor's series to the 24th term by Horner's rule. The remainder is below (1/4)^25/25! < 2^-133. A step's two floors
/// cost below 2u and the error of the step before is multiplied by y/n ≤ 1/4: at most 2u·4/3 in all.
pub(super) fn exp_minus(y: u128) -> u128 {
    debug_assert!(y <= ONE / 4);
    (1..=24).rev().fold(ONE, |tail, n| ONE - mul(y, tail) / n)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 0.d1d2d3… as a fixed-point number, off by at most a few units.
    pub(in crate::noise) fn decimal(digits: &str) -> u128 {
        digits.bytes().rev().fold(0, |rest, digit| (u128::from(digit - b'0') * ONE + rest) / 10)
    }

    #[test]
    fn exponentials_agree_with_published_digits() {
        // 36 digits of e^-1/4, e^-1/8 and e^-1/64.
        for (shift, digits) in [
            (2, "778800783071404868245170266978320840"),
            (3, "882496902584595402864892143229050736"),
            (6, "984496437005408405986988829697020369"),
        ] {
            let error = exp_minus(ONE >> shift).abs_diff(decimal(digits));
            // 36 digits leave 1e-36 = 1.33 million units.
            assert!(error < 2_000_000, "e^-2^-{shift} is off by {error} units");
        }
        assert_eq!(exp_minus(0), ONE);
    }

    #[test]
    fn the_exponential_law_holds_to_a_few_units() {
        for shift in 3..40 {
            let half = exp_minus(ONE >> (shift + 1));
            assert!(exp_minus(ONE >> shift).abs_diff(mul(half, half)) <= 12);
        }
    }

    proptest! {
        #[test]
        fn products_are_floors(a in 0..ONE, b in 0..ONE) {
            let product = mul(a, b);
            // Against schoolbook multiplication by one bit of b at a time, which drops at most a unit a bit.
            let slow: u128 = (0..FRACTION).filter(|bit| b >> bit & 1 == 1).map(|bit| a >> (FRACTION - bit)).sum();
            prop_assert!(product >= slow && product <= slow + 120);
            prop_assert!(product <= a.min(b));
            prop_assert_eq!(mul(a, ONE), a);
            prop_assert_eq!(mul(ONE, b), b);
        }

        #[test]
        fn small_products_are_exact(a in any::<u64>(), b in any::<u64>()) {
            prop_assert_eq!(mul(u128::from(a) << 56, u128::from(b) << 56) , (u128::from(a) * u128::from(b)) >> 8);
        }
    }
}
