//! `rldp privacy`: epsilon of a plan, noise for a target, checks and signatures of runs, budget books.

mod book;
mod claim;
mod sign;
mod verify;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use fs_err as fs;
use rldp_privacy::{
    accounting::{AccountantKind, Adaptivity, Adjacency, Event, accountant, calibrate_noise_multiplier},
    decimals::at_most,
    largest_epsilon,
};
use serde::Serialize;

pub(crate) use self::{
    book::book,
    claim::check_claim,
    sign::{SEAL, SIGNATURE, sign},
    verify::{verify, verify_run},
};
use super::{print_json, print_line};
use crate::{
    cli::{CalibrateArguments, EpsilonArguments},
    exit::Wrong,
    progress::note,
};

#[derive(Serialize)]
struct Spent {
    epsilon: f64,
    delta: f64,
    accountant: AccountantKind,
    steps: u64,
}

#[derive(Serialize)]
struct Calibrated {
    noise_multiplier: f64,
    epsilon: f64,
    target_epsilon: f64,
    delta: f64,
    accountant: AccountantKind,
    sampling_rate: f64,
    steps: u64,
}

pub(crate) fn epsilon(arguments: &EpsilonArguments) -> Result<ExitCode> {
    let events = events(arguments)?;
    let kind = arguments.accountant;
    let epsilon = epsilon_of(&events, arguments.delta, kind)?;
    let steps = events.iter().fold(0_u64, |sum, event| sum.saturating_add(event.steps));
    let spent = Spent { epsilon, delta: arguments.delta, accountant: kind, steps };
    if arguments.json {
        print_json(&spent)?;
    } else {
        print_line(&format!(
            "epsilon {} at delta {} over {steps} steps ({kind})",
            at_most(epsilon, 6),
            arguments.delta
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Epsilon of committed events, where neighbours differ by one unit that comes or goes.
pub(crate) fn epsilon_of(events: &[Event], delta: f64, kind: AccountantKind) -> Result<f64> {
    let accountant = accountant(kind);
    for event in events {
        accountant.supports(event, Adjacency::AddRemove, Adaptivity::Committed).map_err(Wrong::input)?;
    }
    Ok(accountant.epsilon(events, delta).map_err(Wrong::input)?)
}

fn events(arguments: &EpsilonArguments) -> Result<Vec<Event>> {
    if let Some(path) = &arguments.segments {
        let text = fs::read_to_string(path).map_err(Wrong::input)?;
        let segments: Vec<(f64, f64, u64)> = serde_json::from_str(&text)
            .with_context(|| format!("{}: expected [[sampling rate, noise multiplier, steps], …]", path.display()))
            .map_err(Wrong::input)?;
        return Ok(segments.into_iter().map(|(q, z, steps)| Event::new(q, z, steps)).collect());
    }
    match (arguments.sampling_rate, arguments.noise_multiplier, arguments.steps) {
        (Some(q), Some(z), Some(steps)) => Ok(vec![Event::new(q, z, steps)]),
        _ => anyhow::bail!(Wrong::usage(anyhow::anyhow!(
            "give --sampling-rate, --noise-multiplier and --steps, or --segments"
        ))),
    }
}

/// Numbers that a usual adapter trains.
const USUAL_ADAPTER: u64 = 1_000_000;

/// A run refuses an epsilon at which its noise's distance from the Gaussian would cost too much of delta: said here as well.
fn say_largest(epsilon: f64, delta: f64, steps: u64) {
    let largest = largest_epsilon(delta, USUAL_ADAPTER, steps);
    if largest.is_none_or(|largest| epsilon > largest) {
        let largest = largest.map_or_else(|| "none".to_owned(), |largest| largest.to_string());
        let run = format!("a run of {steps} steps of an adapter of {USUAL_ADAPTER} numbers");
        note("note", &format!("the largest epsilon that {run} grants at delta {delta} is {largest}"));
    }
}

pub(crate) fn calibrate(arguments: &CalibrateArguments) -> Result<ExitCode> {
    let CalibrateArguments { epsilon, delta, steps, accountant: kind, json, .. } = *arguments;
    let sampling_rate = sampling_rate(arguments)?;
    accountant(kind)
        .supports(&Event::new(sampling_rate, 1.0, steps), Adjacency::AddRemove, Adaptivity::Committed)
        .map_err(Wrong::input)?;
    let found = calibrate_noise_multiplier(kind, epsilon, delta, sampling_rate, steps).map_err(Wrong::input)?;
    let noise_multiplier = found.noise_multiplier;
    say_largest(epsilon, delta, steps);
    if json {
        print_json(&Calibrated {
            noise_multiplier,
            epsilon: found.epsilon,
            target_epsilon: epsilon,
            delta,
            accountant: kind,
            sampling_rate,
            steps,
        })?;
    } else {
        print_line(&format!(
            "noise multiplier {} gives epsilon {} at delta {delta} ({kind})",
            at_most(noise_multiplier, 6),
            at_most(found.epsilon, 6)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// q as it was given, or B/N.
fn sampling_rate(arguments: &CalibrateArguments) -> Result<f64> {
    match (arguments.sampling_rate, arguments.units, arguments.batch_size) {
        (Some(rate), _, _) => Ok(rate),
        (None, Some(units), Some(batch_size)) if batch_size > 0.0 && batch_size <= units as f64 => {
            Ok(batch_size / units as f64)
        }
        (None, Some(units), Some(batch_size)) => anyhow::bail!(Wrong::usage(anyhow::anyhow!(
            "--batch-size is {batch_size}, but must be positive and at most the {units} units"
        ))),
        _ => anyhow::bail!(Wrong::usage(anyhow::anyhow!("give --sampling-rate, or --units and --batch-size"))),
    }
}
