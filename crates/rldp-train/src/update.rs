//! From a release to the next iterate, and to the adapter that is kept. Post-processing: it sees released values only.

use rldp_control::{RateSearch, Verdict};
use rldp_privacy::NoisyRelease;

use crate::{
    error::TrainError,
    optimizer::{Optimizer, Step, UpdateSummary},
    trainer::Trainer,
};

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

impl Trainer {
    /// The optimizer's step on the released gradient; or, when the search for the learning rate finds that the last step
    /// overshot, that step again at the rate it found, and this release for its statistics only.
    pub(crate) fn update(&mut self, step: u64, release: &NoisyRelease) -> Result<UpdateSummary, TrainError> {
        let steps = self.settings.privacy.steps;
        let seen = self.observer.consecutive(self.adapter.layout(), release);
        let verdict = match (&mut self.rate_search, seen) {
            (Some(search), Some(seen)) => search.observe(&seen, step as f64 / steps as f64),
            _ => Verdict::Go,
        };
        let again = self.last_step.take().filter(|_| verdict == Verdict::Redo);
        let momentum = self.optimizer.first_moment();
        self.observer.record(self.adapter.layout(), release, momentum, seen, again.is_none());
        let Some(last) = again else {
            let (gradient, rescale) = (release.mean_gradient.get(), self.rescale()?);
            if self.rate_search.as_ref().is_some_and(RateSearch::searches) {
                self.last_step = Some(LastStep {
                    parameters: self.adapter.parameters().to_vec(),
                    optimizer: self.optimizer.clone(),
                    gradient: gradient.clone(),
                    rescale: rescale.clone(),
                });
            }
            return Ok(self.move_adapter(step, gradient, &rescale));
        };
        self.adapter.parameters_mut().copy_from_slice(&last.parameters);
        self.optimizer = last.optimizer;
        Ok(self.move_adapter(step, &last.gradient, &last.rescale))
    }

    /// Ratio of each pair's first noise deviation to its present one (K).
    fn rescale(&self) -> Result<Vec<f64>, TrainError> {
        let pairs = self.first_noise_std.iter().zip(self.noise_std()?);
        Ok(pairs.map(|(first, now)| if *first > 0.0 && now > 0.0 { first / now } else { 1.0 }).collect())
    }

    fn move_adapter(&mut self, step: u64, gradient: &[f32], rescale: &[f64]) -> UpdateSummary {
        let post = &self.now.post;
        let planned = self.settings.optimizer.learning_rate_at(step - 1, self.settings.privacy.steps);
        let searched = self.rate_search.as_ref().map_or(1.0, RateSearch::gain);
        let made = Step {
            rescale,
            noise_std: &self.first_noise_std,
            lasting: self.spender.bands().lasting(),
            gains: &post.step_factors(),
            beta1: post.beta1(self.settings.optimizer.beta1),
            learning_rate: planned * post.learning_rate_gain * searched,
        };
        let summary = self.optimizer.update(&mut self.adapter, gradient, made);
        self.average.add(self.adapter.parameters(), self.now.post.averaging_horizon);
        summary
    }
}
