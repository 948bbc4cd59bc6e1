//! Update rules on released gradients. All of it is post-processing of released values and costs no privacy.
//!
//! To add a rule: a file with its [`UpdateRule`], a variant of [`OptimizerKind`], a line in [`Optimizer::update`].

mod adam_bc;
mod adamw;
mod sgd;

use adam_bc::AdamBc;
use adamw::AdamW;
use rldp_model::Adapter;
use serde::{Deserialize, Serialize};
use sgd::Sgd;

use crate::settings::{OptimizerKind, OptimizerSettings};

/// How the moments of a parameter become its direction.
trait UpdateRule {
    /// Weight of a new gradient in the first moment, whose past has weight β₁.
    fn weight(&self, beta1: f64) -> f64 {
        1.0 - beta1
    }

    /// What the parameter moves against, for learning rate 1, from its first and second moment.
    fn direction(&self, first: f64, second: f64) -> f64;
}

/// What the rules know of a pair's moments beside their values.
#[derive(Clone, Copy, Debug)]
struct Corrections {
    /// Sum of the weights in the first moment.
    first: f64,
    /// Sum of the weights in the second moment.
    second: f64,
    /// Variance of the noise in the gradient.
    noise: f64,
    /// [`Step::lasting`].
    lasting: f64,
}

/// Moments of all parameters, flat (P) in the adapter's order: everything that an optimizer goes on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    #[serde(with = "crate::run::numbers")]
    pub(crate) first: Vec<f32>,
    #[serde(with = "crate::run::numbers")]
    pub(crate) second: Vec<f32>,
    /// Updates made.
    updates: u64,
    /// Sum of the weights in the first moment, which it is divided by: 1 − β₁ᵗ while β₁ stays.
    first_weight: f64,
}

impl Moments {
    /// Zero moments of P parameters.
    pub(crate) fn zero(parameters: usize) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], updates: 0, first_weight: 0.0 }
    }
}

/// An update rule with its moments.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    settings: OptimizerSettings,
    pub(crate) moments: Moments,
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
        Self { settings, moments: Moments::zero(parameters) }
    }

    /// First moments (P).
    pub fn first_moment(&self) -> &[f32] {
        &self.moments.first
    }

    /// One update of the adapter by the released mean gradient `gradient` (P).
    pub fn update(&mut self, adapter: &mut Adapter, gradient: &[f32], step: Step) -> UpdateSummary {
        let OptimizerSettings { optimizer, beta2, .. } = self.settings;
        let moments = &mut self.moments;
        moments.updates += 1;
        let power = i32::try_from(moments.updates).unwrap_or(i32::MAX);
        moments.first_weight = step.beta1 * moments.first_weight + (1.0 - step.beta1);
        let mut change = 0.0_f64;
        let ranges: Vec<_> = adapter.layout().pairs().iter().map(rldp_model::Pair::range).collect();
        for (pair, range) in ranges.into_iter().enumerate() {
            let corrections = Corrections {
                first: moments.first_weight,
                second: 1.0 - beta2.powi(power),
                noise: step.noise_std[pair] * step.noise_std[pair],
                lasting: step.lasting,
            };
            let mut part = Part {
                settings: &self.settings,
                step: &step,
                pair,
                gradient: &gradient[range.clone()],
                first: &mut moments.first[range.clone()],
                second: &mut moments.second[range.clone()],
                parameters: &mut adapter.parameters_mut()[range],
                change: &mut change,
            };
            match optimizer {
                OptimizerKind::Adamw => part.update(&AdamW::new(&self.settings, corrections)),
                OptimizerKind::AdamBc => part.update(&AdamBc::new(&self.settings, corrections)),
                OptimizerKind::Sgd => part.update(&Sgd),
            }
        }
        UpdateSummary { update_norm: change.sqrt(), learning_rate: step.learning_rate }
    }
}

/// One pair's part of an update.
struct Part<'a> {
    settings: &'a OptimizerSettings,
    step: &'a Step<'a>,
    pair: usize,
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    parameters: &'a mut [f32],
    /// Sum of squares of all changes so far.
    change: &'a mut f64,
}

impl Part<'_> {
    fn update(&mut self, rule: &impl UpdateRule) {
        let (scale, gain) = (self.step.rescale[self.pair], self.step.gains[self.pair]);
        let (beta1, beta2, decay) = (self.step.beta1, self.settings.beta2, self.settings.weight_decay);
        let weight = rule.weight(beta1);
        let moments = self.first.iter_mut().zip(self.second.iter_mut());
        for ((&gradient, parameter), (first, second)) in
            self.gradient.iter().zip(self.parameters.iter_mut()).zip(moments)
        {
            let g = f64::from(gradient) * scale;
            let m = beta1 * f64::from(*first) + weight * g;
            let v = beta2 * f64::from(*second) + (1.0 - beta2) * g * g;
            (*first, *second) = (m as f32, v as f32);
            let old = f64::from(*parameter);
            let step = self.step.learning_rate * gain * (rule.direction(m, v) + decay * old);
            *parameter = (old - step) as f32;
            *self.change += step * step;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::settings::Decay;

    /// One pair, its noise, and AdamW's usual momentum.
    pub(super) const STEP: Step<'static> =
        Step { rescale: &[1.0], noise_std: &[0.2], lasting: 1.0, gains: &[1.0], beta1: 0.9, learning_rate: 0.1 };

    pub(crate) fn settings() -> OptimizerSettings {
        OptimizerSettings {
            optimizer: OptimizerKind::Adamw,
            learning_rate: None,
            warmup: 0.2,
            decay: Decay::Linear,
            beta1: 0.9,
            beta2: 0.999,
            adam_epsilon: 1e-8,
            noise_floor: 0.25,
            weight_decay: 0.01,
        }
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
            let mean = f64::from(rule.first_moment()[0]) / rule.moments.first_weight;
            assert!((mean - 0.5).abs() < 1e-6, "{mean}");
        }
    }
}
