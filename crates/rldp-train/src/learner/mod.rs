//! From a release to the next iterate, and to the adapter that is kept. Post-processing: it sees released values only.

mod average;
pub(crate) mod optimizer;
mod post_processing;
mod schedule;
mod warm_up;

use rldp_control::{Consecutive, RateAdaptation, RateSearch, Verdict};
use rldp_model::{Adapter, AdapterLayout};
use rldp_privacy::{NoisyRelease, Observable};
use serde::{Deserialize, Serialize};

pub(crate) use self::average::Average;
use self::optimizer::Moments;
pub use self::{
    optimizer::{Optimizer, Step, UpdateSummary},
    post_processing::PostProcessing,
    warm_up::PublicText,
};
use crate::{
    mechanism::NoiseLevels,
    settings::{OptimizerKind, OptimizerSettings, RateRule, TrainSettings},
};

/// What a run learns with, and what it has learned.
pub(crate) struct Learner {
    settings: OptimizerSettings,
    /// Learning rate at its peak: the user's, or the rule's.
    peak_rate: f64,
    /// T, planned steps.
    steps: u64,
    /// The last iterate.
    pub(crate) adapter: Adapter,
    /// Where it began (P).
    pub(crate) first_parameters: Vec<f32>,
    /// Noise deviations of the first step (K): the unit of the optimizer's moments.
    first_noise_std: Vec<f64>,
    pub(crate) optimizer: Optimizer,
    pub(crate) average: Average,
    pub(crate) post: PostProcessing,
    pub(crate) rate_search: Option<RateSearch>,
    pub(crate) rate_adaptation: Option<RateAdaptation>,
    /// The last step, while the search for the learning rate may take it again.
    pub(crate) last_step: Option<LastStep>,
}

/// What of the learner a run goes on with: functions of released values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnerState {
    /// Adapter parameters (P).
    #[serde(with = "crate::run::numbers")]
    pub(crate) parameters: Vec<f32>,
    pub(crate) moments: Moments,
    pub(crate) average: Average,
    pub(crate) post: PostProcessing,
    pub(crate) rate_search: Option<RateSearch>,
    #[serde(default)]
    pub(crate) rate_adaptation: Option<RateAdaptation>,
}

/// What a step was made of, to take it again. It is in no checkpoint: a resumed run takes no step again.
#[derive(Clone, Debug)]
pub(crate) struct LastStep {
    /// Before the step (P).
    parameters: Vec<f32>,
    optimizer: Optimizer,
    /// The release it was made of (P), and the factors on its pairs (K).
    gradient: Vec<f32>,
    rescale: Vec<f64>,
}

impl Learner {
    /// A learner at the start of a run of `settings`; `noise` is that of the first step, and `rule` what follows from it.
    pub(crate) fn new(settings: &TrainSettings, adapter: Adapter, noise: &NoiseLevels, rule: RateRule) -> Self {
        let (parameters, pairs) = (adapter.parameters().len(), adapter.layout().pairs().len());
        let peak_rate = settings.optimizer.learning_rate.unwrap_or(rule.learning_rate);
        Self {
            optimizer: Optimizer::new(settings.optimizer.clone(), parameters),
            first_parameters: adapter.parameters().to_vec(),
            first_noise_std: noise.std.clone(),
            average: Average::default(),
            post: PostProcessing::start(pairs),
            rate_search: settings.control.rate_search.then(|| rate_search(settings, rule.learning_rate)),
            rate_adaptation: settings.adapts_rate().then(|| RateAdaptation::new(rule.gains_of(peak_rate))),
            peak_rate,
            last_step: None,
            settings: settings.optimizer.clone(),
            steps: settings.privacy.steps,
            adapter,
        }
    }

    pub(crate) fn layout(&self) -> &AdapterLayout {
        self.adapter.layout()
    }

    /// Whether the step before this release overshot, by what the release says of the one before it.
    pub(crate) fn overshot(&mut self, step: u64, seen: Option<&Consecutive>) -> bool {
        let (Some(search), Some(seen)) = (&mut self.rate_search, seen) else { return false };
        let verdict = search.observe(seen, step as f64 / self.steps as f64);
        verdict == Verdict::Redo && self.last_step.is_some()
    }

    /// Takes note of how far the releases of the first `step` steps agree.
    pub(crate) fn adapt(&mut self, step: u64, agreement: Option<Observable>) {
        if let (Some(adaptation), Some(agreement)) = (&mut self.rate_adaptation, agreement) {
            adaptation.observe(agreement, step as f64 / self.steps as f64);
        }
    }

