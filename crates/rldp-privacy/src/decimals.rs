//! Bounds in few digits: an upper bound is never written below its value, a lower bound never above.

/// An upper bound with `digits` decimals, rounded up.
pub fn at_most(value: f64, digits: usize) -> String {
    let (nearest, read) = rounded(value, digits);
    if read < value { format!("{:.digits$}", read + unit(digits)) } else { nearest }
}

/// A lower bound with `digits` decimals, rounded down.
pub fn at_least(value: f64, digits: usize) -> String {
    let (nearest, read) = rounded(value, digits);
    if read <= value {
        return nearest;
    }
    // Rounding may leave less than nothing of a small bound, which would be written as -0.
    let below = read - unit(digits);
    format!("{:.digits$}", if value > 0.0 { below.max(0.0) } else { below })
}

/// An upper bound with `digits` decimals of its mantissa, rounded up.
pub fn at_most_scientific(value: f64, digits: usize) -> String {
    let nearest = format!("{value:.digits$e}");
    let exponent = nearest.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    match (nearest.parse::<f64>(), exponent) {
        (Ok(read), Some(exponent)) if read < value => {
            format!("{:.digits$e}", read + unit(digits) * 10_f64.powi(exponent))
        }
        _ => nearest,
    }
}

fn rounded(value: f64, digits: usize) -> (String, f64) {
    let nearest = format!("{value:.digits$}");
    // Infinity and what is no number are read back as they are.
    let read = nearest.parse().unwrap_or(value);
    (nearest, read)
}

fn unit(digits: usize) -> f64 {
    0.1_f64.powi(digits as i32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_are_rounded_towards_more_loss() {
        assert_eq!(
            (at_most(4.001_801_4, 4), at_most(4.0, 4), at_most(1.1, 4)),
            ("4.0019".into(), "4.0000".into(), "1.1000".into())
        );
        assert_eq!(
            (at_least(1.999_99, 2), at_least(2.0, 2), at_least(0.000_06, 4)),
            ("1.99".into(), "2.00".into(), "0.0000".into())
        );
        assert_eq!(
            (at_most_scientific(3.0001e-5, 3), at_most_scientific(2e-5, 3)),
            ("3.001e-5".into(), "2.000e-5".into())
        );
        assert_eq!((at_most(f64::INFINITY, 4), at_least(f64::INFINITY, 4)), ("inf".into(), "inf".into()));
    }

    proptest! {
        #[test]
        fn what_is_written_bounds_the_value_and_is_near(value in 1e-9..1e6_f64, digits in 0_usize..7) {
            let (above, below): (f64, f64) = (at_most(value, digits).parse().unwrap(), at_least(value, digits).parse().unwrap());
            prop_assert!(below <= value && value <= above && above - below < 1.001 * unit(digits));
            let above: f64 = at_most_scientific(value, digits).parse().unwrap();
            prop_assert!(value <= above && above < value * (1.0 + 2.0 * unit(digits)));
        }
    }
}
