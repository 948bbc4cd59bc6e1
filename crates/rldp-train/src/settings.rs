//! Everything that decides a run, resolved: written to `config.toml` before the first step and enough to repeat it.

mod bounds;

use std::path::PathBuf;

use rldp_control::{ControllerKind, SacSettings};
use rldp_privacy::{Scaling, accounting::AccountantKind};
use serde::{Deserialize, Serialize};

use crate::{error::TrainError, memory_size::MemorySize};
use bounds::{positive, within};

/// Whether noise multipliers are fixed before the first step or chosen while training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegimeKind {
    /// All noise multipliers are fixed in advance; numerical (PLD) accounting is valid.
    Committed,
    /// A fixed multiset of noise multipliers, whose order the controller chooses: the price of the committed plan.
    Deck,
    /// The controller also moves the noise multiplier; a fixed-order Rényi filter stands before every step.
    Adaptive,
}

/// How a unit's gradient is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClippingKind {
    /// Every adapter pair has its own threshold and its own share of the budget.
    PairWise,
    /// One threshold for the whole gradient (the usual DP-SGD).
    Flat,
}

/// Learning-rate schedule after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Linear to zero at the last step.
    Linear,
    /// Half a cosine to zero at the last step.
    Cosine,
    /// No decay.
    Constant,
}

/// In which coordinates a unit's gradient is bounded and gets its noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeometryKind {
    /// The gradient's own.
    #[default]
    None,
    /// Every coordinate on a scale learned from releases (AdaClip).
    Adaclip,
    /// The eigenbasis of released gradients (GeoClip).
    Geoclip,
}

/// What is trained of every adapter pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trainable {
    /// A and B.
    #[default]
    Both,
    /// B alone; A stays at its random start (FFA-LoRA).
    B,
}

/// How a released gradient becomes an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// AdamW.
    #[default]
    Adamw,
    /// AdamW whose second moment has the noise's known variance taken off.
    AdamBc,
    /// Gradient descent with momentum `beta1`.
    Sgd,
}

/// Which engine computes gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// The fast CPU engine.
    Cpu,
    /// The readable autodiff engine, for checks.
    Reference,
}

/// How the products with the frozen base model are computed. Per-unit gradients, sums, noise and the optimizer are f32 or
/// better either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionKind {
    /// Everywhere.
    F32,
    /// Operands rounded to bf16, sums in f32.
    Bf16,
}

/// What the run must prove, and to whom: everything here touches the guarantee and cannot change on resume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacySettings {
    /// Target epsilon.
    pub epsilon: f64,
    /// Target delta.
    pub delta: f64,
    /// T, number of noisy steps.
    pub steps: u64,
    /// Steps of other runs on the same records, at the same batch size, that epsilon covers as well.
    #[serde(default)]
    pub other_steps: u64,
    /// B, expected batch size in units.
    pub batch_size: f64,
    /// Committed or adaptive noise.
    pub regime: RegimeKind,
    /// Accountant of the committed regime.
    pub accountant: AccountantKind,
    /// Pair-wise or flat clipping.
    pub clipping: ClippingKind,
    /// Clipped to the bound, or normalized to it.
    #[serde(default)]
    pub scaling: Scaling,
    /// Coordinates in which it is bounded.
    #[serde(default)]
    pub geometry: GeometryKind,
    /// C, joint L2 bound on a unit's contribution at the start; pair-wise clipping starts at C/√K for each pair.
    pub clip_norm: f64,
    /// w_0, share of every step's budget that buys the released mean loss and clip fractions; 0 buys none.
    pub statistics_share: f64,
    /// Research only: noise and sampling from this seed instead of the operating system's generator.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unsafe_noise_seed: Option<u64>,
    /// Research only: no clipping and no noise. Epsilon is then infinite.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub unsafe_non_private: bool,
}

