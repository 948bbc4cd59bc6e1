//! Flags of `rldp audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rldp_audit::score::ScoreKind;
use rldp_model::DeviceChoice;
use rldp_train::settings::EngineKind;

use super::{ColumnArguments, WaitArguments, chosen};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditCommand {
    #[command(subcommand)]
    pub(crate) kind: Option<AuditKind>,
    #[command(flatten)]
    pub(crate) attack: AuditArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditKind {
    /// Audit one step of the noise mechanism itself with gradients chosen by the attacker
    Mechanism(AuditMechanismArguments),
    /// Audit the logs of many runs, each trained with --canaries 1: do they tell which runs held the canary?
    Channel(AuditChannelArguments),
    /// Write secrets with inclusion coins, and a training file with the included ones
    Canaries(AuditCanariesArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// Run folder: its config.toml names the model, its adapter/ is attacked, and what its private/ holds is used unless
    /// other records are named
    pub(crate) run: Option<PathBuf>,
    /// Hugging Face model directory, GGUF file, or name on the hub (owner/name); the run's when absent
    #[arg(long)]
    pub(crate) model: Option<PathBuf>,
    /// PEFT adapter directory; the run's when absent
    #[arg(long)]
    pub(crate) adapter: Option<PathBuf>,
    /// Which engine computes
    #[arg(long, value_name = "NAME", value_parser = chosen::<EngineKind>(), default_value = "cpu")]
    pub(crate) engine: EngineKind,
    /// Where it computes: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Records that were trained on
    #[arg(long, requires = "non_members")]
    pub(crate) members: Option<PathBuf>,
    /// Records like them that were not
    #[arg(long, requires = "members")]
    pub(crate) non_members: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) columns: ColumnArguments,
    /// Canaries with columns text and included, as `rldp audit canaries` writes them; never release this file
    #[arg(long)]
    pub(crate) canaries: Option<PathBuf>,
    /// Runs on the same records with coins of their own (--hold-out-members), for RMIA and LiRA
    #[arg(long, num_args = 1.., value_name = "RUN")]
    pub(crate) shadow: Vec<PathBuf>,
    /// HTML page to write, with ROC curves on logarithmic axes; not for release
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Delta at which epsilon is bounded; the run's when absent
    #[arg(long)]
    pub(crate) delta: Option<f64>,
    /// Score that ranks canaries; choose it before you look
    #[arg(long, default_value = "reference")]
    pub(crate) canary_score: CanaryScore,
    /// Canaries to guess, fixed before you look (half as included); without it a grid is tried and paid for
    #[arg(long)]
    pub(crate) guesses: Option<usize>,
    /// Confidence of the lower bounds
    #[arg(long, default_value_t = 0.95)]
    pub(crate) confidence: f64,
    /// Fresh canaries among which exposure ranks the planted ones
    #[arg(long, default_value_t = 255)]
    pub(crate) candidates: usize,
    /// Resamples of the bootstrap
    #[arg(long, default_value_t = 1000)]
    pub(crate) bootstrap: usize,
    /// Seed of bootstrap, candidates and the order of ties
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) ranks: WaitArguments,
}

#[derive(Debug, Args)]
pub(crate) struct AuditChannelArguments {
    /// Run folders of equal settings, each with one canary; at least 8
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Runs to guess, fixed before you look (half as included); without it a grid is tried and paid for
    #[arg(long)]
    pub(crate) guesses: Option<usize>,
    /// Confidence of the lower bounds
    #[arg(long, default_value_t = 0.95)]
    pub(crate) confidence: f64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CanaryScore {
    Loss,
    Reference,
    MinK,
    MinKPlusPlus,
    Zlib,
}

impl From<CanaryScore> for ScoreKind {
    fn from(score: CanaryScore) -> Self {
        match score {
            CanaryScore::Loss => Self::Loss,
            CanaryScore::Reference => Self::Reference,
            CanaryScore::MinK => Self::MinK,
            CanaryScore::MinKPlusPlus => Self::MinKPlusPlus,
            CanaryScore::Zlib => Self::Zlib,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AuditMechanismArguments {
    /// Orthogonal canaries
    #[arg(long, default_value_t = 60_000)]
    pub(crate) canaries: usize,
    /// Noise standard deviation over joint L2 sensitivity
    #[arg(long, default_value_t = 1.0)]
    pub(crate) noise_multiplier: f64,
    /// Delta of the claim
    #[arg(long, default_value_t = 1e-5)]
    pub(crate) delta: f64,
    /// Canaries to guess, fixed in advance (half as included)
    #[arg(long, default_value_t = 800)]
    pub(crate) guesses: usize,
    /// Confidence of the lower bounds
    #[arg(long, default_value_t = 0.95)]
    pub(crate) confidence: f64,
    /// For tests: coins and noise from this seed instead of the operating system
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditCanariesArguments {
    /// Number of canaries; about half are included
    #[arg(long)]
    pub(crate) count: usize,
    /// How often each included canary is written
    #[arg(long, default_value_t = 1)]
    pub(crate) repetitions: usize,
    /// digits, names or rare
    #[arg(long, default_value = "digits")]
    pub(crate) kind: rldp_data::canaries::Kind,
    /// For tests: secrets and coins from this seed instead of the operating system
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// File of canaries to write (.csv or .jsonl); never release it
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Training records (.csv) to which the included canaries are appended
    #[arg(long, requires = "train_out")]
    pub(crate) train: Option<PathBuf>,
    /// Training file to write
    #[arg(long, requires = "train")]
    pub(crate) train_out: Option<PathBuf>,
    /// Column of the training file that holds the text
    #[arg(long, default_value = "text")]
    pub(crate) text_column: String,
    /// Column of the training file that names the privacy unit; every canary becomes a unit of its own
    #[arg(long)]
    pub(crate) unit_column: Option<String>,
}
