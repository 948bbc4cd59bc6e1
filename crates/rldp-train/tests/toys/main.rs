//! Somebody else's engine and controller in a private run, by the public interface alone.

#![allow(clippy::unwrap_used)]

mod controller;
mod engine;

use std::path::Path;

use rldp_data::{PrivacyUnits, TokenRecord, UnitPolicy};
use rldp_model::ModelConfig;
use rldp_train::{
    Inputs, Progress, Silent, StepView, evaluate::Evaluation, files, resume, settings::TrainSettings, start,
};
use serde_json::Value;

const CONFIG: &str = r#"{"model_type": "gpt2", "vocab_size": 11, "n_embd": 4, "n_layer": 1, "n_head": 1, "n_positions": 8,
    "bos_token_id": 0, "eos_token_id": 0}"#;

const SETTINGS: &str = r#"
seed = 1
[privacy]
epsilon = 4.0
delta = 1e-5
steps = 6
batch_size = 20.0
noise_bands = 1
regime = "committed"
accountant = "rdp"
clipping = "pair-wise"
scaling = "clip"
geometry = "none"
clip_norm = 0.1
statistics_share = 0.1
[data]
train = "private.csv"
text_column = "text"
max_length = 8
[model]
model = "line"
rank = 1
lora_alpha = 2.0
trainable = "both"
engine = "cpu"
precision = "f32"
target_modules = ["c_attn"]
[optimizer]
optimizer = "adamw"
noise_floor = 0.25
learning_rate = 0.01
warmup = 0.0
decay = "constant"
beta1 = 0.3
beta2 = 0.999
adam_epsilon = 1e-8
weight_decay = 0.0
[control]
controller = "fixed"
interval = 2
public_probe = false
frozen = false
[control.sac]
hidden_size = 2
batch_size = 1
[output]
out = "run"
eval_every = 3
checkpoint_every = 2
"#;

/// Ends the run after some steps.
struct After(u64);

impl Progress for After {
    fn step(&mut self, _view: &StepView) {
        self.0 -= 1;
    }

    fn evaluated(&mut self, _step: u64, _evaluation: &Evaluation) {}

    fn should_stop(&self) -> bool {
        self.0 == 0
    }
}

fn settings(folder: &Path) -> TrainSettings {
    let mut settings = TrainSettings::from_toml(SETTINGS).unwrap();
    settings.output.out = folder.join("run");
    settings
}

fn inputs() -> Inputs {
    let record = |row: usize| TokenRecord {
        row,
        unit: None,
        content: [row as u8; 32],
        tokens: (0..6).map(|t| ((row * 3 + t * 5) % 11) as u32).collect(),
        prefix: 0,
        scored: std::iter::once(1..6).collect(),
        left_out: 0,
    };
    let records: Vec<TokenRecord> = (0..60).map(record).collect();
    let policy = UnitPolicy { max_length: 8, max_records: None, unsafe_seed: None };
    Inputs {
        engine: Box::new(engine::Line { config: ModelConfig::from_json(CONFIG).unwrap() }),
        controller: Some(Box::<controller::Halver>::default()),
        units: PrivacyUnits::by_record(&records, &policy).unwrap(),
        secrets: rldp_train::Secrets::default(),
        eval: None,
        public: None,
        base_name: "line".into(),
        base_digests: rldp_privacy::Digests::new(),
    }
}

#[test]
fn a_toy_engine_and_a_toy_controller_make_a_private_run_that_is_resumed_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    start(settings.clone(), inputs()).unwrap().run(&mut After(3)).unwrap();
    let outcome = resume(settings.clone(), inputs()).unwrap().run(&mut Silent).unwrap();
    assert!(outcome.finished && outcome.warnings.is_empty(), "{:?}", outcome.warnings);
    let text = |name: &str| fs_err::read_to_string(settings.output.out.join(name)).unwrap();
    let found = rldp_privacy::verify(&text(files::LEDGER));
    assert!(found.holds && found.steps == 6, "{:?}", found.checks);
    let lines: Vec<Value> = text(files::METRICS).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let controls: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "control").collect();
    let counted: Vec<_> = controls.iter().map(|line| line["controller"]["decisions"].as_u64().unwrap()).collect();
    assert_eq!(counted, [1, 2, 3], "the controller went on where it was, over the resume");
    let gains: Vec<f64> = controls.iter().map(|line| line["learning_rate_gain"].as_f64().unwrap()).collect();
    assert!(gains.iter().zip([1.0, 0.5, 0.25]).all(|(gain, want)| (gain - want).abs() < 1e-12), "{gains:?}");
    let manifest: Value = serde_json::from_str(&text(files::MANIFEST)).unwrap();
    assert_eq!(manifest["controller"], "halver");
}
