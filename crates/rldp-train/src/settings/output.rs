//! Where and how often a run writes.

use std::path::PathBuf;

use super::describe::{at_least, default, required, settings, unset};

settings! {
    /// Where and how often a run writes.
    #[section("output", "Output")]
    pub struct OutputSettings {
        /// Run folder to create.
        out: PathBuf = required(),
        /// Budget book of these people, which the run enters before it starts; `rldp privacy book FILE` begins one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        book: Option<PathBuf> = unset(),
        /// Steps between evaluations on --eval.
        eval_every: u64 = default(25).bound(at_least(1, "")),
        /// Steps between checkpoints.
        checkpoint_every: u64 = default(10).bound(at_least(1, "")),
    }
}
