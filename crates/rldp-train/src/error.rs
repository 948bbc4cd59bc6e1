//! Errors of a run, sorted by who can mend them.

use std::{borrow::Cow, fmt::Display};

use thiserror::Error;

/// Why a run could not start or go on.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A setting is out of range.
    #[error("{name} is {value}, but must be {bound}")]
    Setting {
        /// The flag or key.
        name: Cow<'static, str>,
        /// Its value.
        value: String,
        /// What it must satisfy.
        bound: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Usage(String),
    /// The input was refused.
    #[error("{0}")]
    Refused(String),
    /// Records could not be read.
    #[error(transparent)]
    Data(#[from] rldp_data::DataError),
    /// The model or adapter could not be used.
    #[error(transparent)]
    Model(#[from] rldp_model::ModelError),
    /// The adapter's settings do not fit the model.
    #[error(transparent)]
    Lora(#[from] rldp_model::error::LoraError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] rldp_model::engine::EngineError),
    /// The privacy core refused.
    #[error(transparent)]
    Privacy(#[from] rldp_privacy::PrivacyError),
    /// No noise meets the target.
    #[error(transparent)]
    Accounting(#[from] rldp_privacy::accounting::AccountingError),
    /// The controller refused.
    #[error(transparent)]
    Control(#[from] rldp_control::ControlError),
    /// A file could not be written or read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file of the run folder is not what it should be.
    #[error("{path}: {reason}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl TrainError {
    pub(crate) fn setting(name: impl Into<Cow<'static, str>>, value: impl Display, bound: &str) -> Self {
        Self::Setting { name: name.into(), value: value.to_string(), bound: bound.to_owned() }
    }

    /// Whether the command was called wrongly (exit code 2), as opposed to input that was refused (1).
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Setting { .. } | Self::Usage(_) | Self::Control(rldp_control::ControlError::Setting { .. })
        )
    }
}
