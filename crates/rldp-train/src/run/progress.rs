//! What a run tells whoever watches it.

use super::records::StepRecord;
use crate::evaluate::Evaluation;

/// A step that was just made. Its speed is to be told in expected units: the realised batch is secret.
#[derive(Clone, Copy, Debug)]
pub struct StepView<'a> {
    /// Steps charged.
    pub step: u64,
    /// Steps planned.
    pub steps: u64,
    /// Expected units a step.
    pub batch_size: f64,
    /// What was released.
    pub record: &'a StepRecord,
}

/// Watches a run.
pub trait Progress {
    /// After every step.
    fn step(&mut self, view: &StepView);
    /// After every evaluation on public records.
    fn evaluated(&mut self, step: u64, evaluation: &Evaluation);
    /// After every look at the public records that are held out of a warm-up, after `updates` of its steps.
    fn warming(&mut self, _updates: u64, _held_out: &Evaluation) {}
    /// Asked before every step; `true` ends the run after saving it.
    fn should_stop(&self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&mut self, _view: &StepView) {}
    fn evaluated(&mut self, _step: u64, _evaluation: &Evaluation) {}
}
