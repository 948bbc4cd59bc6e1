//! Flags of `rldp plan`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::SettingFlags;

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    /// TOML file of settings; flags win over it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Hours that the run may take; the machine is timed for a few seconds, with --model
    #[arg(long, value_name = "X", help_heading = "Plan")]
    pub(crate) hours: Option<f64>,
    /// Records that the run may train on, all steps together
    #[arg(long, value_name = "N", conflicts_with = "hours", help_heading = "Plan")]
    pub(crate) records: Option<f64>,
    /// Write the recommended plan as a file for --config
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Plan")]
    pub(crate) write_config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
