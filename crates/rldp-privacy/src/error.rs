//! Errors of the privacy core.

use std::io;

use crate::accounting::AccountingError;

/// Why the privacy core refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivacyError {
    /// Thresholds and shares do not form a mechanism.
    #[error("invalid allocation: {0}")]
    Allocation(String),
    /// A sum and its inputs do not fit.
    #[error("{0}")]
    Shape(String),
    /// The claim is out of range or contradicts itself.
    #[error("invalid claim: {0}")]
    Claim(String),
    /// The ledger is damaged or belongs to another claim.
    #[error("the ledger was refused: {0}")]
    Ledger(String),
    /// The ledger could not be made durable; nothing was drawn.
    #[error("the ledger could not be written, so no noise was drawn: {0}")]
    Sink(#[source] io::Error),
    /// A signature cannot be made or does not hold.
    #[error("{0}")]
    Signature(String),
    /// A budget book was refused, or refuses.
    #[error("the budget book: {0}")]
    Book(String),
    /// The operating system gave no randomness.
    #[error("the operating system's random generator failed: {0}")]
    Randomness(String),
    /// Randomness whose seed is known stands where a promise needs it secret.
    #[error("{0}")]
    KnownSeed(String),
    /// Accounting refused.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
}
