//! The real binary in folders of its own: what a user types, what comes back.

mod bad_input;
mod inspect;
mod privacy;
mod shared;
mod support;
mod train;
