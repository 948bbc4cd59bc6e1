//! Arguments of the small commands around a run, a model and the shell.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct MergeArguments {
    /// Hugging Face model directory, GGUF file, or name on the hub
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// PEFT adapter directory
    #[arg(long)]
    pub(crate) adapter: PathBuf,
    /// Directory to write the merged model to; absent or empty
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Run folders
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// HTML file to write
    #[arg(long, default_value = "report.html")]
    pub(crate) out: PathBuf,
    /// What `rldp audit RUN --json` printed, for a copy of one run's report that is not to be released
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
    /// Also write TensorBoard event files, a folder a run, here
    #[arg(long, value_name = "DIR")]
    pub(crate) tensorboard: Option<PathBuf>,
    /// Also write the same scalars as lines of JSON, a folder a run, here; `wandb.log` takes them
    #[arg(long, value_name = "DIR")]
    pub(crate) history: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Run folder, of a run that closed
    pub(crate) run: PathBuf,
    /// Directory to write to; absent or empty
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: ShellChoice,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ShellChoice {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

impl From<ShellChoice> for clap_complete::Shell {
    fn from(choice: ShellChoice) -> Self {
        match choice {
            ShellChoice::Bash => Self::Bash,
            ShellChoice::Elvish => Self::Elvish,
            ShellChoice::Fish => Self::Fish,
            ShellChoice::Powershell => Self::PowerShell,
            ShellChoice::Zsh => Self::Zsh,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Folder to write the pages to
    #[arg(long, default_value = "man")]
    pub(crate) out: PathBuf,
}
