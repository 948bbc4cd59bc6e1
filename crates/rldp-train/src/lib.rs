//! Mechanism plan, optimizers, the training loop, checkpoints and the recorder.
//!
//! The loop of [`Trainer`] reads like the algorithm: charge, sample, clip and sum, add noise, update; every interval
//! observe and steer. Un-noised values live inside one step, as [`rldp_privacy::Sensitive`].

#[cfg(test)]
mod band_tests;
pub mod checkpoint;
mod data_settings;
mod eigen;
mod error;
pub mod evaluate;
#[cfg(test)]
mod falsify;
mod geometry;
mod inputs;
#[cfg(test)]
mod loop_tests;
mod loss_bound;
mod manifest;
mod memory_size;
mod observe;
mod optimizer;
mod passage;
mod plain_step;
pub mod plan;
mod post_processing;
#[cfg(test)]
mod post_tests;
mod preflight;
mod progress;
mod promise;
mod raw;
mod recorder;
mod records;
#[cfg(test)]
mod resume_tests;
mod secrets;
mod session;
pub mod settings;
mod spectrum;
mod steer;
pub mod storage;
#[cfg(test)]
mod testing;
mod trainer;
mod update;

pub use error::TrainError;
pub use inputs::{Inputs, Records, load_records};
pub use manifest::{machine, started};
pub use memory_size::MemorySize;
pub use optimizer::{Optimizer, Step, UpdateSummary};
pub use post_processing::PostProcessing;
pub use progress::{Progress, Silent, StepView};
pub use recorder::{files, last_recorded_step};
pub use records::StepRecord;
pub use secrets::Secrets;
pub use session::{resume, resume_on, start, start_on};
pub use trainer::{Outcome, Trainer};
