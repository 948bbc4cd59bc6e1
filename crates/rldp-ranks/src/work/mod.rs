//! What ranks do for a run: rank 0 leads, the others sum units and compute losses when they are asked.

mod agreement;
mod follower;
mod leader;
mod message;
mod share;
mod spread;

pub use agreement::{agree, engine_digest, units_digest};
pub use follower::{Follower, serve};
pub use leader::Team;
pub use spread::SpreadEngine;
