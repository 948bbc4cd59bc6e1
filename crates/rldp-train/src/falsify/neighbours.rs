//! What is written of a run must follow from what was released, and from nothing else: two runs that released the same numbers write the
//! same bytes, whoever their records are of.

use rldp_model::{
    Adapter, Engine, ModelConfig, Sequence, SequenceLoss, UnitGradient, UnitInput, UnitInvariance, UnitSinks,
    engine::EngineError,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Silent, Trainer, files,
    settings::TrainSettings,
    start,
    testing::{demo_inputs, demo_settings},
};

/// Everything that a line of metrics may hold.
const KEYS: [&str; 32] = [
    "kind",
    "label",
    "step",
    "lost_steps",
    "changed",
    "epsilon_spent",
    "noise_multiplier",
    "learning_rate",
    "loss",
    "loss_bound",
    "loss_std",
    "non_finite_fraction",
    "snr",
    "agreement",
    "update_norm",
    "clip_norms",
    "shares",
    "noise_std",
    "clip_fractions",
    "learning_rate_gain",
    "step_gains",
    "beta1",
    "averaging_horizon",
    "stop",
    "persistence",
    "reward",
    "projected",
    "controller",
    "perplexity",
    "nll",
    "tokens",
    "records",
];

/// The demo model with gradients of zero: every batch, whoever is in it, releases noise alone.
struct Nothing(Box<dyn Engine>);

impl Engine for Nothing {
    fn config(&self) -> &ModelConfig {
        self.0.config()
    }

    fn unit_invariance(&self) -> UnitInvariance {
        UnitInvariance::Exact
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        self.0.losses(adapter, sequences)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        let (gradient, mut sink) = (vec![0.0_f32; adapter.parameters().len()], sinks.fork());
        (0..units.len()).for_each(|unit| sink.add(unit, UnitGradient { loss: 0.0, gradient: &gradient }));
        Ok(())
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.0.logits(adapter, tokens)
    }
}

/// Metrics of a run over `patients` patients, of which 20 were declared and all take part in every step, with the same noise.
fn metrics(patients: usize, run: impl Fn(&mut Trainer)) -> String {
    let folder = TempDir::new().unwrap();
    let mut settings: TrainSettings = demo_settings(folder.path(), patients);
    settings.data.units = Some(20);
    settings.privacy.batch_size = 20.0;
    settings.privacy.steps = 4;
    settings.privacy.statistics_share = 0.0;
    settings.privacy.unsafe_noise_seed = Some(3);
    settings.control.interval = 2;
    let mut trainer = start(settings.clone(), demo_inputs(&settings)).unwrap();
    let inner = std::mem::replace(&mut trainer.engine, demo_inputs(&settings).engine);
    trainer.engine = Box::new(Nothing(inner));
    run(&mut trainer);
    drop(trainer);
    fs_err::read_to_string(settings.output.out.join(files::METRICS)).unwrap()
}

/// Metrics of neighbours under the same releases are byte-equal. Deterministic.
pub(super) fn metrics_tell_more_than_was_released(run: impl Fn(&mut Trainer)) -> Result<(), String> {
    if metrics(12, &run) == metrics(11, &run) { Ok(()) } else { Err("neighbours' metrics differ".into()) }
}

/// No key stands in the metrics that nobody thought about. Deterministic.
pub(super) fn metrics_have_unknown_keys(run: impl Fn(&mut Trainer)) -> Result<(), String> {
    let text = metrics(12, run);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let keys: Vec<String> =
        lines.flat_map(|line| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>()).collect();
    assert!(keys.iter().any(|key| key == "update_norm") && keys.iter().any(|key| key == "clip_norms"), "{keys:?}");
    match keys.iter().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => Err(format!("`{key}` is no known key of metrics")),
        None => Ok(()),
    }
}

/// The run as it is.
pub(super) fn honest(trainer: &mut Trainer) {
    trainer.run(&mut Silent).unwrap();
}

/// Writes how many units a batch held.
pub(super) fn writes_the_size_of_batches(trainer: &mut Trainer) {
    trainer.run(&mut Silent).unwrap();
    let size = trainer.mechanism.sampled().indices().len();
    trainer.run.recorder.metric(&serde_json::json!({ "kind": "step", "step": 4, "batch": size })).unwrap();
    trainer.run.recorder.sync().unwrap();
}
