//! Small settings, layouts and runs for unit tests.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use rldp_control::{ControllerKind, SacSettings};
use rldp_data::{PROMPT_END, TextTokenizer, UnitIds, demo};
use rldp_model::{
    AdapterLayout, LinearKind, LinearSpec, ModelFiles,
    cpu::{CpuEngine, CpuOptions},
};
use rldp_privacy::{NoisyRelease, accounting::AccountantKind};

use crate::{
    Inputs, Progress, StepView, TrainError, Trainer,
    evaluate::Evaluation,
    load_records,
    settings::{
        ClippingKind, ControlSettings, DataSettings, Decay, EngineKind, GeometryKind, Initialization, ModelSettings,
        OptimizerKind, OptimizerSettings, OutputSettings, PrecisionKind, PrivacySettings, RegimeKind, TrainSettings,
        Trainable,
    },
    start,
};

impl Trainer {
    /// The private step, whatever the run claims.
    pub(crate) fn private_step(&mut self) -> Result<Option<NoisyRelease>, TrainError> {
        let Self { engine, mechanism, learner, .. } = self;
        mechanism.private_step(engine.as_mut(), &learner.adapter)
    }
}

/// Asks to stop after some steps.
pub(crate) struct StopAfter(pub(crate) u64);

impl Progress for StopAfter {
    fn step(&mut self, _view: &StepView) {
        self.0 -= 1;
    }

    fn evaluated(&mut self, _step: u64, _evaluation: &Evaluation) {}

    fn should_stop(&self) -> bool {
        self.0 == 0
    }
}

/// One pair of rank 1 on a map of one number: two parameters.
pub(crate) fn smallest_layout() -> AdapterLayout {
    let linear = LinearSpec {
        name: "map".into(),
        layer: 0,
        kind: LinearKind::Query,
        in_features: 1,
        out_features: 1,
        bias: false,
        transposed: false,
    };
    AdapterLayout::new(1, 1.0, vec!["map".into()], vec![linear])
}

/// Settings that validate.
pub(crate) fn settings() -> TrainSettings {
    TrainSettings {
        seed: 0,
        privacy: PrivacySettings {
            epsilon: 3.0,
            delta: 1e-5,
            steps: 50,
            other_steps: 0,
            noise_bands: Some(1),
            batch_size: 20.0,
            regime: RegimeKind::Committed,
            accountant: AccountantKind::Rdp,
            clipping: ClippingKind::PairWise,
            scaling: rldp_privacy::Scaling::Clip,
            geometry: GeometryKind::None,
            clip_norm: 0.5,
            statistics_share: 0.02,
            unsafe_noise_seed: None,
            unsafe_non_private: false,
        },
        data: DataSettings {
            train: "train.csv".into(),
            eval: None,
            public: Vec::new(),
            text_column: None,
            prompt_column: None,
            completion_column: None,
            messages_column: None,
            unit_column: None,
            unit_ids: UnitIds::default(),
            delimiter: None,
            prompt_end: PROMPT_END.into(),
            units: None,
            allow_shared_eval: false,
            max_records_per_unit: None,
            max_length: 64,
            hold_out_members: None,
            canaries: None,
        },
        model: ModelSettings {
            model: "model".into(),
            adapter: None,
            after: None,
            rank: 4,
            lora_alpha: 8.0,
            target_modules: None,
            use_rslora: false,
            init_lora_weights: Initialization::Default,
            trainable: Trainable::Both,
            engine: EngineKind::Cpu,
            device: rldp_model::DeviceChoice::Cpu,
            precision: PrecisionKind::F32,
            micro_batch_tokens: None,
            memory_limit: None,
        },
        optimizer: OptimizerSettings {
            optimizer: OptimizerKind::Adamw,
            learning_rate: Some(0.01),
            warmup: 0.0,
            decay: Decay::Linear,
            beta1: 0.9,
            beta2: 0.999,
            adam_epsilon: 1e-8,
            noise_floor: 0.25,
            weight_decay: 0.0,
        },
        control: ControlSettings {
            controller: ControllerKind::Fixed,
            interval: 10,
            policy: None,
            frozen: false,
            allow_private_policy: false,
            rate_search: false,
            rate_adaptation: None,
            public_probe: false,
            unsafe_raw_observations: false,
            sac: SacSettings::default(),
        },
        output: OutputSettings { out: "run".into(), book: None, eval_every: 10, checkpoint_every: 10 },
    }
}

/// Settings of a small run on `patients` demo patients in `folder`.
pub(crate) fn demo_settings(folder: &Path, patients: usize) -> TrainSettings {
    let mut settings = settings();
    settings.data.train = folder.join("train.csv").into();
    settings.data.unit_column = Some("patient".into());
    settings.data.max_length = 32;
    settings.output.out = folder.join("run");
    demo::write_notes(settings.data.train.first(), 3, patients).unwrap();
    settings
}

/// The lines of a run's metrics.
pub(crate) fn metrics(settings: &TrainSettings) -> Vec<serde_json::Value> {
    let text = fs_err::read_to_string(settings.output.out.join(crate::files::METRICS)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A run that is about to make its first step.
pub(crate) fn demo_trainer(settings: &TrainSettings) -> Trainer {
    start(settings.clone(), demo_inputs(settings)).unwrap()
}

/// The demo model and the records of the settings.
pub(crate) fn demo_inputs(settings: &TrainSettings) -> Inputs {
    let files = ModelFiles::from_bytes(demo::MODEL_CONFIG, demo::WEIGHTS).unwrap();
    let tokenizer = TextTokenizer::from_bytes(demo::TOKENIZER.as_bytes()).unwrap();
    let records = load_records(settings, &tokenizer, &files.config).unwrap();
    let engine = CpuEngine::new(&files, CpuOptions::default()).unwrap();
    Inputs {
        engine: Box::new(engine),
        controller: None,
        units: records.units,
        secrets: records.secrets,
        eval: records.eval,
        public: records.public,
        base_name: "demo".into(),
        base_digests: rldp_privacy::Digests::new(),
    }
}
