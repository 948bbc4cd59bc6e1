//! The one interface of all accountants, their names and their declared scope.

use super::error::AccountingError;
use super::event::{Adaptivity, Adjacency, Event, events_under};
use super::gdp::GdpAccountant;
use super::pld::PldAccountant;
use super::rdp::RdpAccountant;

/// An upper bound on the privacy loss of a sequence of events under add/remove adjacency.
///
/// Every implementation rounds towards more loss: the epsilon it returns is at least the true one for the delta, up to
/// errors it bounds and adds. For another adjacency use [`Accountant::epsilon_under`], or [`events_under`] first.
pub trait Accountant: Send + Sync {
    /// Which accountant this is.
    fn kind(&self) -> AccountantKind;

    /// A short name for reports.
    fn name(&self) -> &'static str;

    /// Says whether the accountant's theorem covers the event; the error says why not and what to use.
    fn supports(&self, event: &Event, adjacency: Adjacency, adaptivity: Adaptivity) -> Result<(), AccountingError>;

    /// The smallest epsilon the accountant can prove for `delta`. Order and splitting of events do not matter.
    fn epsilon(&self, events: &[Event], delta: f64) -> Result<f64, AccountingError>;

    /// The smallest delta the accountant can prove for `epsilon` (not below 0).
    fn delta(&self, events: &[Event], epsilon: f64) -> Result<f64, AccountingError>;

    /// Epsilon of committed events under any adjacency the accountant supports: checks the scope and translates first.
    fn epsilon_under(&self, adjacency: Adjacency, events: &[Event], delta: f64) -> Result<f64, AccountingError> {
        for event in events {
            self.supports(event, adjacency, Adaptivity::Committed)?;
        }
        self.epsilon(&events_under(adjacency, events)?, delta)
    }

    /// Epsilon at several deltas; implementations share work between them.
    fn epsilons(&self, events: &[Event], deltas: &[f64]) -> Result<Vec<f64>, AccountingError> {
        deltas.iter().map(|&delta| self.epsilon(events, delta)).collect()
    }
}

crate::choices! {
    /// The accountants there are.
    pub enum AccountantKind as "accountant" {
        /// Privacy loss distributions composed by Fourier transform: the tightest, for committed parameters.
        Pld = "pld",
        /// Rényi differential privacy: looser, closed under addition, fast.
        Rdp = "rdp",
        /// Gaussian differential privacy: exact, full batches only.
        Gdp = "gdp",
    }
}

/// The accountant of a kind, with its default settings.
pub fn accountant(kind: AccountantKind) -> Box<dyn Accountant> {
    match kind {
        AccountantKind::Pld => Box::new(PldAccountant::default()),
        AccountantKind::Rdp => Box::new(RdpAccountant),
        AccountantKind::Gdp => Box::new(GdpAccountant),
    }
}

/// What all three refuse alike: bad ranges, an adjacency without a known dominating pair, adaptive parameters.
pub(super) fn common_scope(
    kind: AccountantKind,
    event: &Event,
    adjacency: Adjacency,
    adaptivity: Adaptivity,
) -> Result<(), AccountingError> {
    event.validate()?;
    events_under(adjacency, &[*event])?;
    let reason = match (adaptivity, kind) {
        (Adaptivity::Committed, _) => return Ok(()),
        (Adaptivity::AdaptiveParameters, AccountantKind::Pld) => {
            "composing the loss distributions of adaptively chosen noise multipliers is invalid in general \
             (arXiv 2602.06756); use a filter: a Rényi filter at a fixed order, or a noise deck"
        }
        (Adaptivity::AdaptiveParameters, AccountantKind::Rdp) => {
            "the minimum over orders of adaptively chosen steps is not covered by the theorem of fully adaptive \
             composition, which needs one order fixed in advance (arXiv 2008.11193); use a Rényi filter"
        }
        (Adaptivity::AdaptiveParameters, AccountantKind::Gdp) => {
            "the sum over adaptively chosen steps bounds nothing unless a budget stops it; use a filter"
        }
    };
    Err(AccountingError::OutOfScope { accountant: kind, reason: reason.to_owned() })
}
