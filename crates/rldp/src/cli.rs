//! The command line, as clap reads it. Names and flags are an interface that others call.

mod audit;
mod columns;
#[cfg(test)]
mod documented;
mod flags;
mod generate;
#[cfg(test)]
mod hints;
mod plan;
mod policy;
mod privacy;
#[cfg(test)]
mod shape_tests;
mod tools;

use std::{ffi::OsString, io::IsTerminal as _, path::PathBuf};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueHint,
    builder::{OsStringValueParser, TypedValueParser as _},
    error::{ContextKind, ContextValue},
};
use rldp_model::DeviceChoice;
use rldp_train::settings::EngineKind;

use crate::commands::{CompareArguments, Metric};
pub(crate) use audit::{
    AuditArguments, AuditCanariesArguments, AuditChannelArguments, AuditCommand, AuditKind, AuditMechanismArguments,
};
pub(crate) use columns::ColumnArguments;
pub(crate) use flags::{SettingFlags, chosen};
pub(crate) use generate::GenerateArguments;
pub(crate) use plan::PlanArguments;
pub(crate) use policy::{PolicyCommand, PolicyShowArguments, PolicyTrainArguments};
pub(crate) use privacy::{
    BookArguments, CalibrateArguments, EpsilonArguments, PrivacyCommand, SignArguments, VerifyArguments,
};
pub(crate) use tools::{CompletionsArguments, ExportArguments, ManArguments, MergeArguments, ReportArguments};

/// Fine-tune a causal language model with LoRA under differential privacy, steered by a private controller.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The command line as it was given; a wrong one ends the process with a word on what would be right.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Arguments {
    read(words).unwrap_or_else(|error| error.exit())
}

/// The command line, or what is wrong with it.
pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let read = command().try_get_matches_from(words).and_then(|matches| Arguments::from_arg_matches(&matches));
    read.map_err(with_hint)
}

/// The command with help that fits where it is shown: clap asks the terminal, and whatever is no terminal gets narrow lines.
pub(crate) fn command() -> clap::Command {
    let command = Arguments::command();
    let shown = std::io::stdout().is_terminal() || std::io::stderr().is_terminal();
    let command = if shown || std::env::var_os("COLUMNS").is_some() { command } else { command.term_width(NARROW) };
    let mut built = command.clone();
    built.build();
    with_short_usage(command, &mut built)
}

/// Breaks lines of usage, which clap leaves as long as they are.
fn with_short_usage(mut command: clap::Command, built: &mut clap::Command) -> clap::Command {
    const INDENT: &str = "\n         ";
    let usage = built.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).trim_end();
    if usage.lines().any(|line| line.chars().count() + "Usage: ".len() > NARROW) {
        let (mut text, mut length) = (String::new(), "Usage:".len());
        // A flag and its value stay together.
        let mut words = usage.split(' ').peekable();
        while let Some(word) = words.next() {
            let value = words.next_if(|next| word.starts_with("--") && next.starts_with('<'));
            let word = value.map_or_else(|| word.to_owned(), |value| format!("{word} {value}"));
            let needed = word.chars().count() + 1;
            let indent = if length + needed > NARROW { INDENT } else { " " };
            length = if indent == INDENT { INDENT.len() } else { length } + needed;
            text.push_str(if text.is_empty() { "" } else { indent });
            text.push_str(&word);
        }
        command = command.override_usage(text);
    }
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    for name in names {
        if let Some(built) = built.find_subcommand_mut(&name) {
            command = command.mut_subcommand(name, |inner| with_short_usage(inner, built));
        }
    }
    command
}

/// Columns of help that goes to no terminal.
const NARROW: usize = 60;

/// Names the command that was meant when a part of its name was left out: `rldp verify` is `rldp privacy verify`.
fn with_hint(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let command = Arguments::command();
    let inner = command.get_subcommands().find(|outer| outer.find_subcommand(given).is_some());
    if let Some(outer) = inner {
        let tip = format!("that command is `rldp {} {given}`", outer.get_name());
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train on embedded notes with an embedded model, fixed and SAC at the same epsilon, and write a report
    Demo(DemoArguments),
    /// Fine-tune a model privately
    Train(Box<TrainArguments>),
    /// What a run would take and give, before anything is spent
    Plan(Box<PlanArguments>),
    /// Run a grid of private runs side by side and tell which method is better
    Compare(CompareArguments),
    /// Perplexity of a model, with or without an adapter, on records that are assumed public
    Evaluate(EvaluateArguments),
    /// Continue a prompt
    Generate(GenerateArguments),
    /// Add an adapter to its base model and write the sum as a model of its own
    Merge(MergeArguments),
    /// Copy what may leave of a run, and a model card, to a folder
    Export(ExportArguments),
    /// Account, calibrate, verify and sign
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
    /// Write manual pages, one for each command
    Man(ManArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Folder for the two runs and the report
    #[arg(long, default_value = "demo")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    /// TOML file of settings; flags win over it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Continue the run in --out (or in the folder given here) from its last checkpoint
    // A parser of paths would refuse the empty one, which stands for the run in --out.
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "", value_hint = ValueHint::DirPath,
        value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) resume: Option<PathBuf>,
    /// Print the resolved settings as TOML and stop
    #[arg(long)]
    pub(crate) show_settings: bool,
    /// Print no progress
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Write TensorBoard events there after every step, in a folder with the run's name: the values of its metrics
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Output")]
    pub(crate) tensorboard: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ranks: RankArguments,
}

/// Waiting for other processes, which a launcher such as mpirun or srun started.
#[derive(Debug, Args)]
pub(crate) struct WaitArguments {
    /// Seconds after which a silent rank ends the job
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0, help_heading = "Several processes")]
    pub(crate) rank_timeout: f64,
}

/// Several processes that train.
#[derive(Debug, Args)]
pub(crate) struct RankArguments {
    #[command(flatten)]
    pub(crate) wait: WaitArguments,
    /// Read the records on rank 0 alone and send each rank the tokens of its units
    #[arg(long, help_heading = "Several processes")]
    pub(crate) deal_records: bool,
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
    /// Which engine computes
    #[arg(long, value_name = "NAME", value_parser = chosen::<EngineKind>(), default_value = "cpu")]
    pub(crate) engine: EngineKind,
    /// Where it computes: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
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
    #[command(flatten)]
    pub(crate) ranks: WaitArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InspectCommand {
    /// Logits of every record as safetensors: `logits.{row}` (T, V) and `tokens.{row}` (T)
    Logits(InspectLogitsArguments),
    /// What this machine has to compute with, and what a run would use
    Devices(InspectDevicesArguments),
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
    /// Which engine computes
    #[arg(long, value_name = "NAME", value_parser = chosen::<EngineKind>(), default_value = "cpu")]
    pub(crate) engine: EngineKind,
    /// Where it computes: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Records, which must be public
    #[arg(long)]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) columns: ColumnArguments,
    /// safetensors file to write
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InspectDevicesArguments {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