impl PrivacySettings {
    fn validate_target(&self, controller: ControllerKind) -> Result<(), TrainError> {
        if !self.unsafe_non_private {
            positive("epsilon", self.epsilon)?;
            if !(self.delta > 0.0 && self.delta < 1.0) {
                return Err(TrainError::setting("delta", self.delta, "strictly between 0 and 1, far below 1/N"));
            }
            return Ok(());
        }
        if self.epsilon != f64::INFINITY || self.delta != 0.0 {
            return Err(TrainError::Usage(format!(
                "--unsafe-non-private trains without noise, so epsilon {} at delta {} would mean nothing; leave both out \
                 (or set epsilon to inf and delta to 0)",
                self.epsilon, self.delta
            )));
        }
        if controller != ControllerKind::Fixed || self.regime != RegimeKind::Committed {
            return Err(TrainError::Usage(
                "--unsafe-non-private leaves nothing to steer; use --controller fixed and no --regime".into(),
            ));
        }
        Ok(())
    }
}

/// Which records, and what one unit of privacy is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// Private training records.
    pub train: PathBuf,
    /// Evaluation records, assumed public.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub eval: Option<PathBuf>,
    /// Column of the text, unless prompt and completion are given.
    pub text_column: String,
    /// Column of the prompt, which is not scored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prompt_column: Option<String>,
    /// Column of the completion, which alone is scored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub completion_column: Option<String>,
    /// Column of a conversation, of which the assistant's turns are scored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub messages_column: Option<String>,
    /// Column that names the privacy unit; a record is the unit when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit_column: Option<String>,
    /// At most this many records of a unit are used, sampled secretly.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_records_per_unit: Option<usize>,
    /// Block size in tokens; longer records are cut, and stay one unit.
    pub max_length: usize,
}

/// The base model and its adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Hugging Face directory.
    pub model: PathBuf,
    /// R, LoRA rank.
    pub rank: usize,
    /// LoRA's alpha.
    pub lora_alpha: f64,
    /// Adapted maps by PEFT's names; the family's default when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target_modules: Option<Vec<String>>,
    /// What is trained of every pair.
    #[serde(default)]
    pub trainable: Trainable,
    /// Which engine computes gradients.
    pub engine: EngineKind,
    /// How the products with the frozen base model are computed.
    pub precision: PrecisionKind,
    /// Tokens processed at once; bounds memory, changes no result.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub micro_batch_tokens: Option<usize>,
    /// Memory that the process may take; chooses the micro-batch and changes no result.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_limit: Option<MemorySize>,
}

/// The optimizer and its schedule (post-processing, free of privacy cost).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSettings {
    /// The update rule.
    #[serde(default)]
    pub optimizer: OptimizerKind,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Fraction of the steps over which the rate rises linearly from zero.
    pub warmup: f64,
    /// Schedule after warm-up.
    pub decay: Decay,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment, in units of the gradient.
    pub adam_epsilon: f64,
    /// Least corrected second moment of `adam-bc`, over the noise's variance.
    #[serde(default = "default_noise_floor")]
    pub noise_floor: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// The controller and its learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSettings {
    /// Which controller steers.
    pub controller: ControllerKind,
    /// Steps between two decisions.
    pub interval: u64,
    /// A saved policy to start from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<PathBuf>,
    /// Whether the saved policy is only followed: its mean action, no learning.
    #[serde(default)]
    pub frozen: bool,
    /// Whether the evaluation file is declared a public probe: then the controller is rewarded for its perplexity instead
    /// of the released loss.
    pub public_probe: bool,
    /// Research only: the controller sees norms and losses without noise, and the run claims no guarantee.
    #[serde(default)]
    pub unsafe_raw_observations: bool,
    /// Soft actor-critic settings.
    pub sac: SacSettings,
}

/// Where and how often a run writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSettings {
    /// The run folder.
    pub out: PathBuf,
    /// Steps between evaluations on the public file.
    pub eval_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// Seed of public streams only: adapter initialisation, probe tokens, controller.
    pub seed: u64,
    /// Guarantee.
    pub privacy: PrivacySettings,
    /// Records.
    pub data: DataSettings,
    /// Model and adapter.
    pub model: ModelSettings,
    /// Optimizer.
    pub optimizer: OptimizerSettings,
    /// Controller.
    pub control: ControlSettings,
    /// Output.
    pub output: OutputSettings,
}

