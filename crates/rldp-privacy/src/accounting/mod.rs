//! Accountants, calibration and filters for Poisson-subsampled Gaussian mechanisms.
//!
//! Everything here rounds towards more loss. [`Accountant`] is for parameters that were committed before the first
//! step; adaptively chosen noise needs a filter.

mod accountant;
mod calibrate;
mod conversion;
mod deck;
mod error;
mod event;
mod filter;
mod gdp;
mod log_moment;
mod pld;
mod rdp;
mod search;

pub use accountant::{Accountant, AccountantKind, accountant};
pub use calibrate::{
    Calibration, calibrate_noise_multiplier, calibrate_noise_scale, calibrate_sampling_rate, calibrate_steps,
};
pub use conversion::{lossless_budget, lossless_epsilon, tight_budget, tight_epsilon, tight_log_delta};
pub use deck::{DeckRefusal, NoiseDeck};
pub use error::AccountingError;
pub use event::{Adaptivity, Adjacency, Event, events_under, merge};
pub use filter::{FilterSpec, Refusal, RenyiFilter};
pub use gdp::{GdpAccountant, gaussian_delta, gaussian_epsilon};
pub use pld::{PldAccountant, PldBounds};
pub use rdp::{RdpAccountant, rdp};
