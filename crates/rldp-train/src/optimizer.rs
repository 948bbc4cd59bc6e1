//! AdamW (Loshchilov & Hutter, arXiv 1711.05101), DP-AdamBC (Tang et al., arXiv 2312.14334) and gradient descent with
//! momentum, with warm-up and decay, on released gradients.
//!
//! Everything here is post-processing of released values and costs no privacy.

use rldp_model::Adapter;
use serde::{Deserialize, Serialize};

use crate::settings::{Decay, OptimizerKind, OptimizerSettings};

/// An update rule with its moments, flat (P) in the adapter's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    settings: OptimizerSettings,
    first: Vec<f32>,
    second: Vec<f32>,
    updates: u64,
    /// Sum of the weights in the first moment, which it is divided by: 1 − β₁ᵗ while β₁ stays.
    first_weight: f64,
}

/// What an update is made of, besides the gradient.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Factor on each pair's gradient (K). The loop passes the ratio of the pair's first noise deviation to its present one,
    /// so that the moments keep one unit while a controller moves thresholds and shares; under a fixed mechanism the ratio
    /// is 1.
    pub rescale: &'a [f64],
    /// Deviation of the noise in each pair's gradient after that (K).
    pub noise_std: &'a [f64],
    /// What of that deviation stays in a sum over steps, over √steps: 1 where every step has noise of its own, less where later
    /// steps take back what earlier ones added ([`rldp_privacy::Bands::lasting`]).
    pub lasting: f64,
    /// Factor on each pair's step size (K); 0 freezes the pair.
    pub gains: &'a [f64],
    /// β₁ of this update.
    pub beta1: f64,
    /// Learning rate of this update.
    pub learning_rate: f64,
}

/// What one update did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateSummary {
    /// L2 norm of the change of all parameters.
    pub update_norm: f64,
    /// The rate that was applied.
    pub learning_rate: f64,
}

impl Optimizer {
    /// Zero moments for P parameters.
    pub fn new(settings: OptimizerSettings, parameters: usize) -> Self {
        Self { settings, first: vec![0.0; parameters], second: vec![0.0; parameters], updates: 0, first_weight: 0.0 }
    }

    /// Moments restored from a checkpoint.
    pub fn restore(
        settings: OptimizerSettings,
        first: Vec<f32>,
        second: Vec<f32>,
        updates: u64,
        first_weight: f64,
    ) -> Self {
        Self { settings, first, second, updates, first_weight }
    }

    /// Sum of the weights in the first moment.
    pub fn first_weight(&self) -> f64 {
        self.first_weight
    }

    /// First moments (P).
    pub fn first_moment(&self) -> &[f32] {
        &self.first
    }

    /// Second moments (P).
    pub fn second_moment(&self) -> &[f32] {
        &self.second
    }

