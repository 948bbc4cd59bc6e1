//! Everything that decides a run, resolved: written to `config.toml` before the first step and enough to repeat it.

mod bands;
mod kinds;
mod rate;
mod validate;

use std::path::PathBuf;

use rldp_control::{ControllerKind, SacSettings};
use rldp_privacy::{Scaling, accounting::AccountantKind};
use serde::{Deserialize, Serialize};

pub use kinds::{ClippingKind, Decay, EngineKind, GeometryKind, OptimizerKind, PrecisionKind, RegimeKind, Trainable};

use crate::{error::TrainError, memory_size::MemorySize};

pub(crate) use bands::{CHOICES_OF_BANDS, most_chosen_bands};
pub use rate::default_learning_rate;

pub use crate::data_settings::{CanarySettings, DataSettings};

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
    /// b, how many steps noise is correlated over; chosen from the other settings when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub noise_bands: Option<u64>,
    /// Committed or adaptive noise.
    pub regime: RegimeKind,
    /// Accountant of the committed regime.
    pub accountant: AccountantKind,
    /// What is bounded: every pair, or all of them together.
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
            validate::positive("epsilon", self.epsilon)?;
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
        if self.geometry != GeometryKind::None || self.scaling != Scaling::Clip || self.other_steps > 0 {
            return Err(TrainError::Usage(
                "--unsafe-non-private bounds nothing and adds no noise; leave out --geometry, --scaling and --other-steps".into(),
            ));
        }
        if controller != ControllerKind::Fixed || self.regime != RegimeKind::Committed {
            return Err(TrainError::Usage(
                "--unsafe-non-private leaves nothing to steer; use --controller fixed and no --regime".into(),
            ));
        }
        Ok(())
    }
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
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct ControlSettings {
    /// Which controller steers.
    pub controller: ControllerKind,
    /// Steps between two decisions.
    pub interval: u64,
    /// Whether the learning rate is searched for from released gradients.
    #[serde(default)]
    pub rate_search: bool,
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
}

/// For runs from before there was a choice.
fn default_noise_floor() -> f64 {
    0.25
}
