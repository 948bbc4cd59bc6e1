//! What a run would take and give, before anything is spent: plans for a number of units, and how long they last here.

mod forecast;
pub mod recommend;
mod rehearsal;

pub use forecast::Forecast;
pub use rehearsal::Pace;
