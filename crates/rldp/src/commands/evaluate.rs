//! `rldp evaluate`: perplexity on records that are assumed public.

use std::process::ExitCode;

use anyhow::Result;
use rldp_train::evaluate::{PublicRecords, evaluate};

use super::{print_json, print_line, ranks, utility::measure};
use crate::{
    cli::EvaluateArguments,
    exit::Wrong,
    models::Opened,
    reading::{self, Reading},
};

pub(crate) fn run(arguments: &EvaluateArguments) -> Result<ExitCode> {
    let group = ranks::group(&arguments.ranks)?;
    let opened = Opened::new(&arguments.model).map(|opened| (opened, ()));
    ranks::evaluating(group, opened, |opened, ()| evaluated(arguments, opened))?;
    Ok(ExitCode::SUCCESS)
}

fn evaluated(arguments: &EvaluateArguments, mut opened: Opened) -> Result<()> {
    let trained = reading::trained_with(arguments.model.adapter.as_deref())?;
    let reading = Reading::new(&arguments.columns, &opened.files.config, trained.as_ref());
    let tokens = reading.tokens(&arguments.data, &opened.tokenizer)?;
    reading.say("records", &tokens);
    let records = PublicRecords::declare(&tokens, reading.max_length);
    let found = evaluate(opened.engine.as_mut(), opened.adapter.as_ref(), &records).map_err(Wrong::input)?;
    if found.tokens == 0 {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{}: no record has a token to score (a record needs at least two tokens)",
            arguments.data.display()
        )));
    }
    if !found.nll.is_finite() {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "the model's loss is {}; its weights, or the adapter's, are damaged or of another architecture",
            found.nll
        )));
    }
    let columns = arguments.columns.prompt_column.as_deref().zip(arguments.columns.completion_column.as_deref());
    let measured = match columns {
        _ if arguments.metrics.is_empty() => serde_json::Map::new(),
        None => anyhow::bail!(Wrong::usage(anyhow::anyhow!("--metrics needs --prompt-column and --completion-column"))),
        Some(columns) => {
            measure(&mut opened, &arguments.data, (columns, &reading), &arguments.metrics, arguments.max_new_tokens)?
        }
    };
    if arguments.json {
        let mut all = serde_json::to_value(found)?;
        if let Some(all) = all.as_object_mut() {
            all.extend(measured);
        }
        print_json(&all)?;
    } else {
        print_line(&format!(
            "perplexity {:.4}   nll {:.4} nats a token   {} tokens in {} records",
            found.perplexity, found.nll, found.tokens, found.records
        ))?;
        for (name, value) in &measured {
            print_line(&format!("{name} {value}"))?;
        }
    }
    Ok(())
}
