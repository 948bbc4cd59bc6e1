//! The learning rate of a run whose user gives none.

use rldp_privacy::{Bands, PrivacyError};

/// Longer runs get a smaller learning rate, by the root of their length, so that the noise that all steps carry into the
/// adapter together stays the same; and a larger `lora_alpha` a smaller one, because it scales what a step does to the model.
const SCALED_BY_ROOT_OF_STEPS: f64 = 1.6;

/// Shorter runs than this would by the same rule move so far in a step that the loss grows.
const FEWEST_STEPS: u64 = 25;

/// From this signal-to-noise of a step on a run has no smaller steps for noise: `docs/results/few.md`.
const ENOUGH_SIGNAL: f64 = 100.0;
/// From this one on it keeps them whatever its releases say.
const ENOUGH_IN_ANY_CASE: f64 = 400.0;
/// However large the noise, texts whose releases do not agree want about this of the largest rate: from a third to 0.7.
const SMALLEST_SHARE: f64 = 0.5;

/// What the rule knows of a run, all of it public: what noise its plan adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunNoise {
    /// T.
    pub steps: u64,
    /// B.
    pub batch_size: f64,
    /// z; 0 without noise.
    pub noise_multiplier: f64,
    /// b.
    pub noise_bands: u64,
    /// Whether A is trained where B is not zero: after a warm-up on public text, or from an adapter that was given.
    pub both_factors: bool,
}

/// A learning rate, and how far a run may move it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRule {
    /// At its peak.
    pub learning_rate: f64,
    /// The factor, at most 1, that takes off what a run whose releases do not agree should go without.
    pub least_gain: f64,
    /// The factor, at least 1, that gives back what was taken off because of noise.
    pub largest_gain: f64,
}

impl RateRule {
    /// How far a run with the rate `peak` may move it: between the rule's ends, by no more than the rule may move its own.
    pub fn gains_of(&self, peak: f64) -> (f64, f64) {
        let from = self.learning_rate / peak;
        let widest = self.largest_gain / self.least_gain;
        ((self.least_gain * from).clamp(1.0 / widest, 1.0), (self.largest_gain * from).clamp(1.0, widest))
    }
}

impl RunNoise {
    /// s = B · g / z: the most that a step can hold of signal over the noise that lasts, along one direction: B units add up to B·C along it
    /// when all of them point that way and are clipped, and noise has deviation z·C, of which bands leave 1/g in a sum over many steps. How
    /// many directions there are does not count: what is learned lies in few of them, whatever the model's size.
    ///
    /// # Errors
    /// When there are no such bands.
    pub fn signal_bound(&self) -> Result<f64, PrivacyError> {
        let bands = Bands::new(self.noise_bands)?;
        let taken_back = 1.0 / (bands.lasting() * bands.deviation());
        Ok(self.batch_size * taken_back / self.noise_multiplier)
    }

