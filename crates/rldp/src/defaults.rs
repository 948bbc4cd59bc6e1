//! Built-in settings. Every number here is a choice; `docs/results` has the runs that back it.

use rldp_model::{ModelConfig, cpu::Precision};
use toml::Table;

/// Defaults of everything that is not required but the learning rate, given the model's architecture when it could be opened.
pub(crate) fn table(config: Option<&ModelConfig>) -> Table {
    let limit = config.map_or(128, |config| config.max_positions);
    let text = format!(
        r#"
seed = 0
[privacy]
steps = 200
other_steps = 0
batch_size = 256.0
regime = "committed"
accountant = "pld"
clipping = "joint"
scaling = "clip"
geometry = "none"
clip_norm = 0.1
statistics_share = 0.02
[data]
text_column = "text"
max_length = {max_length}
[model]
rank = 8
lora_alpha = 16.0
trainable = "both"
engine = "cpu"
precision = "{precision}"
[optimizer]
optimizer = "adamw"
warmup = 0.0
decay = "linear"
beta1 = 0.3
beta2 = 0.999
adam_epsilon = 1e-8
noise_floor = 0.25
weight_decay = 0.0
[control]
controller = "fixed"
interval = 10
frozen = false
public_probe = false
unsafe_raw_observations = false
[control.sac]
[output]
eval_every = 25
checkpoint_every = 10
"#,
        max_length = limit.min(128),
        precision = match Precision::best() {
            Precision::Bf16 => "bf16",
            Precision::F32 => "f32",
        },
    );
    text.parse().unwrap_or_default()
}
