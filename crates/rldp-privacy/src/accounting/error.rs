//! What an accountant, a calibration or a filter can refuse, in words that say what to do.

use super::accountant::AccountantKind;
use super::event::Adjacency;

/// A refusal or a failure of the accounting layer.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum AccountingError {
    /// A parameter lies outside the range in which the mathematics holds.
    #[error("{name} is {value}, but must be {bound}")]
    Parameter {
        /// The parameter in words.
        name: &'static str,
        /// The value that was given.
        value: f64,
        /// The range it must lie in.
        bound: &'static str,
    },
    /// No event was given.
    #[error("nothing to account for: give at least one event with at least one step")]
    NoEvents,
    /// The accountant does not cover this event under this adjacency or adaptivity.
    #[error("the {accountant} accountant does not cover this: {reason}")]
    OutOfScope {
        /// The accountant that refuses.
        accountant: AccountantKind,
        /// Why, and what to use instead.
        reason: String,
    },
    /// No conversion to add/remove adjacency is known for the event.
    #[error("{adjacency} adjacency is not supported at sampling rate {sampling_rate}: {reason}")]
    Adjacency {
        /// The adjacency that was asked for.
        adjacency: Adjacency,
        /// The event's sampling rate.
        sampling_rate: f64,
        /// Why, and what to use instead.
        reason: &'static str,
    },
    /// No value of the calibrated parameter meets the target.
    #[error("no {parameter} between {low} and {high} reaches epsilon {target}; {hint}")]
    NoSolution {
        /// What was calibrated.
        parameter: &'static str,
        /// The target epsilon.
        target: f64,
        /// Lower end of the search.
        low: f64,
        /// Upper end of the search.
        high: f64,
        /// What to change.
        hint: &'static str,
    },
    /// The loss grid would need more memory than is sensible.
    #[error(
        "the privacy-loss grid would need {points} points, more than {limit}; use the rdp accountant or a coarser grid"
    )]
    GridTooLarge {
        /// Points the grid would have.
        points: f64,
        /// The most that is allowed.
        limit: usize,
    },
}

/// Checks that `value` is finite and satisfies `holds`.
pub(super) fn require(holds: bool, name: &'static str, value: f64, bound: &'static str) -> Result<(), AccountingError> {
    if holds && value.is_finite() { Ok(()) } else { Err(AccountingError::Parameter { name, value, bound }) }
}

/// Checks a delta: in (0, 1).
pub(super) fn require_delta(delta: f64) -> Result<(), AccountingError> {
    require(delta > 0.0 && delta < 1.0, "delta", delta, "above 0 and below 1")
}

/// Checks an epsilon that serves as a target or as the argument of a delta curve.
pub(super) fn require_epsilon(epsilon: f64) -> Result<(), AccountingError> {
    require(epsilon >= 0.0, "epsilon", epsilon, "finite and not negative")
}
