//! Reads run folders: tables, figures, comparisons and the HTML reports. It reads what runs wrote and nothing else.

pub mod compare;
mod error;
pub mod export;
mod loss;
mod number;
mod quality;
pub mod report;
mod run;
pub mod statistics;
pub mod utility;

pub use error::LabError;
pub use loss::readable_loss;
pub use quality::Quality;
pub use run::{ControlLine, EvalLine, RunFolder, SampleLine, StepLine};
