//! Flags of `rldp policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Learn the set policy over many short runs on PUBLIC records; what is learned here is not charged to anybody
    Train(PolicyTrainArguments),
    /// Print what a policy does
    Show(PolicyShowArguments),
}

#[derive(Debug, Args)]
pub(crate) struct PolicyTrainArguments {
    /// File to write
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Number of runs
    #[arg(long, default_value_t = 100)]
    pub(crate) runs: u32,
    /// Seed of everything, noise included
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Model directory; may be given more than once, every run then draws one; the embedded one when absent
    #[arg(long)]
    pub(crate) model: Vec<PathBuf>,
    /// PUBLIC training records with a `text` column, as often as `--eval`: every run draws one pair; the demo's generated notes when
    /// absent
    #[arg(long)]
    pub(crate) train: Vec<PathBuf>,
    /// PUBLIC evaluation records of the `--train` in the same place
    #[arg(long)]
    pub(crate) eval: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyShowArguments {
    /// A saved policy or a run's policy folder; the one that ships with the program when absent
    pub(crate) policy: Option<PathBuf>,
}