    /// Updates made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// One update of the adapter by the released mean gradient `gradient` (P).
    ///
    /// With m̂ and v̂ AdamW's corrected moments, AdamW moves by m̂ / √v̂. Of noise that later steps take back only what stays counts: with λ what
    /// lasts of the noise's variance Φ, by m̂ / √max(v̂ − (1 − λ²)Φ, λ²Φ). DP-AdamBC moves by m̂ / √max(v̂ − Φ, γ'), where Φ = s² is the noise's variance
    /// and the floor γ' is given in units of Φ. Gradient descent keeps m = β₁ m + g and moves by m.
    pub fn update(&mut self, adapter: &mut Adapter, gradient: &[f32], step: Step) -> UpdateSummary {
        self.updates += 1;
        let OptimizerSettings { optimizer, beta2, adam_epsilon, noise_floor, weight_decay, .. } = self.settings;
        let Step { rescale, noise_std, lasting, gains, beta1, learning_rate } = step;
        let power = i32::try_from(self.updates).unwrap_or(i32::MAX);
        self.first_weight = beta1 * self.first_weight + (1.0 - beta1);
        let (correct1, correct2) = (self.first_weight, 1.0 - beta2.powi(power));
        let mut change = 0.0_f64;
        let ranges: Vec<_> = adapter.layout().pairs().iter().map(rldp_model::Pair::range).collect();
        let parameters = adapter.parameters_mut();
        for (((range, &scale), &noise_std), &gain) in ranges.into_iter().zip(rescale).zip(noise_std).zip(gains) {
            let noise = noise_std * noise_std;
            let weight = if optimizer == OptimizerKind::Sgd { 1.0 } else { 1.0 - beta1 };
            for index in range {
                let g = f64::from(gradient[index]) * scale;
                let m = beta1 * f64::from(self.first[index]) + weight * g;
                let v = beta2 * f64::from(self.second[index]) + (1.0 - beta2) * g * g;
                self.first[index] = m as f32;
                self.second[index] = v as f32;
                let old = f64::from(parameters[index]);
                let direction = match optimizer {
                    OptimizerKind::Adamw => {
                        let second = without_passing_noise(v / correct2, noise, lasting);
                        (m / correct1) / (second.sqrt() + adam_epsilon)
                    }
                    OptimizerKind::AdamBc => (m / correct1) / (v / correct2 - noise).max(noise_floor * noise).sqrt(),
                    OptimizerKind::Sgd => m,
                };
                let step = learning_rate * gain * (direction + weight_decay * old);
                parameters[index] = (old - step) as f32;
                change += step * step;
            }
        }
        UpdateSummary { update_norm: change.sqrt(), learning_rate }
    }
}

/// The second moment without the part of the noise that later steps take back; itself, to the bit, where nothing is.
fn without_passing_noise(second: f64, noise: f64, lasting: f64) -> f64 {
    let stays = lasting * lasting;
    if stays < 1.0 { (second - (1.0 - stays) * noise).max(stays * noise) } else { second }
}

