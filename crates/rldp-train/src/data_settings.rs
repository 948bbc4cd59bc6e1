//! Which records a run trains on, and what is hidden among them for its audit.

use std::path::PathBuf;

use rldp_data::canaries::Kind;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

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
    /// Every unit is held out with this probability, by a secret coin, so that an audit has members and others alike.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hold_out_members: Option<f64>,
    /// Secrets to plant for an audit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub canaries: Option<CanarySettings>,
}

/// Secrets planted for an audit, each with probability one half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanarySettings {
    /// How many; about half are included.
    pub count: usize,
    /// What they look like, in turn.
    #[serde(default = "all_kinds")]
    pub kinds: Vec<Kind>,
    /// In how many units each stands, in turn.
    #[serde(default = "usual_repetitions")]
    pub repetitions: Vec<usize>,
}

fn all_kinds() -> Vec<Kind> {
    Kind::ALL.to_vec()
}

fn usual_repetitions() -> Vec<usize> {
    vec![1, 4, 16]
}

impl DataSettings {
    pub(crate) fn validate_coins(&self) -> Result<(), TrainError> {
        match self.hold_out_members {
            Some(fraction) if !(fraction > 0.0 && fraction < 1.0) => {
                Err(TrainError::setting("hold-out-members", fraction, "strictly between 0 and 1; 0.5 tells most"))
            }
            _ => Ok(()),
        }
    }
}