impl TrainSettings {
    /// Why a run of these settings guarantees nothing; empty when it does.
    pub fn unsafe_reasons(&self) -> Vec<&'static str> {
        let reasons = [
            (self.privacy.unsafe_non_private, "nothing was clipped and no noise was added"),
            (self.privacy.unsafe_noise_seed.is_some(), "noise and sampling came from a known seed"),
            (self.control.unsafe_raw_observations, "the controller saw gradient norms and losses without noise"),
        ];
        reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).collect()
    }

    /// Checks every bound that needs neither data nor model.
    ///
    /// # Errors
    /// The first setting out of range, with its value and bound.
    pub fn validate(&self) -> Result<(), TrainError> {
        let Self { privacy, optimizer, model, data, control, output, .. } = self;
        privacy.validate_target(control.controller)?;
        if privacy.steps == 0 {
            return Err(TrainError::setting("steps", 0, "at least 1"));
        }
        if privacy.other_steps > 0 && privacy.regime != RegimeKind::Committed {
            return Err(TrainError::Usage(
                "--other-steps needs --regime committed: only noise that is fixed in advance can be shared by runs"
                    .into(),
            ));
        }
        positive("batch-size", privacy.batch_size)?;
        positive("clip-norm", privacy.clip_norm)?;
        within("statistics-share", privacy.statistics_share, 0.0, 0.5)?;
        positive("learning-rate", optimizer.learning_rate)?;
        within("warmup", optimizer.warmup, 0.0, 1.0)?;
        within("beta1", optimizer.beta1, 0.0, 0.999_999)?;
        within("beta2", optimizer.beta2, 0.0, 0.999_999)?;
        positive("adam-epsilon", optimizer.adam_epsilon)?;
        positive("noise-floor", optimizer.noise_floor)?;
        within("weight-decay", optimizer.weight_decay, 0.0, 1.0)?;
        if model.rank == 0 || model.rank > 1024 {
            return Err(TrainError::setting("rank", model.rank, "between 1 and 1024"));
        }
        positive("lora-alpha", model.lora_alpha)?;
        control.sac.validate()?;
        if data.max_length < 2 {
            return Err(TrainError::setting(
                "max-length",
                data.max_length,
                "at least 2 tokens, so that one is predicted",
            ));
        }
        if data.eval.as_deref() == Some(data.train.as_path()) && data.train.as_os_str() == "-" {
            return Err(TrainError::Usage("standard input can be read once: --train or --eval, not both".into()));
        }
        if data.prompt_column.is_some() != data.completion_column.is_some() {
            return Err(TrainError::Usage("--prompt-column and --completion-column go together".into()));
        }
        if control.interval == 0 || output.eval_every == 0 || output.checkpoint_every == 0 {
            return Err(TrainError::Usage("--interval, --eval-every and --checkpoint-every must be at least 1".into()));
        }
        if control.public_probe && data.eval.is_none() {
            return Err(TrainError::Usage("--public-probe needs --eval with public records".into()));
        }
        if privacy.geometry != GeometryKind::None && optimizer.optimizer == OptimizerKind::AdamBc {
            return Err(TrainError::Usage(
                "--optimizer adam-bc needs noise of one known variance, which --geometry changes from coordinate to \
                 coordinate; use one of the two"
                    .into(),
            ));
        }
        if control.controller.needs_statistics() && privacy.statistics_share == 0.0 {
            return Err(TrainError::Usage(format!(
                "--controller {} reads a paid statistic, but --statistics-share is 0; give it a share, such as 0.02",
                control.controller
            )));
        }
        if control.controller.needs_norms() && privacy.clipping != ClippingKind::Flat {
            return Err(TrainError::Usage(format!(
                "--controller {} sets one threshold for the whole gradient; use it with --clipping flat",
                control.controller
            )));
        }
        if control.frozen && control.policy.is_none() {
            return Err(TrainError::Usage("--frozen-policy needs --policy with a saved policy to follow".into()));
        }
        Ok(())
    }
}

/// For runs from before there was a choice.
fn default_noise_floor() -> f64 {
    0.25
}
