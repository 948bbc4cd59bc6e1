//! The private training loop: mechanism, learner, steering, and the run on disk.
//!
//! The loop of [`Trainer`] reads like the algorithm: charge, sample, clip and sum, add noise, update; every interval
//! observe and steer. Each part is a room of its own: what reads records lives in the mechanism, un-noised values stay inside one
//! of its steps as [`rldp_privacy::Sensitive`], and all other rooms see what it released.

mod baselines;
mod cuts;
mod eigen;
mod error;
pub mod evaluate;
#[cfg(test)]
mod falsify;
mod inputs;
mod learner;
mod mechanism;
mod overlap;
mod planning;
mod record_files;
mod run;
pub mod settings;
mod steering;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trainer;

pub use cuts::Cuts;
pub use error::TrainError;
pub use inputs::{Inputs, Records, count_units, load_records};
pub use learner::{Optimizer, PostProcessing, PublicText, Step, UpdateSummary};
pub use mechanism::{SumTask, Summation, plan, sum_units};
pub use planning::{Forecast, Pace, recommend};
pub use record_files::RecordFiles;
pub use run::{
    book_file, checkpoint,
    closing::{bound_files, digest_of_file},
    manifest::{core_memory, machine, started},
    progress::{Progress, Silent, StepView},
    recorder::{files, last_recorded_step},
    records::StepRecord,
    secrets::Secrets,
    session::{adapter_layout, is_finished, resume, resume_on, start, start_on},
    state::RunState,
    storage,
};
pub use trainer::{Outcome, Trainer};
