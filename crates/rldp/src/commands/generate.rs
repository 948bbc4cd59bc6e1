//! `rldp generate`: continues a prompt.

use std::process::ExitCode;

use anyhow::Result;
use rldp_data::TextTokenizer;
use rldp_model::{
    cpu::{CpuEngine, CpuOptions},
    generate::{GenerateOptions, generate},
};

use super::print_line;
use crate::{cli::GenerateArguments, exit::Wrong, models};

pub(crate) fn run(arguments: &GenerateArguments) -> Result<ExitCode> {
    if !(arguments.temperature >= 0.0 && arguments.temperature.is_finite()) {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!(
            "--temperature is {}, but must be 0 (greedy) or positive",
            arguments.temperature
        )));
    }
    let files = models::files(&arguments.model)?;
    let tokenizer = models::tokenizer(&files)?;
    let adapter = models::adapter(arguments.adapter.as_deref(), &files)?;
    let engine = CpuEngine::new(&files, CpuOptions::default()).map_err(Wrong::input)?;
    let prompt = prompt(arguments, &tokenizer)?;
    let options = GenerateOptions {
        max_new_tokens: arguments.max_new_tokens,
        temperature: arguments.temperature,
        seed: arguments.seed,
        stop_tokens: files.config.eos_token_ids.clone(),
    };
    let tokens = generate(&engine, adapter.as_ref(), &prompt, &options).map_err(Wrong::input)?;
    print_line(&tokenizer.decode(&tokens).map_err(Wrong::input)?)?;
    Ok(ExitCode::SUCCESS)
}

fn prompt(arguments: &GenerateArguments, tokenizer: &TextTokenizer) -> Result<Vec<u32>> {
    if !arguments.chat {
        return Ok(tokenizer.encode(&arguments.prompt, true).map_err(Wrong::input)?);
    }
    let Some(template) = tokenizer.chat_template() else {
        anyhow::bail!(Wrong::input(anyhow::anyhow!("--chat needs a model with a chat template; this one has none")));
    };
    let messages = [serde_json::json!({"role": "user", "content": arguments.prompt})];
    let text = template.render(&messages, true).map_err(|reason| Wrong::input(anyhow::anyhow!(reason)))?;
    Ok(tokenizer.encode(&text, false).map_err(Wrong::input)?)
}
