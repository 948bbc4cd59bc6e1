//! Why an audit could not be made. Messages name rows and numbers, never what a record holds.

use std::{io, path::PathBuf};

use rldp_data::DataError;
use rldp_model::EngineError;
use rldp_privacy::PrivacyError;

/// Error of an audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A number is out of range.
    #[error("{name} is {value}, but must be {bound}; {remedy}")]
    Setting {
        /// What it is.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must satisfy.
        bound: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A record has no token to score.
    #[error(
        "row {row} has {tokens} tokens to score, but a record needs at least 1; remove the row or give longer text"
    )]
    NothingToScore {
        /// Row of data, from 1.
        row: usize,
        /// Scored tokens.
        tokens: usize,
    },
    /// A score is no number.
    #[error("the score of row {row} is {value}, but must be finite; the model or the adapter is damaged")]
    NotFinite {
        /// Row of data, from 1.
        row: usize,
        /// The score.
        value: f64,
    },
    /// A file cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The operating system gave no randomness.
    #[error("the operating system's random generator failed: {0}")]
    Randomness(String),
    /// Reading or writing failed; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Records could not be read or tokenized.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model could not be evaluated.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The mechanism refused.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
}

/// Refuses `value` unless `holds`.
pub(crate) fn require(
    holds: bool,
    name: &'static str,
    value: f64,
    bound: impl Into<String>,
    remedy: &'static str,
) -> Result<(), AuditError> {
    if holds { Ok(()) } else { Err(AuditError::Setting { name, value, bound: bound.into(), remedy }) }
}
