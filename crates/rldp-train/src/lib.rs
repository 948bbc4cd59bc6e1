//! Mechanism plan, optimizers, the training loop, checkpoints and the recorder.
//!
//! The loop of [`Trainer`] reads like the algorithm: charge, sample, clip and sum, add noise, update; every interval
//! observe and steer. Un-noised values live inside one step, as [`rldp_privacy::Sensitive`].

pub mod checkpoint;
mod eigen;
mod error;
pub mod evaluate;
#[cfg(test)]
mod falsify;
mod geometry;
mod inputs;
#[cfg(test)]
mod loop_tests;
mod manifest;
mod memory_size;
mod observe;
mod optimizer;
mod passage;
mod plain_step;
pub mod plan;
mod preflight;
mod progress;
mod promise;
mod raw;
mod recorder;
mod records;
mod session;
pub mod settings;
mod spectrum;
mod steer;
#[cfg(test)]
mod testing;
mod trainer;

pub use error::TrainError;
pub use inputs::{Inputs, Records, load_records};
pub use manifest::machine;
pub use memory_size::MemorySize;
pub use optimizer::{Optimizer, UpdateSummary};
pub use progress::{Progress, Silent, StepView};
pub use recorder::files;
pub use records::StepRecord;
pub use session::{resume, start};
pub use trainer::{Outcome, Trainer};
