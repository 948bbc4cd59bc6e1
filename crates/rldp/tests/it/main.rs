//! The real binary in folders of its own: what a user types, what comes back.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests

mod audit;
mod bad_input;
mod bad_inputs;
mod baselines;
mod compare;
mod docs;
mod hidden;
mod hub;
mod inspect;
mod journey;
mod non_private;
mod officer;
mod plan;
mod policy;
mod privacy;
mod quality;
mod ranks;
mod reach;
mod secrets;
mod shared;
mod silent;
mod support;
mod tamper;
mod train;
mod utility;
mod whole;