impl OptimizerSettings {
    /// Learning rate of step `step` (counted from 0) of `steps`.
    pub fn learning_rate_at(&self, step: u64, steps: u64) -> f64 {
        let warmup = (self.warmup * steps as f64).round();
        let position = step as f64;
        if position < warmup {
            return self.learning_rate * (position + 1.0) / warmup;
        }
        let left = (steps as f64 - position) / (steps as f64 - warmup).max(1.0);
        match self.decay {
            Decay::Linear => self.learning_rate * left,
            Decay::Cosine => self.learning_rate * 0.5 * (1.0 - (std::f64::consts::PI * left).cos()),
            Decay::Constant => self.learning_rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pair, its noise, and AdamW's usual momentum.
    const STEP: Step<'static> =
        Step { rescale: &[1.0], noise_std: &[0.2], lasting: 1.0, gains: &[1.0], beta1: 0.9, learning_rate: 0.1 };

    fn settings() -> OptimizerSettings {
        OptimizerSettings {
            optimizer: OptimizerKind::Adamw,
            learning_rate: 0.1,
            warmup: 0.2,
            decay: Decay::Linear,
            beta1: 0.9,
            beta2: 0.999,
            adam_epsilon: 1e-8,
            noise_floor: 0.25,
            weight_decay: 0.01,
        }
    }

    #[test]
    fn schedule_rises_then_falls_to_the_last_step() {
        let rates: Vec<f64> = (0..10).map(|step| settings().learning_rate_at(step, 10)).collect();
        assert!((rates[0] - 0.05).abs() < 1e-12 && (rates[1] - 0.1).abs() < 1e-12 && (rates[2] - 0.1).abs() < 1e-12);
        assert!(rates.windows(2).skip(2).all(|pair| pair[1] < pair[0]));
        assert!((rates[9] - 0.1 / 8.0).abs() < 1e-12);
    }

    /// Three updates of (1, −2) by the gradients (0.5, −0.25), (0.1, 0.3), (−0.2, 0.0) in float64, by
    /// testdata/optimizers.py: torch's AdamW and SGD (momentum 0.9), and DP-AdamBC's equations with noise of deviation 0.2.
    #[test]
    fn follows_torch_and_the_papers_equations() {
        let expected = [
            (
                OptimizerKind::Adamw,
                [[0.899_000_002, -1.898_000_004], [0.817_796_906, -1.910_396_477], [0.782_543_735, -1.919_535_749]],
            ),
            (OptimizerKind::Sgd, [[0.949, -1.973], [0.893_051, -1.978_527], [0.862_657_949, -1.983_298_473]]),
            (
                OptimizerKind::AdamBc,
                [[0.889_891_055, -1.831_333_333], [0.792_477_740, -1.850_232_628], [0.747_218_996, -1.872_336_049]],
            ),
        ];
        for (optimizer, trajectory) in expected {
            let mut adapter = Adapter::from_parameters(crate::testing::smallest_layout(), vec![1.0, -2.0]);
            let mut rule = Optimizer::new(OptimizerSettings { optimizer, ..settings() }, 2);
            for (gradient, want) in [[0.5, -0.25], [0.1, 0.3], [-0.2, 0.0]].iter().zip(trajectory) {
                rule.update(&mut adapter, gradient, STEP);
                let parameters = adapter.parameters();
                for (got, want) in parameters.iter().zip(want) {
                    assert!((f64::from(*got) - want).abs() < 2e-6, "{optimizer:?}: {parameters:?} against {want}");
                }
            }
        }
    }

    /// Of noise that is taken back later, what lasts is left: a second moment of noise alone counts as λ² of it, one of signal alone nearly
    /// as itself; and noise of every step's own counts in full, even where a moment falls below it.
    #[test]
    fn noise_that_passes_does_not_shorten_a_step() {
        assert!((without_passing_noise(1.0, 1.0, 0.4) - 0.16).abs() < 1e-12);
        assert!((without_passing_noise(0.2, 1.0, 0.4) - 0.16).abs() < 1e-12);
        assert!((without_passing_noise(100.0, 1.0, 0.4) - 99.16).abs() < 1e-12);
        assert_eq!(without_passing_noise(0.2, 1.0, 1.0), 0.2);
    }

    /// The floor holds when noise is all there is: no step is longer than m̂ / (√γ' s).
    #[test]
    fn a_second_moment_below_the_noise_is_floored() {
        let mut adapter = Adapter::from_parameters(crate::testing::smallest_layout(), vec![0.0, 0.0]);
        let settings = OptimizerSettings { optimizer: OptimizerKind::AdamBc, weight_decay: 0.0, ..settings() };
        let mut rule = Optimizer::new(settings, 2);
        rule.update(&mut adapter, &[0.01, -0.01], STEP);
        let want = 0.1 * 0.01 / (0.25_f64.sqrt() * 0.2);
        assert!((f64::from(adapter.parameters()[0]) + want).abs() < 1e-7, "{:?} against {want}", adapter.parameters());
    }

    #[test]
    fn a_gain_scales_the_step_and_none_freezes_the_pair() {
        let moved = |gain: f64| {
            let mut adapter = Adapter::from_parameters(crate::testing::smallest_layout(), vec![1.0, -2.0]);
            let mut rule = Optimizer::new(settings(), 2);
            rule.update(&mut adapter, &[0.5, -0.25], Step { gains: &[gain], ..STEP });
            f64::from(adapter.parameters()[0]) - 1.0
        };
        assert_eq!(moved(0.0), 0.0);
        assert!((moved(0.5) / moved(1.0) - 0.5).abs() < 1e-6);
    }

    /// The moment is a mean of past gradients, whatever weights a moving β₁ gave them: of equal gradients it is the gradient.
    #[test]
    fn the_first_moment_stays_a_mean_while_momentum_moves() {
        let mut adapter = Adapter::from_parameters(crate::testing::smallest_layout(), vec![0.0, 0.0]);
        let mut rule = Optimizer::new(OptimizerSettings { weight_decay: 0.0, ..settings() }, 2);
        for beta1 in [0.9, 0.3, 0.0, 0.95] {
            rule.update(&mut adapter, &[0.5, -0.25], Step { beta1, ..STEP });
            let mean = f64::from(rule.first_moment()[0]) / rule.first_weight();
            assert!((mean - 0.5).abs() < 1e-6, "{mean}");
        }
    }
}
