//! Reads run folders: tables, figures and the HTML report. It reads what runs wrote and nothing else.

mod error;
pub mod report;
mod run;

pub use error::LabError;
pub use run::{ControlLine, EvalLine, RunFolder, StepLine};
