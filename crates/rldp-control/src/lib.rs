//! Observations, actions, rewards and controllers, among them soft actor-critic.
//!
//! This crate cannot name an example: it depends on the privacy core alone, and all that reaches a controller is an
//! [`rldp_privacy::Observable`], released or public. What it decides, learns and saves is therefore post-processing.

mod action;
mod controller;
mod dc_sgd;
mod error;
mod fixed;
mod heuristic;
mod observation;
mod quantile;
mod random;
mod rate_search;
mod reward;
mod sac;
mod spectral;
mod state;
mod stream;

pub use action::{Action, ActionBounds};
pub use controller::{Controller, ControllerKind, controller};
pub use dc_sgd::{DcSgdController, DcSgdRule};
pub use error::ControlError;
pub use fixed::FixedController;
pub use heuristic::{MseSplit, NoiseSchedule, SnrShares, WienerSteps};
pub use observation::{GlobalObservation, NormHistogram, Observation, PairObservation};
pub use quantile::QuantileController;
pub use random::RandomController;
pub use rate_search::{Consecutive, RateSearch, Verdict};
pub use reward::RewardTracker;
pub use sac::{SacController, SacSettings, SetController};
pub use spectral::SpectralController;
pub use state::StateFormat;
