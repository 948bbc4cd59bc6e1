//! Observations, actions, rewards and controllers, among them soft actor-critic.
//!
//! This crate cannot name an example: it depends on the privacy core alone, and all that reaches a controller is an
//! [`rldp_privacy::Observable`], released or public. What it decides, learns and saves is therefore post-processing.

mod action;
pub mod baselines;
mod controller;
mod error;
mod fixed;
mod observation;
mod random;
mod rate_adaptation;
mod rate_search;
mod reward;
mod sac;
mod state;
mod stream;

pub use action::{Action, ActionBounds};
pub use controller::{Controller, ControllerKind, controller};
pub use error::ControlError;
pub use fixed::FixedController;
pub use observation::{GlobalObservation, NormHistogram, Observation, PairObservation};
pub use random::RandomController;
pub use rate_adaptation::RateAdaptation;
pub use rate_search::{Consecutive, RateSearch, Verdict};
pub use reward::RewardTracker;
pub use sac::{SacController, SacSettings, SetController};
pub use state::StateFormat;
