//! A run on disk: its settings, folder, metrics and evaluations, and how it begins, is saved and ends.

pub mod book_file;
pub mod checkpoint;
pub(crate) mod closing;
mod continued;
mod finish;
pub(crate) mod manifest;
pub(crate) mod numbers;
mod preflight;
pub(crate) mod progress;
mod promise;
mod provenance;
mod public;
pub(crate) mod recorder;
pub(crate) mod records;
mod samples;
pub(crate) mod secrets;
pub(crate) mod session;
pub(crate) mod state;
pub mod storage;
mod tally;

use rldp_model::{Adapter, AdapterLayout, Engine};
use rldp_privacy::{Digests, NoisyRelease};

use self::{
    progress::{Progress, StepView},
    records::EvalRecord,
    tally::NonFinite,
};
pub(crate) use self::{
    recorder::Recorder,
    records::{ControlRecord, StepRecord},
};
use crate::{
    error::TrainError,
    evaluate::{Evaluation, PublicRecords, evaluate},
    learner::UpdateSummary,
    settings::TrainSettings,
};

/// What a run writes and evaluates.
pub(crate) struct Run {
    pub(crate) settings: TrainSettings,
    pub(crate) recorder: Recorder,
    /// How PEFT names the base model.
    pub(crate) base_name: String,
    /// SHA-256 of the base model's files.
    base_digests: Digests,
    /// Records that are assumed public.
    pub(crate) eval: Option<PublicRecords>,
    /// The last evaluation on them, and the step after which it was made.
    pub(crate) evaluation: Option<(u64, Evaluation)>,
    pub(crate) non_finite: NonFinite,
}

/// Where a run stands after a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Steps charged.
    pub(crate) step: u64,
    /// Epsilon that the charges amount to.
    pub(crate) epsilon_spent: f64,
    /// How far releases agree.
    pub(crate) agreement: Option<f64>,
}

impl Run {
    /// Writes a step's line: what was released, and public values.
    pub(crate) fn record_step(
        &mut self,
        standing: Standing,
        layout: &AdapterLayout,
        release: &NoisyRelease,
        update: &UpdateSummary,
        progress: &mut dyn Progress,
    ) -> Result<(), TrainError> {
        let Standing { step, epsilon_spent, agreement } = standing;
        let statistics = release.statistics.as_ref();
        if let Some(statistics) = statistics {
            self.non_finite.add(*statistics.non_finite_fraction.get(), statistics.non_finite_fraction_std);
        }
        let record = StepRecord {
            kind: "step",
            step,
            epsilon_spent,
            noise_multiplier: release.noise_multiplier,
            learning_rate: update.learning_rate,
            loss: statistics.map(|statistics| *statistics.mean_loss.get()),
            loss_bound: statistics.map(|statistics| statistics.loss_high),
            loss_std: statistics.map(|statistics| statistics.mean_loss_std),
            non_finite_fraction: statistics.map(|statistics| *statistics.non_finite_fraction.get()),
            snr: global_snr(layout, release),
            agreement,
            update_norm: update.update_norm,
        };
        self.recorder.metric(&record)?;
        self.recorder.time(step)?;
        progress.step(&StepView {
            step,
            steps: self.settings.privacy.steps,
            batch_size: self.settings.privacy.batch_size,
            record: &record,
        });
        Ok(())
    }

    /// Whether the public records are evaluated after `step`, the last one where the run has `finished`, and were not before a resume.
    pub(crate) fn evaluation_is_due(&self, step: u64, asked: bool) -> bool {
        let due = asked || step.is_multiple_of(self.settings.output.eval_every);
        due && self.eval.is_some() && self.evaluation.is_none_or(|(at, _)| at != step)
    }

    /// Evaluates `adapter` on the public records, when there are any.
    pub(crate) fn evaluate(
        &mut self,
        step: u64,
        engine: &mut dyn Engine,
        adapter: &Adapter,
        progress: &mut dyn Progress,
    ) -> Result<(), TrainError> {
        let Some(records) = &self.eval else { return Ok(()) };
        let evaluation = evaluate(engine, Some(adapter), records)?;
        self.recorder.metric(&EvalRecord::new(step, evaluation))?;
        progress.evaluated(step, &evaluation);
        self.evaluation = Some((step, evaluation));
        Ok(())
    }
}

/// Energy of the released gradient over its noise's, minus 1, over all pairs.
fn global_snr(layout: &AdapterLayout, release: &NoisyRelease) -> f64 {
    let energy: f64 = release.mean_gradient.get().iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
    let pairs = layout.pairs().iter().zip(&release.noise_std);
    let noise: f64 = pairs.map(|(pair, std)| pair.parameter_count() as f64 * std * std).sum();
    if noise > 0.0 { energy / noise - 1.0 } else { 0.0 }
}
