//! Small-sample statistics of comparisons: intervals over seeds, paired tests, steps to a target. Pure functions.

use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// Confidence of every interval here.
pub const LEVEL: f64 = 0.95;
/// Up to this many pairs the sign-flip test enumerates all 2^n assignments.
const MOST_ENUMERATED: usize = 20;

/// Values below which no interval is shown.
const FEWEST: usize = 3;

/// A mean over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// How many values.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (n − 1); absent for one value.
    pub deviation: Option<f64>,
    /// Half the width of the 95 % t interval of the mean; absent for one value.
    pub half_width: Option<f64>,
}

impl Estimate {
    /// Mean, deviation and t interval; nothing of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        let half_width =
            deviation.and_then(|deviation| Some(t_quantile((n - 1) as f64)? * deviation / (n as f64).sqrt()));
        Some(Self { n, mean, deviation, half_width })
    }

    /// Whether there are enough values for an interval that says something: with two, 95 % are 12.7 standard errors to each side.
    pub fn is_enough(&self) -> bool {
        self.n >= FEWEST
    }

    /// The 95 % t interval of the mean.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.half_width.map(|half| (self.mean - half, self.mean + half))
    }
}

/// The t quantile of a two-sided interval at [`LEVEL`].
fn t_quantile(freedom: f64) -> Option<f64> {
    Some(StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.5 + LEVEL / 2.0))
}

/// Two-sided p-value of the sign-flip (permutation) test that paired differences are symmetric around 0.
///
/// Up to 20 pairs it is exact, by enumeration; with n pairs it cannot be below 2/2^n, which is 0.0625 for five. Beyond that it
/// is the normal approximation of the same permutation distribution.
pub fn sign_flip_test(differences: &[f64]) -> Option<f64> {
    let n = differences.len();
    if n == 0 || differences.iter().any(|difference| !difference.is_finite()) {
        return None;
    }
    let observed = differences.iter().sum::<f64>().abs();
    if n > MOST_ENUMERATED {
        let spread = differences.iter().map(|difference| difference * difference).sum::<f64>().sqrt();
        let z = if spread > 0.0 { observed / spread } else { 0.0 };
        return Some(2.0 * Normal::standard().sf(z));
    }
    // Sums of the same numbers in another order differ in their last bits; ties must still count as ties.
    let slack = 1e-12 * differences.iter().map(|difference| difference.abs()).sum::<f64>();
    let flipped = |signs: u32| -> f64 {
        let signed = differences.iter().enumerate();
        signed.map(|(bit, difference)| if signs >> bit & 1 == 1 { -difference } else { *difference }).sum()
    };
    let extreme = (0..1_u32 << n).filter(|signs| flipped(*signs).abs() >= observed - slack).count();
    Some(extreme as f64 / f64::from(1_u32 << n))
}

/// Steps until a curve of (step, perplexity) is first at or below `target`, linear in log-perplexity between evaluations;
/// nothing when it never is.
pub fn steps_to_reach(curve: &[(f64, f64)], target: f64) -> Option<f64> {
    let first = curve.first()?;
    if first.1 <= target {
        return Some(first.0);
    }
    curve.windows(2).find_map(|pair| {
        let ((from, before), (to, after)) = (pair[0], pair[1]);
        (after <= target).then(|| {
            let fraction = (before.ln() - target.ln()) / (before.ln() - after.ln());
            // A diverged evaluation before a good one has no log; the good one is then the first known step.
            if fraction.is_finite() && before.is_finite() { from + fraction * (to - from) } else { to }
        })
    })
}

/// Median of values of which some are never reached (absent, counted as infinite); nothing when the median is.
pub fn median_with_never(values: &[Option<f64>]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().map(|value| value.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let middle = if n == 0 {
        f64::INFINITY
    } else if n % 2 == 1 {
        sorted[n / 2]
    } else {
        f64::midpoint(sorted[n / 2 - 1], sorted[n / 2])
    };
    middle.is_finite().then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "{found}, expected {expected}");
    }

    /// By hand: deviation √2.5; quantile t(0.975, 4) = 2.776445 from printed tables; half width 2.776445 · √2.5 / √5.
    #[test]
    fn a_t_interval_is_the_one_of_the_tables() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        near(estimate.mean, 3.0);
        near(estimate.deviation.unwrap(), 1.581_138_83);
        near(estimate.half_width.unwrap(), 1.963_243_2);
        // t(0.975, 1) = 12.706205: two seeds say little, and the interval says so.
        near(Estimate::of(&[0.0, 2.0]).unwrap().half_width.unwrap(), 12.706_204_7);
        assert_eq!(Estimate::of(&[7.0]).unwrap().interval(), None);
        assert_eq!(Estimate::of(&[]), None);
    }

    /// By hand: of the 8 sums ±1 ±2 ±3 only ±6 are as extreme; of ±1 ±2 ±0.5 the four ±3.5 and ±2.5.
    #[test]
    fn few_pairs_are_enumerated() {
        near(sign_flip_test(&[1.0, 2.0, 3.0]).unwrap(), 0.25);
        near(sign_flip_test(&[1.0, 2.0, -0.5]).unwrap(), 0.5);
        near(sign_flip_test(&[0.1; 5]).unwrap(), 0.0625);
        near(sign_flip_test(&[0.0, 0.0]).unwrap(), 1.0);
        assert_eq!(sign_flip_test(&[]), None);
        assert_eq!(sign_flip_test(&[1.0, f64::NAN]), None);
    }

    /// By hand: 25 equal differences give z = 25/√25 = 5, and P(|Z| > 5) = 5.7330e-7 in printed tables.
    #[test]
    fn many_pairs_use_the_normal_approximation() {
        let p = sign_flip_test(&[1.0; 25]).unwrap();
        assert!((p / 5.733_03e-7 - 1.0).abs() < 1e-4, "{p}");
    }

    /// By hand: from e^3 at step 10 to e^2 at step 20, e^2.25 is passed three quarters of the way.
    #[test]
    fn steps_are_interpolated_in_log_perplexity() {
        let curve: Vec<(f64, f64)> =
            [(0.0, 4.0), (10.0, 3.0), (20.0, 2.0)].map(|(s, l): (f64, f64)| (s, l.exp())).into();
        near(steps_to_reach(&curve, 2.25_f64.exp()).unwrap(), 17.5);
        near(steps_to_reach(&curve, 5.0_f64.exp()).unwrap(), 0.0);
        assert_eq!(steps_to_reach(&curve, 1.9_f64.exp()), None);
        assert_eq!(steps_to_reach(&[], 1.0), None);
        assert_eq!(steps_to_reach(&[(0.0, f64::INFINITY), (5.0, 2.0)], 3.0), Some(5.0));
    }

    #[test]
    fn never_counts_as_late_in_the_median() {
        assert_eq!(median_with_never(&[Some(3.0), None, Some(1.0)]), Some(3.0));
        assert_eq!(median_with_never(&[Some(3.0), None]), None);
        assert_eq!(median_with_never(&[Some(3.0), Some(1.0)]), Some(2.0));
        assert_eq!(median_with_never(&[]), None);
    }
}
