//! Everything that decides a run, resolved: written to `config.toml` before the first step and enough to repeat it.
//!
//! A setting is one field of one section, with its default, its bound and its sentence beside it. Flags, keys of files, help,
//! completion and errors are made from [`all`].

mod bands;
mod control;
mod data;
mod describe;
mod given;
mod kinds;
mod memory_size;
mod model;
mod optimizer;
mod output;
mod privacy;
mod rate;
#[cfg(test)]
mod tests;
mod validate;

use std::{borrow::Cow, sync::LazyLock};

use serde::{Deserialize, Serialize};

pub use bands::past_bytes;
pub(crate) use bands::{CHOICES_OF_BANDS, most_chosen_bands};
pub use control::ControlSettings;
pub use data::{CanarySettings, DataSettings};
pub use describe::{Preset, Reader, Setting, unescaped};
pub use given::{Given, Known};
pub use kinds::{
    ClippingKind, Decay, EngineKind, GeometryKind, Initialization, OptimizerKind, PrecisionKind, RegimeKind, Trainable,
};
pub use memory_size::MemorySize;
pub use model::ModelSettings;
pub use optimizer::OptimizerSettings;
pub use output::OutputSettings;
pub(crate) use privacy::MOST_STEPS;
pub use privacy::PrivacySettings;
pub use rate::{RateRule, RunNoise, largest_learning_rate};

/// Groups of the help that are no sections.
mod groups {
    pub(super) const AUDIT: &str = "Audit";
    pub(super) const UNSAFE: &str = "Research only, NO PRIVACY";
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

/// Every setting there is, in the order of the help.
pub fn all() -> &'static [Setting] {
    static ALL: LazyLock<Vec<Setting>> = LazyLock::new(|| {
        let seed = Setting {
            section: "",
            key: "seed",
            flag: Some(Cow::Borrowed("seed")),
            group: "Output",
            sentence: "Seed of public streams only; never reaches sampling or noise".to_owned(),
            reader: Reader::Whole,
            default: Preset::Value(0.into()),
        };
        // Asked for and not kept: steps follow from it.
        let epochs = Setting {
            key: "epochs",
            flag: Some(Cow::Borrowed("epochs")),
            group: "Privacy",
            sentence: "Passes over the records, in place of --steps".to_owned(),
            reader: Reader::Number,
            default: Preset::Unset,
            ..seed.clone()
        };
        let mut all: Vec<Setting> = [
            ModelSettings::described(),
            DataSettings::described(),
            PrivacySettings::described(),
            vec![epochs],
            OptimizerSettings::described(),
            ControlSettings::described(),
            control::described_sac(),
            OutputSettings::described(),
            vec![seed],
            CanarySettings::described(),
        ]
        .concat();
        // Groups that sections share stand together, the unsafe ones last.
        all.sort_by_key(|setting| (setting.group == groups::UNSAFE, setting.group == groups::AUDIT));
        all
    });
    &ALL
}

impl TrainSettings {
    /// Reads a run's own `config.toml`. What it does not name, because the run is from before there was a choice, is what it is by
    /// default.
    ///
    /// # Errors
    /// When it is no TOML, or holds what no setting is.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        let mut table = given::default_table();
        given::merge(&mut table, text.parse()?);
        toml::Value::Table(table).try_into()
    }

    /// Whether A is trained beside a B that is not zero from the first private step on.
    pub(crate) fn trains_both_factors_of_a_warm_start(&self) -> bool {
        let warm = !self.data.public.is_empty() || self.model.adapter.is_some() || self.model.after.is_some();
        warm && self.model.trainable == Trainable::Both
    }

    /// Whether the learning rate follows what releases say: as was asked for, or where it is the rule's and nobody else moves it.
    pub(crate) fn adapts_rate(&self) -> bool {
        let Self { optimizer, control, .. } = self;
        let own = optimizer.learning_rate.is_none() && !control.controller.moves_learning_rate();
        control.rate_adaptation.unwrap_or(own && self.reason_against_adaptation().is_none())
    }

    /// Why a learning rate cannot follow releases, whoever asks for it.
    pub(crate) fn reason_against_adaptation(&self) -> Option<&'static str> {
        let reasons = [
            (
                self.optimizer.optimizer == OptimizerKind::Sgd,
                "--optimizer sgd has no rule of the rate that took something off",
            ),
            (
                self.privacy.geometry != GeometryKind::None,
                "--geometry takes off every release what earlier ones said, so that their sum says nothing",
            ),
            (self.control.rate_search, "--rate-search moves the learning rate as well"),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }

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
