//! `rldp privacy`: epsilon of a plan, noise for a target, and the check of a run's ledger.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use fs_err as fs;
use rldp_privacy::{
    Claim, Guarantee, Regime, Verification,
    accounting::{AccountantKind, Adaptivity, Adjacency, Event, accountant, calibrate_noise_multiplier},
    verify as verify_ledger,
};
use rldp_train::{
    checkpoint, files, last_recorded_step,
    settings::{RegimeKind, TrainSettings},
};
use serde::Serialize;

use super::{print_json, print_line};
use crate::{
    cli::{CalibrateArguments, EpsilonArguments, VerifyArguments},
    exit::Wrong,
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
    let accountant = accountant(kind);
    for event in &events {
        accountant.supports(event, Adjacency::AddRemove, Adaptivity::Committed).map_err(Wrong::input)?;
    }
    let epsilon = accountant.epsilon(&events, arguments.delta).map_err(Wrong::input)?;
    let steps = events.iter().fold(0_u64, |sum, event| sum.saturating_add(event.steps));
    let spent = Spent { epsilon, delta: arguments.delta, accountant: kind, steps };
    if arguments.json {
        print_json(&spent)?;
    } else {
        print_line(&format!("epsilon {epsilon:.6} at delta {} over {steps} steps ({kind})", arguments.delta))?;
    }
    Ok(ExitCode::SUCCESS)
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

pub(crate) fn calibrate(arguments: &CalibrateArguments) -> Result<ExitCode> {
    let CalibrateArguments { epsilon, delta, steps, accountant: kind, json, .. } = *arguments;
    let sampling_rate = sampling_rate(arguments)?;
    accountant(kind)
        .supports(&Event::new(sampling_rate, 1.0, steps), Adjacency::AddRemove, Adaptivity::Committed)
        .map_err(Wrong::input)?;
    let found = calibrate_noise_multiplier(kind, epsilon, delta, sampling_rate, steps).map_err(Wrong::input)?;
    let noise_multiplier = found.noise_multiplier;
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
            "noise multiplier {noise_multiplier:.6} gives epsilon {:.6} at delta {delta} ({kind})",
            found.epsilon
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

pub(crate) fn verify(arguments: &VerifyArguments) -> Result<ExitCode> {
    let found = verify_run(&arguments.run)?;
    if arguments.json {
        print_json(&found)?;
    } else {
        print_line(&found.statement)?;
        for check in &found.checks {
            print_line(&format!("{} {:<16} {}", if check.passed { "ok  " } else { "FAIL" }, check.name, check.detail))?;
        }
        print_line(if found.holds { "The claim holds." } else { "THE CLAIM DOES NOT HOLD." })?;
    }
    Ok(if found.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Replays a run's ledger and compares its claim with the run's settings and manifest.
pub(crate) fn verify_run(run: &Path) -> Result<Verification> {
    // A crash may leave a part of a letter at the end; anything else that is no text fails its line's hash.
    let ledger = fs::read(run.join(files::LEDGER)).map_err(Wrong::input)?;
    let ledger = String::from_utf8_lossy(&ledger);
    let mut found = verify_ledger(&ledger);
    let config = fs::read_to_string(run.join(files::CONFIG)).map_err(Wrong::input)?;
    match TrainSettings::from_toml(&config) {
        Err(error) => found.check("settings", false, format!("{} cannot be read: {}", files::CONFIG, error.message())),
        Ok(settings) => {
            let differences = found.claim.as_ref().map_or_else(Vec::new, |claim| differences(claim, &settings));
            let detail = if differences.is_empty() {
                format!("the claim is what {} asks for", files::CONFIG)
            } else {
                differences.join("; ")
            };
            found.check("settings", differences.is_empty(), detail);
            check_units(&mut found, &settings, &run.join(files::MANIFEST));
        }
    }
    check_state(&mut found, run, &ledger)?;
    Ok(found)
}

/// What the run saved and released must not be ahead of its ledger. A folder that was handed out may lack the checkpoint.
fn check_state(found: &mut Verification, run: &Path, ledger: &str) -> Result<()> {
    let recorded = last_recorded_step(run).map_err(Wrong::input)?;
    let charged = found.steps;
    found.check("metrics", recorded <= charged, format!("they speak of step {recorded}, the ledger charges {charged}"));
    let checked = match checkpoint::load(run) {
        Ok(None) => return Ok(()),
        Ok(Some(saved)) => saved.ledger.check(ledger).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let detail = checked.clone().err().unwrap_or_else(|| "it was written after a line that the ledger has".to_owned());
    found.check("checkpoint", checked.is_ok(), detail);
    Ok(())
}

/// Where the ledger's claim is not the one that the settings ask for.
fn differences(claim: &Claim, settings: &TrainSettings) -> Vec<String> {
    let privacy = &settings.privacy;
    let regime = match claim.regime {
        Regime::Committed { .. } => RegimeKind::Committed,
        Regime::Deck { .. } => RegimeKind::Deck,
        Regime::Adaptive { .. } => RegimeKind::Adaptive,
        Regime::NonPrivate => privacy.regime,
    };
    let unit = settings.data.unit_column.as_deref().unwrap_or("record");
    let pairs = [
        ("epsilon", format!("{:?}", claim.target_epsilon), format!("{:?}", privacy.epsilon)),
        ("delta", format!("{:?}", claim.delta), format!("{:?}", privacy.delta)),
        ("steps", claim.steps.to_string(), privacy.steps.to_string()),
        ("other_steps", claim.other_steps.to_string(), privacy.other_steps.to_string()),
        ("noise_bands", claim.noise_bands.to_string(), privacy.noise_bands.unwrap_or(1).to_string()),
        ("batch_size", format!("{:?}", claim.expected_batch_size), format!("{:?}", privacy.batch_size)),
        ("regime", format!("{regime:?}"), format!("{:?}", privacy.regime)),
        ("unit", claim.unit.clone(), unit.to_owned()),
        (
            "guarantee",
            (claim.guarantee == Guarantee::Holds).to_string(),
            settings.unsafe_reasons().is_empty().to_string(),
        ),
        (
            "unsafe_non_private",
            (claim.regime == Regime::NonPrivate).to_string(),
            privacy.unsafe_non_private.to_string(),
        ),
    ];
    let differing = pairs.into_iter().filter(|(_, claimed, asked)| claimed != asked);
    differing.map(|(name, claimed, asked)| format!("{name}: claimed {claimed}, the settings ask for {asked}")).collect()
}

/// The sampling rate must be the batch size over the number of units that the manifest names.
fn check_units(found: &mut Verification, settings: &TrainSettings, manifest: &Path) {
    let read = fs::read_to_string(manifest).ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    // Where coins decide who is trained on, the expected number counts.
    let units = read.and_then(|manifest| manifest["expected_units"].as_f64().or_else(|| manifest["units"].as_f64()));
    let claimed = found.claim.as_ref().map(|claim| claim.sampling_rate);
    let asked = units.map(|units| settings.privacy.batch_size / units);
    let detail = match (claimed, asked) {
        (Some(claimed), Some(asked)) => {
            format!("claimed {claimed}, {asked} by the manifest's {} units", units.unwrap_or_default())
        }
        _ => format!("there is no number of units in {}", manifest.display()),
    };
    found.check("sampling rate", claimed.is_some() && claimed == asked, detail);
}
