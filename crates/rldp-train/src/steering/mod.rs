//! Who moves the mechanism and the learner: observation, reward, action.
//!
//! All that a controller sees is released or public, so what it decides is post-processing; in a run that guarantees nothing it may
//! see raw values.

pub(crate) mod observation;
pub(crate) mod observer;
mod path;
mod spectrum;

use rldp_control::{Controller, RewardTracker, StateFormat};
use rldp_privacy::{NormBins, Observable, Public, Released, TakenOver};
use serde::{Deserialize, Serialize};

use self::{
    observation::PublicFacts,
    observer::{Observer, ObserverState},
    path::{Path, PathState},
    spectrum::tail_exponents,
};
use crate::{
    error::TrainError,
    evaluate::Evaluation,
    learner::Learner,
    mechanism::{Mechanism, RawSummary},
    run::ControlRecord,
    settings::{RegimeKind, TrainSettings},
};

/// The controller of a run, with what it has seen.
pub(crate) struct Steering {
    pub(crate) controller: Box<dyn Controller>,
    pub(crate) observer: Observer,
    /// How far releases agree.
    pub(crate) path: Path,
    reward: RewardTracker,
    /// Steps between two decisions.
    interval: u64,
    /// T, planned steps.
    steps: u64,
    regime: RegimeKind,
    /// Whether it is rewarded for the evaluation on public records instead of the released loss.
    public_probe: bool,
}

/// What of the steering a run goes on with: functions of released values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteeringState {
    /// The controller's own state, with its replay and its public randomness.
    #[serde(with = "serde_bytes")]
    pub(crate) controller: Vec<u8>,
    pub(crate) observer: Option<ObserverState>,
    #[serde(default)]
    pub(crate) path: Option<PathState>,
    /// Utility and spent budget at the end of the last interval.
    reward: Option<(f64, f64)>,
}

/// How a state of a controller stands in a checkpoint.
pub(crate) const IN_CHECKPOINT: StateFormat = StateFormat::MessagePack;

impl Steering {
    pub(crate) fn new(settings: &TrainSettings, controller: Box<dyn Controller>) -> Self {
        Self {
            controller,
            observer: Observer::default(),
            path: Path::default(),
            reward: RewardTracker::default(),
            interval: settings.control.interval,
            steps: settings.privacy.steps,
            regime: settings.privacy.regime,
            public_probe: settings.control.public_probe,
        }
    }

    /// Whether a decision follows after `step`.
    pub(crate) fn is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.interval) || step == self.steps
    }

    /// Whether the decision after `step` is rewarded by an evaluation of the adapter as it is then.
    pub(crate) fn is_rewarded_by_evaluation(&self, step: u64) -> bool {
        self.public_probe && self.is_due(step)
    }

    /// The controller's turn after `step`: reward for the last interval, observation, action. `evaluation` is the last one on
    /// public records. What the interval was like, for the metrics; `None` when nothing was released in it.
    ///
    /// # Errors
    /// When the mechanism's controls are no valid allocation.
    pub(crate) fn steer(
        &mut self,
        step: u64,
        mechanism: &mut Mechanism,
        learner: &mut Learner,
        evaluation: Option<Evaluation>,
    ) -> Result<Option<ControlRecord>, TrainError> {
        let done = step == self.steps;
        let raw = mechanism.raw.as_mut().and_then(|raw| raw.finish(&mechanism.now.clip_norms));
        let reward = self.reward_of_interval(mechanism, raw.as_ref(), evaluation);
        let record = self.record_of_interval(step, reward, mechanism, learner)?;
        let facts = self.facts(step, reward, mechanism, learner)?;
        let Some(mut observation) = self.observer.finish(&facts) else { return Ok(None) };
        if let Some(raw) = raw {
            raw.replace(&mut observation);
        }
        let action = self.controller.act(&observation, reward, done);
        let outside = mechanism.now.apply(&mechanism.start, &action, self.regime);
        let projected = learner.post.apply(&action) | outside;
        if learner.post.stops() && !done {
            // Nothing follows a move that ends the run, and nothing is what it earns.
            self.controller.act(&observation, Some(Public::declare(0.0).into()), true);
        }
        Ok(Some(ControlRecord { projected, controller: self.controller.telemetry(), ..record }))
    }

    fn record_of_interval(
        &self,
        step: u64,
        reward: Option<Observable>,
        mechanism: &Mechanism,
        learner: &Learner,
    ) -> Result<ControlRecord, TrainError> {
        let (controls, post) = (&mechanism.now, &learner.post);
        Ok(ControlRecord {
            kind: "control",
            step,
            clip_norms: controls.clip_norms.clone(),
            shares: controls.shares.clone(),
            noise_std: mechanism.noise_levels()?.std,
            snr: self.observer.signal_to_noise().map(Released::into_inner),
            clip_fractions: self.observer.clip_fractions().map(Released::into_inner),
            noise_multiplier: controls.noise_multiplier,
            learning_rate_gain: post.learning_rate_gain,
            step_gains: post.step_factors(),
            beta1: learner.beta1(),
            averaging_horizon: post.averaging_horizon,
            stop: post.stop,
            persistence: self.observer.persistence().map(Observable::value),
            reward: reward.map(Observable::value),
            projected: false,
            controller: serde_json::Map::new(),
        })
    }

    fn facts<'a>(
        &self,
        step: u64,
        last_reward: Option<Observable>,
        mechanism: &'a Mechanism,
        learner: &'a Learner,
    ) -> Result<PublicFacts<'a>, TrainError> {
        let pairs = learner.layout().pairs().iter().zip(mechanism.noise_levels()?.std);
        let norm_bins: Option<&NormBins> = mechanism.statistics.as_ref().and_then(|spec| spec.norms.as_ref());
        Ok(PublicFacts {
            step_fraction: step as f64 / self.steps as f64,
            budget_fraction: mechanism.spender.spent_fraction(),
            start: &mechanism.start,
            now: &mechanism.now,
            post: &learner.post,
            last_reward,
            drift: learner.drift(),
            spectral_tails: tail_exponents(&learner.adapter),
            noise_energy: pairs.map(|(pair, std)| pair.parameter_count() as f64 * std * std).sum(),
            norm_bins,
        })
    }

    fn reward_of_interval(
        &mut self,
        mechanism: &Mechanism,
        raw: Option<&RawSummary>,
        evaluation: Option<Evaluation>,
    ) -> Option<Observable> {
        let utility: Option<Observable> = if let Some(raw) = raw {
            Some(raw.loss.combine(raw.loss, |loss, _| -loss))
        } else if self.public_probe {
            evaluation.map(|evaluation| Public::declare(-evaluation.nll).into())
        } else {
            self.observer.mean_loss().map(|loss| loss.map(|loss| -loss).into())
        };
        self.reward.observe(utility?, Public::declare(mechanism.spender.spent_fraction()).into())
    }

    /// What a later process goes on with.
    ///
    /// # Errors
    /// When the controller cannot be saved.
    pub(crate) fn state(&self) -> Result<SteeringState, TrainError> {
        Ok(SteeringState {
            controller: self.controller.state(IN_CHECKPOINT)?,
            observer: self.observer.state().cloned(),
            path: self.path.state(),
            reward: self.reward.last(),
        })
    }

    /// Goes on with a saved state that fits; the controller was restored when it was checked.
    pub(crate) fn restore(&mut self, state: SteeringState, proof: TakenOver) {
        self.observer = Observer::restore(state.observer, proof);
        self.path = Path::restore(state.path, proof);
        self.reward = RewardTracker::resumed(state.reward, proof);
    }
}
