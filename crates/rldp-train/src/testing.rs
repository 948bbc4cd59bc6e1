//! Small settings and layouts for unit tests.

use rldp_control::{ControllerKind, SacSettings};
use rldp_model::{AdapterLayout, LinearKind, LinearSpec};
use rldp_privacy::accounting::AccountantKind;

use crate::settings::{
    ClippingKind, ControlSettings, DataSettings, Decay, EngineKind, ModelSettings, OptimizerSettings, OutputSettings,
    PrivacySettings, RegimeKind, TrainSettings,
};

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
            batch_size: 20.0,
            regime: RegimeKind::Committed,
            accountant: AccountantKind::Rdp,
            clipping: ClippingKind::PairWise,
            clip_norm: 0.5,
            statistics_share: 0.02,
            unsafe_noise_seed: None,
        },
        data: DataSettings {
            train: "train.csv".into(),
            eval: None,
            text_column: "text".into(),
            prompt_column: None,
            completion_column: None,
            unit_column: None,
            max_records_per_unit: None,
            max_length: 64,
        },
        model: ModelSettings {
            model: "model".into(),
            rank: 4,
            lora_alpha: 8.0,
            target_modules: None,
            engine: EngineKind::Cpu,
            micro_batch_tokens: None,
        },
        optimizer: OptimizerSettings {
            learning_rate: 0.01,
            warmup: 0.0,
            decay: Decay::Linear,
            beta1: 0.9,
            beta2: 0.999,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
        },
        control: ControlSettings {
            controller: ControllerKind::Fixed,
            interval: 10,
            policy: None,
            public_probe: false,
            sac: SacSettings::default(),
        },
        output: OutputSettings { out: "run".into(), eval_every: 10, checkpoint_every: 10 },
    }
}
