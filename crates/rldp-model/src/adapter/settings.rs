//! Which linear maps get an adapter, and of which rank.

use super::AdapterLayout;
use crate::{
    ModelConfig,
    config::{Family, LinearSpec},
    error::LoraError,
};

/// Largest accepted rank; beyond it an adapter is larger than what it adapts.
pub const MAX_RANK: usize = 4096;

/// PEFT's name for "every linear map of the blocks".
pub(super) const ALL_LINEAR: &str = "all-linear";

/// What the user chooses about LoRA.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSettings {
    /// R, the rank of every pair.
    pub rank: usize,
    /// PEFT's `lora_alpha`; the update is scaled by `lora_alpha / rank`.
    pub lora_alpha: f64,
    /// PEFT's names of the adapted maps: a module's path or the end of one, or the single name `all-linear`. `None` means
    /// [`LoraSettings::default_targets`].
    pub target_modules: Option<Vec<String>>,
}

impl LoraSettings {
    /// All attention and MLP maps of the family. GPT-2's `c_proj` names a map of both.
    pub fn default_targets(family: Family) -> &'static [&'static str] {
        match family {
            Family::Gpt2 => &["c_attn", "c_proj", "c_fc"],
            _ => &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        }
    }
}

impl AdapterLayout {
    /// Lays out one pair on each map that the settings name, in model order.
    pub fn for_model(config: &ModelConfig, settings: &LoraSettings) -> Result<Self, LoraError> {
        check_numbers(settings.rank, settings.lora_alpha)?;
        let defaults = || LoraSettings::default_targets(config.family).iter().map(ToString::to_string).collect();
        let targets: Vec<String> = match &settings.target_modules {
            None => defaults(),
            Some(names) if names.iter().map(String::as_str).eq([ALL_LINEAR]) => defaults(),
            Some(names) => names.clone(),
        };
        let linears = config.linears();
        let known = || LoraSettings::default_targets(config.family).join(", ");
        if targets.is_empty() {
            return Err(LoraError::NoTargets { known: known() });
        }
        if let Some(target) = targets.iter().find(|target| !linears.iter().any(|linear| names(target, linear))) {
            let (target, family) = (target.clone(), config.family.to_string());
            return Err(LoraError::UnknownTarget { target, family, known: known() });
        }
        let adapted = linears.into_iter().filter(|linear| targets.iter().any(|target| names(target, linear))).collect();
        Ok(Self::new(settings.rank, settings.lora_alpha, targets, adapted))
    }
}

/// PEFT's rule: a target is a module's whole path or ends it at a dot.
pub(super) fn names(target: &str, linear: &LinearSpec) -> bool {
    linear.name.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) && !target.is_empty()
}

/// Bounds on rank and alpha.
pub(super) fn check_numbers(rank: usize, alpha: f64) -> Result<(), LoraError> {
    if !(1..=MAX_RANK).contains(&rank) {
        return Err(LoraError::Rank { rank, limit: MAX_RANK });
    }
    if !(alpha.is_finite() && alpha > 0.0) {
        return Err(LoraError::Alpha { alpha });
    }
    Ok(())
}
