//! The controller as a channel: an attacker who reads metrics, actions and policy of many runs, and no weights.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use fs_err as fs;
use rldp_audit::{
    channel::discriminate,
    guesses::{OneRun, OneRunSettings, audit_scores},
};
use rldp_data::canary_file::read_canaries;
use rldp_privacy::decimals::at_least;
use rldp_train::{book_file::BookFile, files, settings::PrivacySettings};
use serde::Serialize;
use serde_json::Value;

use super::target::{settings, without_guarantee};
use crate::{
    cli::AuditChannelArguments,
    commands::{print_json, print_line},
    exit::Wrong,
};

/// With fewer runs nothing can be learned from half of them.
const FEWEST_RUNS: usize = 8;

/// What the logs told. Keys are documented in `docs/audit.md`.
#[derive(Serialize)]
struct Found {
    runs: usize,
    /// Numbers read of each run.
    numbers: usize,
    /// ε that each run claims; infinite, and written as null, without noise.
    epsilon: f64,
    without_guarantee: Option<String>,
    one_run: OneRun,
}

pub(super) fn run(arguments: &AuditChannelArguments) -> Result<ExitCode> {
    let count = arguments.runs.len();
    if count < FEWEST_RUNS {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!(
            "there are {count} run folders, but an audit of logs must have at least {FEWEST_RUNS}; name more"
        )));
    }
    let first = settings(&arguments.runs[0])?;
    let mut rows = Vec::with_capacity(arguments.runs.len());
    let mut coins = Vec::with_capacity(arguments.runs.len());
    for run in &arguments.runs {
        let own = settings(run)?;
        // A known seed is each run's own.
        let privacy = PrivacySettings { unsafe_noise_seed: first.privacy.unsafe_noise_seed, ..own.privacy };
        anyhow::ensure!(
            privacy == first.privacy && own.control == first.control,
            Wrong::input(anyhow::anyhow!("{} has other settings than the first run; audit runs alike", run.display()))
        );
        let canaries = read_canaries(&run.join(files::PRIVATE).join(files::CANARIES)).map_err(Wrong::input)?;
        let [canary] = canaries.as_slice() else {
            anyhow::bail!(Wrong::input(anyhow::anyhow!(
                "{} was trained with {} canaries; this audit needs --canaries 1",
                run.display(),
                canaries.len()
            )));
        };
        anyhow::ensure!(
            canary.units == 1,
            Wrong::input(anyhow::anyhow!(
                "the canary of {} stands in {} units, but the claim is about one; train with --canary-repetitions 1",
                run.display(),
                canary.units
            ))
        );
        if let Some(book) = &own.output.book {
            BookFile::open(book)?.enter_audit(run)?;
        }
        coins.push(canary.included);
        rows.push(numbers(run)?);
    }
    let (scores, guessed) = discriminate(&rows, &coins).map_err(Wrong::input)?;
    let settings = OneRunSettings {
        delta: first.privacy.delta,
        confidence: arguments.confidence,
        guesses: arguments.guesses,
        seed: 0,
    };
    let one_run = audit_scores(&scores, &guessed, &settings).map_err(Wrong::input)?;
    let found = Found {
        runs: rows.len(),
        numbers: rows[0].len(),
        epsilon: first.privacy.epsilon,
        without_guarantee: without_guarantee(&first),
        one_run,
    };
    if arguments.json {
        print_json(&found)?;
    } else {
        let bound = &found.one_run;
        print_line(&format!("{} numbers of each of {} runs, half of them to learn from", found.numbers, found.runs))?;
        print_line(&format!(
            "epsilon at least {} at delta {:?}, confidence {}; each run claims {}",
            at_least(bound.epsilon, 4),
            bound.delta,
            bound.confidence,
            found.epsilon
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Every number of the metrics and of the policy, in the order of the files.
fn numbers(run: &Path) -> Result<Vec<f64>> {
    let mut found = Vec::new();
    let metrics = fs::read_to_string(run.join(files::METRICS)).map_err(Wrong::input)?;
    let policies = fs::read_dir(run.join(files::POLICY)).map_err(Wrong::input)?;
    let mut policies: Vec<_> = policies.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    policies.sort();
    let mut texts: Vec<String> = metrics.lines().map(str::to_owned).collect();
    for policy in policies {
        texts.push(fs::read_to_string(policy).map_err(Wrong::input)?);
    }
    for text in texts {
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("a log of {} is no JSON", run.display()))
            .map_err(Wrong::input)?;
        collect(&value, &mut found);
    }
    Ok(found)
}

fn collect(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
