//! What a controller moves after the release. All of it is post-processing of released values and costs no privacy.

use rldp_control::Action;
use serde::{Deserialize, Serialize};

/// The learning-rate gain and the pairs' step-size gains stay within this factor of 1, either way.
const GAIN_RANGE: f64 = 16.0;
/// Momentum's horizon stays within this factor of its start.
const MOMENTUM_RANGE: f64 = 16.0;
/// Longest averaging horizon, in steps.
const LONGEST_AVERAGE: f64 = 64.0;

/// How releases become updates, and updates the adapter that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostProcessing {
    /// Factor on the learning rate.
    pub learning_rate_gain: f64,
    /// Factor on each pair's step size (K).
    pub step_gains: Vec<f64>,
    /// Factor on momentum's horizon 1/(1 − β₁).
    pub momentum_gain: f64,
    /// Steps over which iterates are averaged for the adapter that is evaluated and kept; 1 keeps the last iterate.
    pub averaging_horizon: f64,
    /// Inclination to stop: 1 ends the run.
    pub stop: f64,
}

impl PostProcessing {
    /// What the settings alone say, over K pairs.
    pub fn start(pairs: usize) -> Self {
        Self {
            learning_rate_gain: 1.0,
            step_gains: vec![1.0; pairs],
            momentum_gain: 1.0,
            averaging_horizon: 1.0,
            stop: 0.0,
        }
    }

    /// β₁ when the settings say `beta1`, which a gain of 1 leaves to the bit.
    pub fn beta1(&self, beta1: f64) -> f64 {
        (beta1 + (1.0 - beta1) * (1.0 - 1.0 / self.momentum_gain)).max(0.0)
    }

    /// Factors on the pairs' step sizes (K); 0 of a pair whose gain is at the lower end of its range: it is frozen.
    pub fn step_factors(&self) -> Vec<f64> {
        self.step_gains.iter().map(|gain| if *gain <= 1.0 / GAIN_RANGE { 0.0 } else { *gain }).collect()
    }

    /// Whether the run is to end here.
    pub fn stops(&self) -> bool {
        self.stop >= 1.0
    }

    /// Moves by `action`. Returns whether a gain was projected onto its range; that averaging and the inclination to stop
    /// rest at their lower ends, where they begin, is no projection.
    pub(crate) fn apply(&mut self, action: &Action) -> bool {
        let mut projected = false;
        let mut moved = |value: f64, log_delta: f64, range: f64| {
            let proposal = value * log_delta.exp();
            let bounded = proposal.clamp(1.0 / range, range);
            projected |= bounded != proposal;
            bounded
        };
        self.learning_rate_gain = moved(self.learning_rate_gain, action.learning_rate_log_gain, GAIN_RANGE);
        for (gain, delta) in self.step_gains.iter_mut().zip(&action.step_log_delta) {
            *gain = moved(*gain, *delta, GAIN_RANGE);
        }
        self.momentum_gain = moved(self.momentum_gain, action.momentum_log_delta, MOMENTUM_RANGE);
        let averaging = self.averaging_horizon * action.averaging_log_delta.exp();
        self.averaging_horizon = averaging.clamp(1.0, LONGEST_AVERAGE);
        self.stop = (self.stop + action.stop_delta).clamp(0.0, 1.0);
        projected
    }

    /// Whether it can be of a run with `pairs` pairs.
    pub(crate) fn fits(&self, pairs: usize) -> bool {
        let gains = self.step_gains.iter().chain([&self.learning_rate_gain, &self.momentum_gain]);
        self.step_gains.len() == pairs
            && gains.into_iter().all(|gain| gain.is_finite() && *gain > 0.0)
            && (1.0..=LONGEST_AVERAGE).contains(&self.averaging_horizon)
            && (0.0..=1.0).contains(&self.stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_leaves_the_settings_to_the_bit() {
        let start = PostProcessing::start(3);
        for beta1 in [0.0, 0.3, 0.9, 0.95] {
            assert_eq!(start.beta1(beta1), beta1);
        }
        assert_eq!(start.step_factors(), [1.0; 3]);
        let mut moved = start.clone();
        assert!(!moved.apply(&Action::idle(3)));
        assert_eq!(moved, start);
        assert!(start.fits(3) && !start.fits(2));
    }

    #[test]
    fn extreme_moves_stay_in_range_freeze_and_stop() {
        let mut post = PostProcessing::start(2);
        let wild = Action {
            step_log_delta: vec![-2.0, 2.0],
            learning_rate_log_gain: 9.0,
            momentum_log_delta: -9.0,
            averaging_log_delta: 3.0,
            stop_delta: 0.4,
            ..Action::idle(2)
        };
        assert!(post.apply(&wild) && !post.stops());
        post.apply(&wild);
        assert_eq!(post.step_factors(), [0.0, 16.0]);
        assert_eq!((post.learning_rate_gain, post.averaging_horizon), (16.0, 64.0));
        assert_eq!(post.beta1(0.3), 0.0);
        post.apply(&wild);
        assert!(post.stops() && post.fits(2));
        post.apply(&Action { step_log_delta: vec![0.5, 0.0], ..Action::idle(2) });
        assert!(post.step_factors()[0] > 0.0, "a frozen pair cannot thaw");
    }

    #[test]
    fn a_longer_horizon_has_a_longer_momentum() {
        let mut post = PostProcessing::start(1);
        post.apply(&Action { momentum_log_delta: 2.0_f64.ln(), ..Action::idle(1) });
        assert!((post.beta1(0.5) - 0.75).abs() < 1e-12);
    }
}
