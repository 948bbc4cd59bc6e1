//! `rldp generate`: continues a prompt, or a conversation.

use std::{
    cell::RefCell,
    io::{BufRead as _, IsTerminal as _, stdin},
    process::ExitCode,
};

use anyhow::Result;
use rldp_data::{ChatTemplate, TextTokenizer};
use rldp_model::{
    Adapter, Engine, ModelFiles,
    cpu::CpuOptions,
    generate::{GenerateOptions, Sampling},
};
use rldp_train::settings::EngineKind;
use serde_json::{Value, json};

use super::print_line;
use crate::{
    cli::GenerateArguments,
    exit::Wrong,
    models,
    progress::{ask, note},
    watched::watched,
};

/// What continues texts.
struct Speaker<'a> {
    files: &'a ModelFiles,
    tokenizer: &'a TextTokenizer,
    adapter: Option<Adapter>,
    engine: RefCell<Box<dyn Engine>>,
    options: GenerateOptions,
}

pub(crate) fn run(arguments: &GenerateArguments) -> Result<ExitCode> {
    let sampling = sampling(arguments)?;
    let (files, tokenizer) = &models::open(&arguments.model)?;
    let speaker = Speaker {
        files,
        tokenizer,
        adapter: models::adapter(arguments.adapter.as_deref(), files)?,
        engine: RefCell::new(watched(models::engine(
            files,
            EngineKind::Cpu,
            arguments.device,
            CpuOptions::default(),
            None,
        )?)),
        options: GenerateOptions {
            max_new_tokens: arguments.max_new_tokens,
            sampling,
            seed: arguments.seed,
            stop_tokens: files.config.eos_token_ids.clone(),
        },
    };
    match &arguments.prompt {
        Some(prompt) if arguments.chat => {
            let answer = speaker.answer(&mut vec![turn("user", prompt)])?;
            print_line(&answer)?;
        }
        Some(prompt) => {
            let tokens = speaker.tokenizer.encode(prompt, true).map_err(Wrong::input)?;
            print_line(&speaker.continued(&tokens)?)?;
        }
        None => speaker.converse()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn sampling(arguments: &GenerateArguments) -> Result<Sampling> {
    let GenerateArguments { temperature, top_p, min_p, repetition_penalty, .. } = *arguments;
    let part = 0.0..=1.0;
    let checks = [
        ("temperature", temperature, temperature >= 0.0 && temperature.is_finite(), "0 (greedy) or positive"),
        ("top-p", top_p, part.contains(&top_p), "between 0 and 1"),
        ("min-p", min_p, part.contains(&min_p), "between 0 and 1"),
        (
            "repetition-penalty",
            repetition_penalty,
            repetition_penalty > 0.0 && repetition_penalty.is_finite(),
            "positive; 1 is none",
        ),
    ];
    if let Some((name, value, _, bound)) = checks.into_iter().find(|(_, _, holds, _)| !holds) {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!("--{name} is {value}, but must be {bound}")));
    }
    Ok(Sampling { temperature, top_p, min_p, repetition_penalty })
}

fn turn(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

impl Speaker<'_> {
    fn continued(&self, tokens: &[u32]) -> Result<String> {
        let new =
            self.engine.borrow_mut().generate(self.adapter.as_ref(), tokens, &self.options).map_err(Wrong::input)?;
        Ok(self.tokenizer.decode(&new).map_err(Wrong::input)?)
    }

    fn template(&self) -> Result<&ChatTemplate> {
        let none = || Wrong::input(anyhow::anyhow!("--chat needs a model with a chat template; this one has none"));
        Ok(self.tokenizer.chat_template().ok_or_else(none)?)
    }

    /// The assistant's answer to a conversation. Where its turns leave no room for one, the oldest are forgotten.
    fn answer(&self, turns: &mut Vec<Value>) -> Result<String> {
        let template = self.template()?;
        let room = self.files.config.max_positions.saturating_sub(self.options.max_new_tokens);
        loop {
            let text = template
                .render(&Value::from(turns.clone()).to_string(), None, true)
                .map_err(|reason| Wrong::input(anyhow::anyhow!(reason)))?;
            let tokens = self.tokenizer.encode(&text, false).map_err(Wrong::input)?;
            if tokens.len() <= room || turns.len() < 3 {
                return self.continued(&tokens);
            }
            note(
                "note",
                "the conversation is longer than the model reads; its first question and answer are forgotten",
            );
            turns.drain(..2);
        }
    }

    /// A line is a turn; the end of input ends the conversation.
    fn converse(&self) -> Result<()> {
        self.template()?;
        let asks = stdin().is_terminal();
        let mut turns = Vec::new();
        let mut lines = stdin().lock().lines();
        loop {
            if asks {
                ask("> ");
            }
            let Some(line) = lines.next().transpose().map_err(Wrong::input)? else { return Ok(()) };
            if line.trim().is_empty() {
                continue;
            }
            turns.push(turn("user", line.trim()));
            let answer = self.answer(&mut turns)?;
            print_line(&answer)?;
            turns.push(turn("assistant", answer.trim()));
        }
    }
}
