//! `rldp evaluate`: perplexity on records that are assumed public.

use std::process::ExitCode;

use anyhow::Result;
use rldp_train::evaluate::{PublicRecords, evaluate};

use super::{print_json, print_line};
use crate::{cli::EvaluateArguments, exit::Wrong, models::Opened};

pub(crate) fn run(arguments: &EvaluateArguments) -> Result<ExitCode> {
    let mut opened = Opened::new(&arguments.model)?;
    let tokens = opened.records(&arguments.data, &arguments.columns)?;
    let limit = opened.files.config.max_positions;
    let max_length = arguments.columns.max_length.map_or(limit, |length| (length as usize).min(limit));
    let records = PublicRecords::declare(&tokens, max_length);
    let found = evaluate(opened.engine.as_mut(), opened.adapter.as_ref(), &records).map_err(Wrong::input)?;
    if found.tokens == 0 {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{}: no record has a token to score (a record needs at least two tokens)",
            arguments.data.display()
        )));
    }
    if arguments.json {
        print_json(&found)?;
    } else {
        print_line(&format!(
            "perplexity {:.4}   nll {:.4} nats a token   {} tokens in {} records",
            found.perplexity, found.nll, found.tokens, found.records
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
