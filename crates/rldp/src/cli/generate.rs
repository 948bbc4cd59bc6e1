//! Flags of `rldp generate`.

use std::path::PathBuf;

use clap::Args;

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
