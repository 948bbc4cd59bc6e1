//! How an axis is divided, and what stands at its ticks.

use crate::number::short;

/// Ticks that still leave room for their labels.
const MOST: usize = 8;
/// Ticks below which an axis says too little.
const FEWEST: usize = 3;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Axis {
    Linear,
    /// Whole numbers.
    Steps,
    /// By powers of ten; for values above 0.
    Logarithmic,
}

impl Axis {
    /// Where a value lies: itself, or its common logarithm.
    pub(super) fn place(self, value: f64) -> f64 {
        if self == Self::Logarithmic { value.log10() } else { value }
    }

    /// The value at a place.
    pub(super) fn label(self, place: f64) -> String {
        short(if self == Self::Logarithmic { 10_f64.powf(place) } else { place })
    }

    /// What an axis is called: `label`, and how it is divided where that is not to be expected.
    pub(super) fn named(self, label: &str) -> String {
        if self == Self::Logarithmic { format!("{label} (logarithmic)") } else { label.to_owned() }
    }

    /// Places of round values between two places, in order.
    pub(super) fn ticks(self, (low, high): (f64, f64)) -> Vec<f64> {
        match self {
            Self::Linear => even(low, high),
            Self::Steps => whole(low, high),
            Self::Logarithmic => {
                // From dense to sparse; the first that has room is the best.
                let digits: [&[u32]; 4] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[1, 2, 5], &[1, 3], &[1]];
                let found =
                    digits.into_iter().map(|digits| decades(digits, low, high)).find(|ticks| ticks.len() <= MOST);
                match found {
                    Some(ticks) if ticks.len() >= FEWEST => ticks,
                    // Less than a few digits: as good as linear. Or more than a few decades: every second or third.
                    Some(_) => even(10_f64.powf(low), 10_f64.powf(high)).into_iter().map(f64::log10).collect(),
                    None => whole(low, high),
                }
            }
        }
    }
}

fn whole(low: f64, high: f64) -> Vec<f64> {
    even(low, high).into_iter().filter(|place| place.fract() == 0.0).collect()
}

/// Logarithms of digits times powers of ten.
fn decades(digits: &[u32], low: f64, high: f64) -> Vec<f64> {
    let powers = low.floor() as i32..=high.floor() as i32;
    let values = powers.flat_map(|power| digits.iter().map(move |digit| f64::from(*digit).log10() + f64::from(power)));
    values.filter(|place| (low..=high).contains(place)).collect()
}

/// Multiples of the smallest of 1, 2 and 5 times a power of ten that are not too many.
fn even(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / MOST as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return vec![low];
    }
    let power = 10_f64.powf(rough.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= rough).unwrap_or(10.0);
    let step = digit * power;
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|multiple| multiple as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis, low: f64, high: f64) -> Vec<String> {
        let ticks = axis.ticks((axis.place(low), axis.place(high)));
        ticks.into_iter().map(|place| axis.label(place)).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(Axis::Linear, -0.02, 0.07), ["-0.02", "0", "0.02", "0.04", "0.06"]);
        assert_eq!(labels(Axis::Linear, 1.0, 60.0), ["10", "20", "30", "40", "50", "60"]);
        assert_eq!(labels(Axis::Steps, 0.0, 1.0), ["0", "1"]);
        assert_eq!(labels(Axis::Steps, 0.0, 40.0), ["0", "5", "10", "15", "20", "25", "30", "35", "40"]);
        assert_eq!(labels(Axis::Logarithmic, 9.4, 295.0), ["10", "20", "50", "100", "200"]);
        assert_eq!(labels(Axis::Logarithmic, 3.9, 11.0), ["4", "5", "6", "7", "8", "9", "10"]);
        assert_eq!(labels(Axis::Logarithmic, 1.49, 1.76), ["1.5", "1.55", "1.6", "1.65", "1.7", "1.75"]);
        assert_eq!(labels(Axis::Logarithmic, 1e-4, 1.0), ["1.0e-4", "0.001", "0.01", "0.1", "1"]);
    }

    /// Whatever the range, there are some ticks, not too many, and all inside.
    #[test]
    fn every_range_has_ticks_inside() {
        for exponent in -12..12 {
            for width in [1e-3, 0.1, 1.0, 3.0, 20.0] {
                let low = f64::from(exponent) * 0.37;
                for axis in [Axis::Linear, Axis::Logarithmic] {
                    let ticks = axis.ticks((low, low + width));
                    assert!((1..=MOST + 1).contains(&ticks.len()), "{axis:?} {low} + {width}: {ticks:?}");
                    let slack = 1e-9 * width;
                    assert!(ticks.iter().all(|place| (low - slack..=low + width + slack).contains(place)), "{ticks:?}");
                }
            }
        }
    }
}