    /// Learning rate of AdamW, 1.6 / (`lora_alpha` √T) · min(1, √(s/100)) and no less than half of the first factor, 1/√2 of it where noise
    /// reaches the model by both factors; with the factors that move it as far as a run's releases agree: to √(s/400) and the same half, and to all
    /// of the first factor.
    ///
    /// AdamW brings noise to one size whatever its own, so that 1.6/√T keeps what all steps carry into the adapter the same. Where there is
    /// little signal that is too much: what a step gains falls with s, what its noise costs does not. How much signal there is depends on the
    /// text: at one s, some want 0.35 of the largest rate and some want all of it.
    ///
    /// Of noise (δA, δB) the model sees δB·A + B·δA. A fresh B is zero, and only the first half is there. A warm one is about as large as A,
    /// so that the noise has twice the energy.
    ///
    /// # Errors
    /// When there are no such bands.
    pub fn rule(&self, lora_alpha: f64) -> Result<RateRule, PrivacyError> {
        let bound = if self.noise_multiplier > 0.0 { self.signal_bound()? } else { f64::INFINITY };
        let share = |enough: f64| (bound / enough).sqrt().clamp(SMALLEST_SHARE, 1.0);
        let first = share(ENOUGH_SIGNAL);
        let factors = if self.both_factors { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        Ok(RateRule {
            learning_rate: first * factors * largest_learning_rate(self.steps, lora_alpha),
            least_gain: share(ENOUGH_IN_ANY_CASE) / first,
            largest_gain: 1.0 / first,
        })
    }
}

/// Learning rate of AdamW for a run of `steps` steps with as much signal as can be used, 1.6 / (`lora_alpha` √T) and never more than at 25
/// steps: `docs/results/controller.md`.
pub fn largest_learning_rate(steps: u64, lora_alpha: f64) -> f64 {
    SCALED_BY_ROOT_OF_STEPS / (lora_alpha * (steps.max(FEWEST_STEPS) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const RUN: RunNoise =
        RunNoise { steps: 60, batch_size: 128.0, noise_multiplier: 2.0, noise_bands: 1, both_factors: false };

    /// Bands of four take back 1/Σc of the noise.
    #[test]
    fn the_bound_is_what_the_formula_says() {
        assert!((RUN.signal_bound().unwrap() - 64.0).abs() < 1e-9, "{:?}", RUN.signal_bound());
        let four = RunNoise { noise_bands: 4, ..RUN }.signal_bound().unwrap() / 64.0;
        let weights = [1.0, 0.5, 0.375, 0.3125_f64];
        let growth = weights.iter().sum::<f64>() / weights.iter().map(|c| c * c).sum::<f64>().sqrt();
        assert!((four / growth - 1.0).abs() < 1e-3, "{four} against {growth}");
    }

    #[test]
    fn little_signal_asks_for_smaller_steps_and_much_for_none() {
        let rate = |z: f64| RunNoise { noise_multiplier: z, ..RUN }.rule(16.0).unwrap().learning_rate;
        let most = largest_learning_rate(60, 16.0);
        assert_eq!((rate(0.0), rate(0.5), rate(1.28)), (most, most, most));
        assert!((rate(2.0) / most - 0.8).abs() < 1e-9);
        assert!(((rate(3.0) / rate(2.0)).powi(2) - 2.0 / 3.0).abs() < 1e-9);
        assert!((rate(16.0) / most - 0.5).abs() < 1e-9 && rate(40.0) == rate(16.0));
    }

    /// Whatever its noise a run may reach all of the largest rate, and one in doubt go down to half of it.
    #[test]
    fn agreement_moves_the_rate_between_a_share_and_all_of_it() {
        let most = largest_learning_rate(60, 16.0);
        for (z, least) in [(0.0, 1.0), (0.1, 1.0), (0.5, 0.8), (1.28, 0.5), (2.0, 0.5), (9.0, 0.5)] {
            let rule = RunNoise { noise_multiplier: z, ..RUN }.rule(16.0).unwrap();
            assert!((rule.learning_rate * rule.largest_gain / most - 1.0).abs() < 1e-9, "{rule:?}");
            assert!((rule.learning_rate * rule.least_gain / most - least).abs() < 1e-9, "{rule:?}");
        }
    }

    /// Nothing beyond the rate from which it was taken, whatever rate stands in a file.
    #[test]
    fn no_rate_grows_beyond_the_largest() {
        let rule = RunNoise { noise_multiplier: 2.0, ..RUN }.rule(16.0).unwrap();
        let of = |factor: f64| rule.gains_of(factor * rule.learning_rate);
        let close = |(least, most): (f64, f64), expected: (f64, f64)| {
            (least - expected.0).abs() < 1e-9 && (most - expected.1).abs() < 1e-9
        };
        assert!(close(of(1.0), (0.625, 1.25)) && close(of(1.125), (0.625 / 1.125, 1.25 / 1.125)), "{:?}", of(1.0));
        assert!(close(of(0.1), (1.0, 2.0)) && close(of(5.0), (0.5, 1.0)), "{:?} {:?}", of(0.1), of(5.0));
    }

    /// Noise through B and A, which are about of one size, has the energy of two.
    #[test]
    fn a_warm_start_asks_for_the_energy_of_one_factor() {
        let rate = |both_factors| RunNoise { both_factors, ..RUN }.rule(16.0).unwrap().learning_rate;
        assert!((2.0 * rate(true).powi(2) / rate(false).powi(2) - 1.0).abs() < 1e-12);
    }
}
