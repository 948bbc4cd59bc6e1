//! Whether anybody could know a stream of random numbers.

use crate::error::PrivacyError;

/// How a generator was seeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// By the operating system.
    Secret,
    /// By a number that is known; or there is no randomness at all. For tests and paired research runs.
    Known,
}

impl Secrecy {
    /// Of two generators together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Secret { other } else { self }
    }

    /// # Errors
    /// When `what` is known although a promise needs it secret.
    pub(crate) fn demanded_of(self, what: &str) -> Result<(), PrivacyError> {
        match self {
            Self::Secret => Ok(()),
            Self::Known => Err(PrivacyError::KnownSeed(format!(
                "the {what} of a run that promises privacy came from a known seed; take it from the operating system, or let the \
                 claim say that it guarantees nothing"
            ))),
        }
    }
}
