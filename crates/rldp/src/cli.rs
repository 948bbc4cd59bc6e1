//! The command line, as clap reads it. Names and flags are an interface that others call.

mod audit;
mod columns;
#[cfg(test)]
mod documented;
mod planting;
mod policy;
mod privacy;
mod tools;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, builder::RangedU64ValueParser};
use rldp_control::ControllerKind;
use rldp_privacy::accounting::AccountantKind;
use rldp_train::{MemorySize, settings::EngineKind};

use crate::commands::{CompareArguments, Metric};
pub(crate) use audit::{
    AuditArguments, AuditCanariesArguments, AuditChannelArguments, AuditCommand, AuditKind, AuditMechanismArguments,
};
pub(crate) use columns::ColumnArguments;
use planting::PlantingArguments;
pub(crate) use policy::{PolicyCommand, PolicyShowArguments, PolicyTrainArguments};
pub(crate) use privacy::{CalibrateArguments, EpsilonArguments, PrivacyCommand, VerifyArguments};
pub(crate) use tools::{CompletionsArguments, ManArguments, MergeArguments};

/// Fine-tune a causal language model with LoRA under differential privacy, steered by a private controller.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train on embedded notes with an embedded model, fixed and SAC at the same epsilon, and write a report
    Demo(DemoArguments),
    /// Fine-tune a model privately
    Train(Box<TrainArguments>),
    /// Run a grid of private runs side by side and tell which method is better
    Compare(CompareArguments),
    /// Perplexity of a model, with or without an adapter, on records that are assumed public
    Evaluate(EvaluateArguments),
    /// Continue a prompt
    Generate(GenerateArguments),
    /// Add an adapter to its base model and write the sum as a model of its own
    Merge(MergeArguments),
    /// Account, calibrate and verify
    #[command(subcommand)]
    Privacy(PrivacyCommand),
    /// Try to falsify a privacy claim: attack an adapter, or the mechanism
    Audit(Box<AuditCommand>),
    /// Learn a policy on public records, or look into one
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Write the HTML report of one or several runs
    Report(ReportArguments),
    /// Look inside a model, for checks against other implementations
    #[command(subcommand)]
    Inspect(InspectCommand),
    /// Print a shell's completion script
    Completions(CompletionsArguments),
    /// Write manual pages
    #[command(hide = true)]
    Man(ManArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Folder for the two runs and the report
    #[arg(long, default_value = "demo")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct TrainArguments {
    /// Hugging Face model directory, GGUF file, or name on the hub (owner/name)
    #[arg(long)]
    pub(crate) model: Option<PathBuf>,
    /// Private training records: CSV, JSONL or Parquet, plain or compressed (.gz, .zst); - reads standard input
    #[arg(long)]
    pub(crate) train: Option<PathBuf>,
    /// Evaluation records, assumed public
    #[arg(long)]
    pub(crate) eval: Option<PathBuf>,
    /// Target epsilon
    #[arg(long)]
    pub(crate) epsilon: Option<f64>,
    /// Target delta; far below 1 / number of units. No default, because it is part of the promise
    #[arg(long)]
    pub(crate) delta: Option<f64>,
    /// Run folder to create
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// TOML file of settings; flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Who chooses clip norms, shares or noise
    #[arg(long, help = format!("Who chooses clip norms, shares or noise: {}", ControllerKind::known()))]
    pub(crate) controller: Option<String>,
    /// Number of noisy steps
    #[arg(long, value_parser = whole())]
    pub(crate) steps: Option<u64>,
    /// Steps of other runs on the same records, at the same batch size, that epsilon covers as well: a tuning paid from one
    /// budget
    #[arg(long)]
    pub(crate) other_steps: Option<u64>,
    /// Steps that noise is correlated over, so that later steps take back a part of it, 1 to 16; chosen by what leaves the least noise
    /// when it is not given, 1 where noise may not be correlated
    #[arg(long)]
    pub(crate) noise_bands: Option<u64>,
    /// Expected batch size in units (Poisson sampling)
    #[arg(long)]
    pub(crate) batch_size: Option<f64>,
    /// Peak learning rate; 1.6/(lora_alpha·√steps) when it is not given, with 25 steps at least
    #[arg(long)]
    pub(crate) learning_rate: Option<f64>,
    /// Joint L2 bound on one unit's contribution at the start
    #[arg(long)]
    pub(crate) clip_norm: Option<f64>,
    /// LoRA rank
    #[arg(long)]
    pub(crate) rank: Option<u32>,
    /// LoRA alpha
    #[arg(long)]
    pub(crate) lora_alpha: Option<f64>,
    /// Adapted modules by PEFT's names, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub(crate) target_modules: Option<Vec<String>>,
    /// both, or b: every A stays at its random start and B is trained alone (FFA-LoRA)
    #[arg(long)]
    pub(crate) trainable: Option<String>,
    /// Steps between two decisions of the controller
    #[arg(long, value_parser = whole())]
    pub(crate) interval: Option<u64>,
    /// Column that names the privacy unit, such as a patient; without it every record is a unit
    #[arg(long)]
    pub(crate) unit_column: Option<String>,
    /// Use at most this many records of a unit, sampled secretly
    #[arg(long)]
    pub(crate) max_records_per_unit: Option<u32>,
    #[command(flatten)]
    pub(crate) columns: ColumnArguments,
    #[command(flatten)]
    pub(crate) planting: PlantingArguments,
    /// Seed of public streams only; never reaches sampling or noise
    #[arg(long, value_parser = whole())]
    pub(crate) seed: Option<u64>,
    /// Continue the run in --out (or in the folder given here) from its last checkpoint
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "")]
    pub(crate) resume: Option<PathBuf>,
    /// committed: noise fixed in advance; deck: a fixed set of noise levels in an order the controller chooses, at the same
    /// price; adaptive: the controller moves the noise freely, behind a Rényi filter that costs more
    #[arg(long)]
    pub(crate) regime: Option<String>,
    /// Accountant of the committed regime
    #[arg(long)]
    pub(crate) accountant: Option<AccountantKind>,
    /// joint: one bound for the whole gradient, whose scale per adapter pair a controller may move; pair-wise: a bound and
    /// a share of the noise for each pair; flat: joint, but nothing moves except the one bound
    #[arg(long)]
    pub(crate) clipping: Option<String>,
    /// clip: gradients above their bound are scaled down; normalize: all are scaled to about the bound (AUTO-S)
    #[arg(long)]
    pub(crate) scaling: Option<String>,
    /// none; adaclip: each coordinate on a scale learned from releases; geoclip: in the eigenbasis of released gradients
    #[arg(long)]
    pub(crate) geometry: Option<String>,
    /// Share of every step's budget that buys the released loss and clip fractions
    #[arg(long)]
    pub(crate) statistics_share: Option<f64>,
    /// Fraction of the steps over which the learning rate warms up
    #[arg(long)]
    pub(crate) warmup: Option<f64>,
    /// linear, cosine or constant
    #[arg(long)]
    pub(crate) decay: Option<String>,
    /// adamw; adam-bc: AdamW without the noise's share of its second moment (DP-AdamBC); sgd: momentum of --beta1
    #[arg(long)]
    pub(crate) optimizer: Option<String>,
    /// Least corrected second moment of adam-bc, over the noise's variance
    #[arg(long)]
    pub(crate) noise_floor: Option<f64>,
    /// Decay of AdamW's first moment
    #[arg(long)]
    pub(crate) beta1: Option<f64>,
    /// Decay of AdamW's second moment
    #[arg(long)]
    pub(crate) beta2: Option<f64>,
    /// Decoupled weight decay
    #[arg(long)]
    pub(crate) weight_decay: Option<f64>,
    /// Search for the learning rate from released gradients; AdamW's is believed near the default, whatever is given: true or false
    #[arg(long)]
    pub(crate) rate_search: Option<bool>,
    /// Saved policy to start from
    #[arg(long)]
    pub(crate) policy: Option<PathBuf>,
    /// Follow the saved policy's mean action, and learn nothing more
    #[arg(long, requires = "policy")]
    pub(crate) frozen_policy: bool,
    /// Declare the --eval file a public probe that the controller may see
    #[arg(long)]
    pub(crate) public_probe: bool,
    /// Transitions per SAC update
    #[arg(long)]
    pub(crate) sac_batch_size: Option<u32>,
    /// SAC updates per interval
    #[arg(long)]
    pub(crate) sac_updates_per_interval: Option<u32>,
    /// Steps between evaluations on --eval
    #[arg(long, value_parser = whole())]
    pub(crate) eval_every: Option<u64>,
    /// Steps between checkpoints
    #[arg(long, value_parser = whole())]
    pub(crate) checkpoint_every: Option<u64>,
    /// cpu (fast) or reference (readable autodiff)
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// Products with the frozen base model: f32, or bf16 with sums in f32; by default the faster one this processor has
    #[arg(long)]
    pub(crate) precision: Option<String>,
    /// Tokens processed at once; bounds memory, changes no result
    #[arg(long)]
    pub(crate) micro_batch_tokens: Option<u32>,
    /// Memory that the run may take, such as 6GiB; chooses the micro-batch, changes no result
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_limit: Option<MemorySize>,
    /// Research only, NO PRIVACY: draw sampling and noise from this seed
    #[arg(long, value_name = "SEED", value_parser = whole())]
    pub(crate) unsafe_noise_seed: Option<u64>,
    /// Research only, NO PRIVACY: neither clip nor add noise; takes no --epsilon and --delta, and only --controller fixed
    #[arg(long)]
    pub(crate) unsafe_non_private: bool,
    /// Research only, NO PRIVACY: show the controller gradient norms and losses without noise, as in the paper
    #[arg(long)]
    pub(crate) unsafe_raw_observations: bool,
    /// Print the resolved settings as TOML and stop
    #[arg(long)]
    pub(crate) show_settings: bool,
    /// Print no progress
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Whole numbers as TOML can hold them: 63 bits.
fn whole() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(..=i64::MAX.unsigned_abs())
}