    /// The optimizer's step on the released gradient; or, when the last step overshot, that step `again` at the rate that was
    /// found since, and this release for its statistics only.
    pub(crate) fn update(
        &mut self,
        step: u64,
        release: &NoisyRelease,
        noise: &NoiseLevels,
        again: bool,
    ) -> UpdateSummary {
        let last = self.last_step.take().filter(|_| again);
        let Some(last) = last else {
            let (gradient, rescale) = (release.mean_gradient.get(), self.rescale(noise));
            if self.rate_search.as_ref().is_some_and(RateSearch::searches) {
                self.last_step = Some(LastStep {
                    parameters: self.adapter.parameters().to_vec(),
                    optimizer: self.optimizer.clone(),
                    gradient: gradient.clone(),
                    rescale: rescale.clone(),
                });
            }
            return self.move_adapter(step, gradient, &rescale, noise);
        };
        self.adapter.parameters_mut().copy_from_slice(&last.parameters);
        self.optimizer = last.optimizer;
        self.move_adapter(step, &last.gradient, &last.rescale, noise)
    }

    /// Ratio of each pair's first noise deviation to its present one (K).
    fn rescale(&self, noise: &NoiseLevels) -> Vec<f64> {
        let pairs = self.first_noise_std.iter().zip(&noise.std);
        pairs.map(|(first, now)| if *first > 0.0 && *now > 0.0 { first / now } else { 1.0 }).collect()
    }

    fn move_adapter(&mut self, step: u64, gradient: &[f32], rescale: &[f64], noise: &NoiseLevels) -> UpdateSummary {
        let planned = self.settings.learning_rate_at(self.peak_rate, step - 1, self.steps);
        let searched = self.rate_search.as_ref().map_or(1.0, RateSearch::gain);
        let adapted = self.rate_adaptation.as_ref().map_or(1.0, RateAdaptation::gain);
        let made = Step {
            rescale,
            noise_std: &self.first_noise_std,
            lasting: noise.lasting,
            gains: &self.post.step_factors(),
            beta1: self.beta1(),
            learning_rate: planned * self.post.learning_rate_gain * searched * adapted,
        };
        let summary = self.optimizer.update(&mut self.adapter, gradient, made);
        self.average.add(self.adapter.parameters(), self.post.averaging_horizon);
        summary
    }

    /// β₁ of the next update.
    pub(crate) fn beta1(&self) -> f64 {
        self.post.beta1(self.settings.beta1)
    }

    /// Each pair's distance from its start over √d_i, from released updates only (K).
    pub(crate) fn drift(&self) -> Vec<f64> {
        let (now, first) = (self.adapter.parameters(), &self.first_parameters);
        let of_pair = |pair: &rldp_model::Pair| {
            let squares: f64 = pair.range().map(|i| f64::from(now[i] - first[i]).powi(2)).sum();
            (squares / pair.parameter_count() as f64).sqrt()
        };
        self.layout().pairs().iter().map(of_pair).collect()
    }

    /// What a later process goes on with.
    pub(crate) fn state(&self) -> LearnerState {
        LearnerState {
            parameters: self.adapter.parameters().to_vec(),
            moments: self.optimizer.moments.clone(),
            average: self.average.clone(),
            post: self.post.clone(),
            rate_search: self.rate_search.clone(),
            rate_adaptation: self.rate_adaptation,
        }
    }

    /// Goes on with a saved state that fits.
    pub(crate) fn restore(&mut self, state: LearnerState) {
        self.adapter.parameters_mut().copy_from_slice(&state.parameters);
        self.optimizer.moments = state.moments;
        self.average = state.average;
        self.post = state.post;
        if let (Some(search), Some(saved)) = (&mut self.rate_search, state.rate_search) {
            *search = saved;
        }
        if let (Some(adaptation), Some(saved)) = (&mut self.rate_adaptation, state.rate_adaptation) {
            adaptation.restore(saved);
        }
    }
}

impl LearnerState {
    /// Whether everything but the parameters can be of a run with `pairs` pairs and as many parameters as it holds.
    pub(crate) fn fits(&self, pairs: usize) -> bool {
        let parameters = self.parameters.len();
        let long = [self.moments.first.len(), self.moments.second.len()];
        long.iter().all(|length| *length == parameters)
            && self.average.get().is_none_or(|mean| mean.len() == parameters)
            && self.post.fits(pairs)
            && self.rate_adaptation.is_none_or(|adaptation| adaptation.is_sound())
    }
}

/// The search believes in the rule, where there is one, rather than in a rate that its user is not sure of.
fn rate_search(settings: &TrainSettings, rule: f64) -> RateSearch {
    let given = settings.optimizer.learning_rate.unwrap_or(rule);
    let believed = match settings.optimizer.optimizer {
        OptimizerKind::Adamw | OptimizerKind::AdamBc => rule,
        OptimizerKind::Sgd => given,
    };
    RateSearch::new((believed / given).ln())
}
