//! The real binary in folders of its own: what a user types, what comes back.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests

mod audit;
mod bad_input;
mod baselines;
mod compare;
mod docs;
mod hub;
mod inspect;
mod non_private;
mod privacy;
mod reach;
mod shared;
mod support;
mod train;
mod utility;