/// A model with an optional adapter.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// Hugging Face model directory, GGUF file, or name on the hub (owner/name)
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// PEFT adapter directory
    #[arg(long)]
    pub(crate) adapter: Option<PathBuf>,
    /// cpu (fast) or reference (readable autodiff)
    #[arg(long, default_value = "cpu")]
    pub(crate) engine: EngineChoice,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum EngineChoice {
    Cpu,
    Reference,
}

impl From<EngineKind> for EngineChoice {
    fn from(kind: EngineKind) -> Self {
        match kind {
            EngineKind::Cpu => Self::Cpu,
            EngineKind::Reference => Self::Reference,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Records, assumed public
    #[arg(long)]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) columns: ColumnArguments,
    /// Beside perplexity, of prompts and completions: bleu, rouge-l, accuracy. Records with the same prompt are references of
    /// one text
    #[arg(long, value_delimiter = ',')]
    pub(crate) metrics: Vec<Metric>,
    /// Most tokens of a generated text
    #[arg(long, default_value_t = 64)]
    pub(crate) max_new_tokens: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// Hugging Face model directory, GGUF file, or name on the hub (owner/name)
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// PEFT adapter directory
    #[arg(long)]
    pub(crate) adapter: Option<PathBuf>,
    /// Text to continue
    #[arg(long)]
    pub(crate) prompt: String,
    /// Take the prompt for a user's message and let the assistant answer, by the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// Most tokens to add
    #[arg(long, default_value_t = 64)]
    pub(crate) max_new_tokens: usize,
    /// 0 is greedy; higher is more varied
    #[arg(long, default_value_t = 0.0)]
    pub(crate) temperature: f64,
    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Run folders
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// HTML file to write
    #[arg(long, default_value = "report.html")]
    pub(crate) out: PathBuf,
    /// Also write TensorBoard event files, a folder a run, here
    #[arg(long, value_name = "DIR")]
    pub(crate) tensorboard: Option<PathBuf>,
    /// Also write the same scalars as lines of JSON, a folder a run, here; `wandb.log` takes them
    #[arg(long, value_name = "DIR")]
    pub(crate) history: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InspectCommand {
    /// Logits of every record as safetensors: `logits.{row}` (T, V) and `tokens.{row}` (T)
    Logits(InspectLogitsArguments),
    /// Unclipped gradients of every record: exact functions of the records, for public data only
    PerExampleGradients(InspectGradientsArguments),
}

#[derive(Debug, Args)]
pub(crate) struct InspectLogitsArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Records
    #[arg(long)]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) columns: ColumnArguments,
    /// safetensors file to write
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InspectGradientsArguments {
    /// Hugging Face model directory, GGUF file, or name on the hub (owner/name)
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// PEFT adapter directory, which names the adapted modules
    #[arg(long)]
    pub(crate) adapter: PathBuf,
    /// cpu (fast) or reference (readable autodiff)
    #[arg(long, default_value = "cpu")]
    pub(crate) engine: EngineChoice,
    /// Records, which must be public
    #[arg(long)]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) columns: ColumnArguments,
    /// safetensors file to write
    #[arg(long)]
    pub(crate) out: PathBuf,
}
