//! Attacks that try to falsify a privacy claim.
//!
//! - [`score`] and [`roc`]: membership inference on an adapter against its base model.
//! - [`shadow`]: RMIA and LiRA, with shadow runs.
//! - [`channel`]: what the logs of many runs tell about one canary.
//! - [`one_run`] and [`guesses`]: lower bounds on epsilon from canaries with independent inclusion coins in a single run.
//! - [`mechanism`]: the same audit on the honest clipped sum, with Dirac gradients as canaries.
//! - [`exposure`]: how far planted secrets ([`rldp_data::canaries`]) can be read back.
//!
//! An audit proves violations, never compliance: a bound below the claim says that this attack did not refute it.
//! What is scored may be private. Results hold scores and row numbers; text and tokens never reach a message.

pub mod channel;
mod error;
pub mod exposure;
pub mod guesses;
pub mod mechanism;
pub mod one_run;
pub mod roc;
pub mod score;
pub mod shadow;

pub use error::AuditError;
