//! The run that is tormented: a model of a few hundred numbers, whose gradients are replaced by zeros so that what a step
//! releases is its noise alone, and a witness outside the run folder that remembers every draw.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rldp_data::{PrivacyUnits, TokenRecord, UnitPolicy};
use rldp_model::{
    Adapter, Engine, ModelConfig, ModelFiles, Sequence, SequenceLoss, UnitGradient, UnitInput, UnitInvariance,
    UnitSinks,
    cpu::{CpuEngine, CpuOptions},
    engine::EngineError,
};
use rldp_train::{
    Inputs, Outcome, Progress, StepView, TrainError, evaluate::Evaluation, evaluate::PublicRecords, files, resume_on,
    settings::TrainSettings, start_on, storage::Storage,
};

use crate::disk::{Fault, FaultyDisk, Shared, guarded};

/// Steps of the run.
pub(crate) const STEPS: u64 = 5;

const CONFIG: &str = r#"{"model_type": "gpt2", "vocab_size": 11, "n_embd": 4, "n_layer": 1, "n_head": 1, "n_positions": 8,
    "bos_token_id": 0, "eos_token_id": 0}"#;

const SETTINGS: &str = r#"
seed = 1
[privacy]
epsilon = 4.0
delta = 1e-5
steps = 5
batch_size = 3.0
noise_bands = 2
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
model = "tiny"
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
decay = "linear"
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

/// A place for one run, and what is known about it from outside.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// Two lines of work: `fixed` or `sac`.
    pub(crate) controller: &'static str,
    /// Noise from a known seed: the bug that the harness must find.
    pub(crate) seeded: bool,
}

impl Place {
    pub(crate) fn new(folder: &Path, index: usize) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        Self { folder: folder.to_owned(), controller: ["fixed", "sac"][index % 2], seeded: false }
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    pub(crate) fn witness(&self) -> PathBuf {
        self.folder.join("witness")
    }

    pub(crate) fn settings(&self) -> TrainSettings {
        let mut settings = TrainSettings::from_toml(SETTINGS).unwrap();
        settings.output.out = self.run();
        settings.control.controller = self.controller.parse().unwrap();
        settings.privacy.unsafe_noise_seed = self.seeded.then_some(9);
        settings
    }
}

/// One process of the run, from where it stands to its end or its fault.
pub(crate) fn drive(place: &Place, shared: &Arc<Shared>) -> Result<Outcome, TrainError> {
    drive_on(place, shared, Arc::new(FaultyDisk { shared: Arc::clone(shared) }))
}

/// The same on a disk of the caller's.
pub(crate) fn drive_on(place: &Place, shared: &Arc<Shared>, storage: Arc<dyn Storage>) -> Result<Outcome, TrainError> {
    let witness = Witness { path: place.witness() };
    let inputs = inputs(Arc::clone(shared), witness.clone());
    let known = place.run().join(files::CONFIG).exists();
    let open = if known { resume_on } else { start_on };
    let mut trainer = open(storage, place.settings(), inputs)?;
    shared.begin_training();
    let outcome = trainer.run(&mut Watch { witness });
    drop(trainer);
    outcome
}

/// `faults child FOLDER CONTROLLER INDEX FAULT`: a process that ends itself by a planned fault, or at its end.
pub(crate) fn child(words: &[String]) {
    let mut place = Place::new(Path::new(&words[0]), 0);
    place.controller = if words[1] == "sac" { "sac" } else { "fixed" };
    let plan = Fault::from_word(&words[3]).map(|fault| (words[2].parse().unwrap(), fault));
    drive(&place, &Shared::new(plan)).unwrap();
}

#[derive(Clone)]
struct Witness {
    path: PathBuf,
}

impl Witness {
    /// One write, so that a kill leaves all of the line or nothing.
    fn say(&self, line: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&self.path).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

struct Watch {
    witness: Witness,
}

impl Progress for Watch {
    fn step(&mut self, view: &StepView) {
        self.witness.say(&format!("released {} {:x}", view.step, view.record.snr.to_bits()));
    }

    fn evaluated(&mut self, _step: u64, _evaluation: &Evaluation) {}
}

/// An engine whose gradients of records are zero, and which tells the witness when records are touched.
struct Watched {
    inner: CpuEngine,
    shared: Arc<Shared>,
    witness: Witness,
}

impl Engine for Watched {
    fn config(&self) -> &ModelConfig {
        self.inner.config()
    }

    fn unit_invariance(&self) -> UnitInvariance {
        self.inner.unit_invariance()
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        self.inner.losses(adapter, sequences)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        let Some(step) = self.shared.drawing() else { return self.inner.unit_gradients(adapter, units, sinks) };
        self.witness.say(&format!("drawn {step}"));
        let _ = guarded(&self.shared, "gradients".to_owned(), || Ok(()));
        let zeros = vec![0.0; adapter.parameters().len()];
        let mut sink = sinks.fork();
        (0..units.len()).for_each(|unit| sink.add(unit, UnitGradient { loss: 1.0, gradient: &zeros }));
        Ok(())
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.inner.logits(adapter, tokens)
    }
}

pub(crate) fn model() -> ModelFiles {
    static FILES: std::sync::OnceLock<ModelFiles> = std::sync::OnceLock::new();
    FILES.get_or_init(|| ModelFiles::from_bytes(CONFIG, weights().leak()).unwrap()).clone()
}

/// Weights of any values: what matters is that numbers flow.
fn weights() -> Vec<u8> {
    let config = ModelConfig::from_json(CONFIG).unwrap();
    let mut seed = 1_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = config
        .tensors()
        .into_iter()
        .map(|spec| {
            let count: usize = spec.shape.iter().product();
            (spec.name, spec.shape, (0..count).flat_map(|_| next().to_le_bytes()).collect())
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn inputs(shared: Arc<Shared>, witness: Witness) -> Inputs {
    let record = |row: usize| TokenRecord {
        row,
        unit: None,
        content: [row as u8; 32],
        tokens: (0..6).map(|t| ((row * 3 + t * 5) % 11) as u32).collect(),
        prefix: 0,
        left_out: 0,
        scored: std::iter::once(1..6).collect(),
    };
    let records: Vec<TokenRecord> = (0..9).map(record).collect();
    let policy = UnitPolicy { max_length: 8, max_records: None, unsafe_seed: None };
    let inner = CpuEngine::new(&model(), CpuOptions::default()).unwrap();
    Inputs {
        engine: Box::new(Watched { inner, shared, witness }),
        controller: None,
        units: PrivacyUnits::by_record(&records, &policy).unwrap(),
        eval: Some(PublicRecords::declare(&records[..2], 8)),
        public: None,
        base_name: "tiny".into(),
        base_digests: rldp_privacy::Digests::new(),
        secrets: rldp_train::Secrets::default(),
    }
}
