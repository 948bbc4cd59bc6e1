//! Controllers that exist to be compared with: rules of other papers, and rules without any learning.
//!
//! A reader of the private run can skip this room. Nothing outside names what is in it but the table of kinds.

mod dc_sgd;
mod heuristic;
mod quantile;
mod spectral;

pub use dc_sgd::{DcSgdController, DcSgdRule};
pub use heuristic::{MseSplit, NoiseSchedule, SnrShares, WienerSteps};
pub use quantile::QuantileController;
pub use spectral::SpectralController;
