//! Flags of `rldp generate`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use rldp_model::DeviceChoice;

#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// Hugging Face model directory, GGUF file, or name on the hub (owner/name)
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// PEFT adapter directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) adapter: Option<PathBuf>,
    /// Where it computes: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Text to continue
    #[arg(long, value_name = "TEXT", required_unless_present = "chat", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// Let the assistant answer, by the model's chat template: --prompt, or without it a conversation line by line
    #[arg(long)]
    pub(crate) chat: bool,
    /// Most tokens to add
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) max_new_tokens: usize,
    /// 0 is greedy; higher is more varied
    #[arg(long, value_name = "X", default_value_t = 0.0, help_heading = "Sampling")]
    pub(crate) temperature: f64,
    /// Sample among the likeliest tokens whose probabilities sum to this
    #[arg(long, value_name = "X", default_value_t = 1.0, help_heading = "Sampling")]
    pub(crate) top_p: f64,
    /// Sample among tokens of at least this part of the likeliest one's probability
    #[arg(long, value_name = "X", default_value_t = 0.0, help_heading = "Sampling")]
    pub(crate) min_p: f64,
    /// Above 1, tokens of the text so far are less likely
    #[arg(long, value_name = "X", default_value_t = 1.0, help_heading = "Sampling")]
    pub(crate) repetition_penalty: f64,
    /// Seed of the sampling
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Sampling")]
    pub(crate) seed: u64,
}
