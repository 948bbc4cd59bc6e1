//! The loop: charge, sample, clip, sum, add noise, update; every `interval` steps observe and steer.

use rldp_model::Engine;
use rldp_privacy::{NoisyRelease, Observable};

use crate::{
    error::TrainError,
    evaluate::Evaluation,
    learner::PublicText,
    learner::{Learner, UpdateSummary},
    mechanism::{Mechanism, Summation},
    run::{Run, Standing, progress::Progress},
    steering::Steering,
};

/// A run between two steps. Built by [`crate::start`] or [`crate::resume`].
pub struct Trainer {
    /// Computes losses and gradients.
    pub(crate) engine: Box<dyn Engine>,
    /// From a charge to a release.
    pub(crate) mechanism: Mechanism,
    /// From a release to the next iterate.
    pub(crate) learner: Learner,
    /// Moves both.
    pub(crate) steering: Steering,
    /// What is written.
    pub(crate) run: Run,
    /// Text to begin with; none once that is done.
    pub(crate) public: Option<PublicText>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Steps charged.
    pub steps: u64,
    /// Whether all planned steps were made.
    pub finished: bool,
    /// Last evaluation on public records.
    pub evaluation: Option<Evaluation>,
    /// What a user must know, such as an adapter that did not move.
    pub warnings: Vec<String>,
}

impl Trainer {
    /// Runs until the plan is done, the filter refuses, the controller has had enough, or `progress` asks to stop.
    ///
    /// # Errors
    /// When the folder cannot be written, the ledger cannot be synced, or the engine fails. What was charged stays charged.
    pub fn run(&mut self, progress: &mut dyn Progress) -> Result<Outcome, TrainError> {
        if !self.warm_up(progress)? {
            return Ok(Outcome { steps: 0, finished: false, evaluation: None, warnings: Vec::new() });
        }
        self.evaluate(progress)?;
        while !self.has_finished() && !progress.should_stop() {
            // Charge, sample, clip and sum, add noise.
            let Self { engine, mechanism, learner, .. } = self;
            let Some(release) = mechanism.step(engine.as_mut(), &learner.adapter)? else { break };
            self.update(&release, progress)?;
            self.evaluate(progress)?;
            self.steer()?;
            if self.steps().is_multiple_of(self.run.settings.output.checkpoint_every) {
                self.checkpoint()?;
            }
        }
        // A filter that refused, which ends a run before its last step.
        self.evaluate(progress)?;
        self.finish()
    }

    /// Sums batches by `summation` from now on, instead of in this process alone.
    pub fn sum_by(&mut self, summation: Box<dyn Summation>) {
        self.mechanism.summation = summation;
    }

    /// The claim in words.
    pub fn statement(&self) -> String {
        self.mechanism.spender.claim().statement()
    }

    /// Steps charged.
    fn steps(&self) -> u64 {
        self.mechanism.spender.steps_charged()
    }

    /// Moves the adapter by a release, and writes down both.
    pub(crate) fn update(
        &mut self,
        release: &NoisyRelease,
        progress: &mut dyn Progress,
    ) -> Result<UpdateSummary, TrainError> {
        let step = self.steps();
        let Self { mechanism, learner, steering, run, .. } = self;
        let seen = steering.observer.compare(learner.layout(), release);
        let overshot = learner.overshot(step, seen.map(|seen| seen.seen()).as_ref());
        let momentum = learner.optimizer.first_moment();
        steering.observer.record(learner.layout(), release, momentum, seen, !overshot);
        steering.path.add(release);
        let agreement = steering.path.agreement();
        learner.adapt(step, agreement);
        let update = learner.update(step, release, &mechanism.noise_levels()?, overshot);
        let agreement = agreement.map(Observable::value);
        let standing = Standing { step, epsilon_spent: mechanism.spender.spent_epsilon(), agreement };
        run.record_step(standing, learner.layout(), release, &update, progress)?;
        Ok(update)
    }

    /// The controller's turn, when an interval ends and there is something to steer.
    pub(crate) fn steer(&mut self) -> Result<(), TrainError> {
        let (step, Self { mechanism, learner, steering, run, .. }) = (self.steps(), self);
        if mechanism.promises_nothing() || !steering.is_due(step) {
            return Ok(());
        }
        let evaluation = run.evaluation.map(|(_, evaluation)| evaluation);
        match steering.steer(step, mechanism, learner, evaluation)? {
            Some(record) => run.recorder.metric(&record),
            None => Ok(()),
        }
    }

    /// Evaluates the adapter that would be kept, on public records, when it is time to.
    fn evaluate(&mut self, progress: &mut dyn Progress) -> Result<(), TrainError> {
        let step = self.steps();
        let asked = self.has_finished() || self.steering.is_rewarded_by_evaluation(step);
        let Self { engine, learner, run, .. } = self;
        if !run.evaluation_is_due(step, asked) {
            return Ok(());
        }
        run.evaluate(step, engine.as_mut(), &learner.average.of(&learner.adapter), progress)
    }
}
