//! How long a run will take on this machine: its own loop, timed on public tokens.

use std::{path::Path, time::Instant};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rldp_data::{PrivacyUnits, TokenRecord, UnitPolicy};
use rldp_model::{Engine, ModelConfig};

use crate::{
    error::TrainError,
    evaluate::Evaluation,
    inputs::Inputs,
    planning::recommend::PlanRow,
    run::{
        progress::{Progress, StepView},
        secrets::Secrets,
        session::start,
    },
    settings::{RegimeKind, TrainSettings},
};

/// Units of the first, small step.
const FEW: usize = 4;
/// Units of the second step at most.
const MOST: usize = 256;
/// What the second step is to take, in seconds.
const SECONDS: f64 = 1.5;
/// Timed steps after the first, which warms up.
const STEPS: u64 = 2;
/// Time of an evaluation's token in that of a trained one: forward only.
const FORWARD: f64 = 0.45;

/// What a run takes on this machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Seconds of a step beside its units: noise, the update, the ledger.
    pub step: f64,
    /// Seconds of a unit.
    pub unit: f64,
    /// Seconds of an evaluation's token.
    pub token: f64,
}

impl Pace {
    /// Times steps of two sizes on random tokens, as many in each unit as `length`, in folders under `scratch`.
    ///
    /// No record is touched, and noise comes from a seed.
    ///
    /// # Errors
    /// When the engine cannot be opened, or the loop fails as a run would.
    pub fn measure(
        settings: &TrainSettings,
        length: usize,
        scratch: &Path,
        open: &mut dyn FnMut() -> Result<Box<dyn Engine>, TrainError>,
    ) -> Result<Self, TrainError> {
        let mut time = |units: usize| {
            let settings = rehearsed(settings, units, &scratch.join(format!("units-{units}")));
            seconds_a_step(settings, open()?, units, length)
        };
        let small = time(FEW)?;
        let many = ((SECONDS / small * FEW as f64) as usize).clamp(2 * FEW, MOST);
        let large = time(many)?;
        // A small step uses cores and matrices less well, so the slope may be steeper than the chord: never below half of it.
        let unit = ((large - small) / (many - FEW) as f64).max(0.5 * large / many as f64);
        Ok(Self { step: (large - unit * many as f64).max(0.0), unit, token: FORWARD * unit / length as f64 })
    }

    /// Records that `seconds` are enough for.
    pub fn records_in(&self, seconds: f64) -> f64 {
        seconds / self.unit
    }

    /// Seconds of a whole run, with `evaluated` scored tokens in each evaluation.
    pub fn seconds(&self, plan: &PlanRow, eval_every: u64, evaluated: usize) -> f64 {
        self.unit * plan.records + self.seconds_without_records(plan.steps, eval_every, evaluated)
    }

    /// Seconds of a run's steps beside their records, and of its evaluations.
    pub fn seconds_without_records(&self, steps: u64, eval_every: u64, evaluated: usize) -> f64 {
        // Before the first step, and after the last one.
        let evaluations = 1 + steps.div_ceil(eval_every.max(1));
        steps as f64 * self.step + evaluations as f64 * evaluated as f64 * self.token
    }
}

/// The run's settings, but for what touches records: every unit is in every step.
fn rehearsed(settings: &TrainSettings, units: usize, out: &Path) -> TrainSettings {
    let mut settings = settings.clone();
    let privacy = &mut settings.privacy;
    (privacy.steps, privacy.batch_size, privacy.other_steps) = (1 + STEPS, units as f64, 0);
    privacy.noise_bands = Some(1);
    privacy.regime = RegimeKind::Committed;
    if !privacy.unsafe_non_private {
        (privacy.epsilon, privacy.delta, privacy.unsafe_noise_seed) = (8.0, 1e-5, Some(0));
    }
    (settings.data.eval, settings.data.unit_column) = (None, None);
    (settings.data.hold_out_members, settings.data.canaries) = (None, None);
    (settings.control.public_probe, settings.control.rate_search) = (false, false);
    // It touches no record, so no book is told.
    (settings.data.units, settings.output.book) = (None, None);
    out.clone_into(&mut settings.output.out);
    settings
}

/// Mean time of the steps after the first.
fn seconds_a_step(
    settings: TrainSettings,
    engine: Box<dyn Engine>,
    units: usize,
    length: usize,
) -> Result<f64, TrainError> {
    let policy = UnitPolicy { max_length: length, max_records: None, unsafe_seed: Some(0) };
    let records = random_records(engine.config(), units, length);
    let inputs = Inputs {
        engine,
        controller: None,
        units: PrivacyUnits::by_record(&records, &policy)?,
        secrets: Secrets::default(),
        eval: None,
        public: None,
        base_name: "rehearsal".into(),
        base_digests: rldp_privacy::Digests::new(),
    };
    let mut clock = Clock::default();
    start(settings, inputs)?.run(&mut clock)?;
    let times = &clock.0;
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Ok(0.0) };
    Ok(last.duration_since(*first).as_secs_f64() / (times.len() - 1).max(1) as f64)
}

/// When each step ended.
#[derive(Default)]
struct Clock(Vec<Instant>);

impl Progress for Clock {
    fn step(&mut self, _view: &StepView) {
        self.0.push(Instant::now());
    }

    fn evaluated(&mut self, _step: u64, _evaluation: &Evaluation) {}
}

/// Every position of a record, as one range.
fn all(length: usize) -> Vec<std::ops::Range<usize>> {
    std::iter::once(0..length).collect()
}

fn random_records(config: &ModelConfig, count: usize, length: usize) -> Vec<TokenRecord> {
    let mut rng = ChaCha12Rng::seed_from_u64(0);
    let mut tokens = || (0..length).map(|_| rng.random_range(0..config.vocab_size as u32)).collect();
    let record = |row| TokenRecord {
        row,
        unit: None,
        content: [0; 32],
        tokens: tokens(),
        prefix: 0,
        scored: all(length),
        left_out: 0,
    };
    (0..count).map(record).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rldp_data::demo;
    use rldp_model::{
        ModelFiles,
        cpu::{CpuEngine, CpuOptions},
    };

    use super::*;
    use crate::testing::settings;

    /// What times are made of, and that a rehearsal leaves the settings' own folder alone.
    #[test]
    fn a_rehearsal_is_timed_beside_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings();
        settings.output.out = folder.path().join("run");
        let mut open = || -> Result<Box<dyn Engine>, TrainError> {
            let files = ModelFiles::from_bytes(demo::MODEL_CONFIG, demo::WEIGHTS)?;
            Ok(Box::new(CpuEngine::new(&files, CpuOptions::default())?))
        };
        let pace = Pace::measure(&settings, 16, folder.path(), &mut open).unwrap();
        assert!(pace.unit > 0.0 && pace.step >= 0.0 && pace.token > 0.0, "{pace:?}");
        assert!(!settings.output.out.exists());
    }

    #[test]
    fn a_run_is_as_long_as_its_parts() {
        let pace = Pace { step: 1.0, unit: 0.5, token: 0.01 };
        let plan = PlanRow {
            steps: 10,
            batch_size: 4.0,
            sampling_rate: 0.1,
            noise_bands: 1,
            noise_multiplier: 1.0,
            signal_to_noise: None,
            records: 40.0,
            epochs: 1.0,
        };
        assert!((pace.seconds(&plan, 5, 100) - (10.0 * 3.0 + 3.0)).abs() < 1e-12);
        assert_eq!(pace.records_in(30.0 - pace.seconds_without_records(10, 5, 0)), 40.0);
    }
}
