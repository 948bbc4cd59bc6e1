//! The lines of `metrics.jsonl`: released and public values only.

use serde::Serialize;

use crate::evaluate::Evaluation;

/// One noisy step.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// `step`.
    pub kind: &'static str,
    /// Steps charged.
    pub step: u64,
    /// Epsilon that the charges so far amount to, at the claim's delta.
    pub epsilon_spent: f64,
    /// z.
    pub noise_multiplier: f64,
    /// Rate of the update.
    pub learning_rate: f64,
    /// Released clipped mean loss, in nats; absent without paid statistics.
    pub loss: Option<f64>,
    /// What a unit's loss counted as at most, in nats.
    pub loss_bound: Option<f64>,
    /// Standard deviation of the noise in `loss`.
    pub loss_std: Option<f64>,
    /// Released fraction of units with a non-finite gradient.
    pub non_finite_fraction: Option<f64>,
    /// Energy of the released gradient over its noise's, minus one, over all parameters.
    pub snr: f64,
    /// Squared length of the sum of the releases so far, each in deviations of its own noise, against that of a random walk, in deviations of
    /// the latter; absent in the first two steps and with a geometry.
    pub agreement: Option<f64>,
    /// L2 norm of the parameters' change.
    pub update_norm: f64,
}

/// The mechanism and the controller over one interval.
#[derive(Clone, Debug, Serialize)]
pub struct ControlRecord {
    /// `control`.
    pub kind: &'static str,
    /// Last step of the interval.
    pub step: u64,
    /// C_i in force during the interval (K).
    pub clip_norms: Vec<f64>,
    /// w_i in force during the interval (K).
    pub shares: Vec<f64>,
    /// Noise deviation of a coordinate of the mean gradient (K).
    pub noise_std: Vec<f64>,
    /// Mean released signal-to-noise of each pair (K).
    pub snr: Option<Vec<f64>>,
    /// Mean released clip fraction of each pair (K).
    pub clip_fractions: Option<Vec<f64>>,
    /// z in force during the interval.
    pub noise_multiplier: f64,
    /// The controller's factor on the learning rate during the interval.
    pub learning_rate_gain: f64,
    /// Factors on the pairs' step sizes during the interval (K); 0 of a frozen pair.
    pub step_gains: Vec<f64>,
    /// β₁ during the interval.
    pub beta1: f64,
    /// Steps over which iterates are averaged; 1 averages nothing.
    pub averaging_horizon: f64,
    /// The controller's inclination to stop; 1 ends the run.
    pub stop: f64,
    /// What is left of the gradient after a step of the interval, from consecutive releases.
    pub persistence: Option<f64>,
    /// Reward of the interval.
    pub reward: Option<f64>,
    /// Whether the action for the next interval had to be projected.
    pub projected: bool,
    /// The controller's own figures.
    pub controller: serde_json::Map<String, serde_json::Value>,
}

/// An evaluation on public records.
#[derive(Clone, Debug, Serialize)]
pub struct EvalRecord {
    /// `eval`.
    pub kind: &'static str,
    /// Steps charged.
    pub step: u64,
    /// Says that the records are assumed public.
    pub label: &'static str,
    /// The figures.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

impl EvalRecord {
    /// A line for `step`.
    pub fn new(step: u64, evaluation: Evaluation) -> Self {
        Self { kind: "eval", step, label: "public eval file", evaluation }
    }
}
