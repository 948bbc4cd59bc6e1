//! Several processes as one group.
//!
//! A step's traffic is one broadcast of an adapter and one sum of integers. Integer sums have no order, so a run on 1, 2 or 64 ranks
//! gives the same bits. MPI is opened at run time, by name: nothing of it is needed to build, and a process that no launcher started
//! never looks for it.

mod error;
mod group;
mod launch;
mod mpi;
mod threads;
mod work;

pub use error::RanksError;
pub use group::{Alone, Group};
pub use launch::{Launch, join};
pub use mpi::installed;
pub use threads::Threads;
pub use work::{Follower, SpreadEngine, Team, agree, engine_digest, serve, units_digest};
