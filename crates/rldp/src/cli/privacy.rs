//! `rldp privacy …`, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rldp_privacy::accounting::AccountantKind;

use super::chosen;

#[derive(Debug, Subcommand)]
pub(crate) enum PrivacyCommand {
    /// Epsilon of a plan
    Epsilon(EpsilonArguments),
    /// Noise multiplier that a target epsilon needs
    Calibrate(CalibrateArguments),
    /// Replay a run's ledger, and check its claim, its files and its signature
    Verify(VerifyArguments),
    /// Sign a run that closed with an Ed25519 key of OpenSSH
    Sign(SignArguments),
    /// Begin the budget book of a data set, or show one
    Book(BookArguments),
}

#[derive(Debug, Args)]
pub(crate) struct EpsilonArguments {
    /// Probability that a unit is in a batch
    #[arg(long, conflicts_with = "segments", required_unless_present = "segments")]
    pub(crate) sampling_rate: Option<f64>,
    /// Noise standard deviation over joint L2 sensitivity
    #[arg(long, conflicts_with = "segments", required_unless_present = "segments")]
    pub(crate) noise_multiplier: Option<f64>,
    /// Number of steps
    #[arg(long, conflicts_with = "segments", required_unless_present = "segments")]
    pub(crate) steps: Option<u64>,
    /// JSON file of [[sampling rate, noise multiplier, steps], …]
    #[arg(long)]
    pub(crate) segments: Option<PathBuf>,
    /// Delta
    #[arg(long)]
    pub(crate) delta: f64,
    /// Accountant
    #[arg(long, value_name = "NAME", value_parser = chosen::<AccountantKind>(), default_value = "pld")]
    pub(crate) accountant: AccountantKind,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CalibrateArguments {
    /// Target epsilon
    #[arg(long)]
    pub(crate) epsilon: f64,
    /// Delta
    #[arg(long)]
    pub(crate) delta: f64,
    /// Probability that a unit is in a batch
    #[arg(long, value_name = "Q", conflicts_with_all = ["units", "batch_size"], required_unless_present = "units")]
    pub(crate) sampling_rate: Option<f64>,
    /// N, number of units; with --batch-size in place of --sampling-rate
    #[arg(long, value_name = "N", requires = "batch_size")]
    pub(crate) units: Option<u64>,
    /// Expected batch size in units
    #[arg(long, value_name = "B", requires = "units")]
    pub(crate) batch_size: Option<f64>,
    /// Number of steps
    #[arg(long, value_name = "T")]
    pub(crate) steps: u64,
    /// Accountant
    #[arg(long, value_name = "NAME", value_parser = chosen::<AccountantKind>(), default_value = "pld")]
    pub(crate) accountant: AccountantKind,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Run folder
    pub(crate) run: PathBuf,
    /// Public key of who must have signed the run: a file like `id_ed25519.pub`
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// Run folder, of a run that closed and verifies
    pub(crate) run: PathBuf,
    /// Private key in OpenSSH's format: a file like `id_ed25519`
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BookArguments {
    /// The book
    pub(crate) book: PathBuf,
    /// Begin it: the most that everything together may spend
    #[arg(long, requires = "delta")]
    pub(crate) epsilon: Option<f64>,
    /// Begin it: delta that goes with it
    #[arg(long, requires = "epsilon")]
    pub(crate) delta: Option<f64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
