//! Everything a run needs to go on. This is the checkpoint.
//!
//! Contents are released or public values only. The ledger, not the state, says what is spent: an old state refunds nothing,
//! and one that the ledger does not reach is refused. There is no state of the sampler or the noise on purpose: both draw from
//! fresh keys in every process, so that no stream is used twice.

use rldp_model::Adapter;
use rldp_privacy::{LedgerPosition, TakenOver};
use serde::{Deserialize, Serialize};

use super::tally::NonFinite;
use crate::{
    error::TrainError, evaluate::Evaluation, learner::LearnerState, mechanism::MechanismState, steering::SteeringState,
    trainer::Trainer,
};

/// State of a run between two steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// Steps charged when it was saved.
    pub steps_charged: u64,
    /// Where the ledger stood: the state may only go on with a ledger that has this place.
    pub ledger: LedgerPosition,
    /// Bytes of metrics written before it.
    pub metrics: u64,
    /// Of the mechanism.
    pub mechanism: MechanismState,
    /// Of the learner.
    pub learner: LearnerState,
    /// Of the controller.
    pub steering: SteeringState,
    /// Released fractions of units with a non-finite gradient.
    pub(crate) non_finite: NonFinite,
    /// The last evaluation on public records, and the step after which it was made.
    pub evaluation: Option<(u64, Evaluation)>,
}

impl Trainer {
    /// What a later process goes on with, when the metrics are `metrics` bytes long.
    pub(crate) fn state(&self, metrics: u64) -> Result<RunState, TrainError> {
        Ok(RunState {
            steps_charged: self.mechanism.spender.steps_charged(),
            ledger: self.mechanism.spender.position(),
            metrics,
            mechanism: self.mechanism.state(),
            learner: self.learner.state(),
            steering: self.steering.state()?,
            non_finite: self.run.non_finite,
            evaluation: self.run.evaluation,
        })
    }

    /// Goes on with a state that [`RunState::check`] has let pass. `proof` says that the ledger reaches it.
    pub(crate) fn restore(&mut self, state: RunState, proof: TakenOver) -> Result<(), TrainError> {
        self.mechanism.restore(state.mechanism)?;
        self.learner.restore(state.learner);
        self.steering.restore(state.steering, proof);
        self.run.non_finite = state.non_finite;
        self.run.evaluation = state.evaluation;
        Ok(())
    }
}

impl RunState {
    /// Checks that the state is of a run with this adapter, `start` of its mechanism, and `bins` of norms in its statistics.
    ///
    /// # Errors
    /// When it is not; names what differs.
    pub(crate) fn check(
        &self,
        adapter: &Adapter,
        start: &crate::mechanism::Controls,
        bins: Option<usize>,
    ) -> Result<(), TrainError> {
        let (pairs, parameters) = (adapter.layout().pairs().len(), adapter.parameters().len());
        let controls = &self.mechanism.controls;
        let sizes = [
            ("adapter parameters", self.learner.parameters.len(), parameters),
            ("clip norms", controls.clip_norms.len(), pairs),
            ("shares", controls.shares.len(), pairs),
        ];
        for (what, found, expected) in sizes {
            if found != expected {
                return Err(TrainError::Refused(format!(
                    "the checkpoint holds {found} {what}, the settings ask for {expected}; resume with the run's own --rank and \
                     --target-modules"
                )));
            }
        }
        let observer = self.steering.observer.as_ref();
        let trained = adapter.layout().trained_count();
        let fits = observer.is_none_or(|observer| observer.fits(pairs, parameters, bins))
            && self.steering.path.as_ref().is_none_or(|path| path.fits(trained, self.steps_charged));
        if fits && self.learner.fits(pairs) && controls.fits(start) {
            return Ok(());
        }
        Err(TrainError::Refused(
            "the checkpoint's state is out of range; it was not written by this program".to_owned(),
        ))
    }
}
