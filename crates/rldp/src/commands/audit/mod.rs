//! `rldp audit`: attacks that try to falsify a privacy claim. Output holds scores and row numbers, never a record.

mod attack;
mod channel;
mod members;
mod planted;
mod target;

use std::process::ExitCode;

use anyhow::Result;
use rldp_audit::{
    guesses::OneRunSettings,
    mechanism::{MechanismSettings, audit_mechanism, coins},
};
use rldp_data::{
    canaries::canaries,
    canary_file::{Planting, plant, write_canaries},
};
use rldp_privacy::{
    NoiseSource,
    decimals::{at_least, at_most},
};

use super::{print_json, print_line};
use crate::{
    cli::{AuditCanariesArguments, AuditCommand, AuditKind, AuditMechanismArguments},
    exit::Wrong,
    progress::note,
};

pub(crate) fn run(command: &AuditCommand) -> Result<ExitCode> {
    match &command.kind {
        Some(AuditKind::Mechanism(arguments)) => mechanism(arguments),
        Some(AuditKind::Channel(arguments)) => channel::run(arguments),
        Some(AuditKind::Canaries(arguments)) => write(arguments),
        None => attack::run(&command.attack),
    }
}

/// Audits one honest step; exit code 1 when its claim is refuted.
fn mechanism(arguments: &AuditMechanismArguments) -> Result<ExitCode> {
    let mut noise = match arguments.seed {
        Some(seed) => NoiseSource::unsafe_seeded(seed),
        None => NoiseSource::os().map_err(Wrong::input)?,
    };
    let settings = MechanismSettings {
        canaries: arguments.canaries,
        claimed_noise_multiplier: arguments.noise_multiplier,
        actual_noise_multiplier: arguments.noise_multiplier,
        audit: OneRunSettings {
            delta: arguments.delta,
            confidence: arguments.confidence,
            guesses: Some(arguments.guesses),
            seed: arguments.seed.unwrap_or_default(),
        },
    };
    let mut coins = coins(arguments.seed).map_err(Wrong::input)?;
    let found = audit_mechanism(&settings, &mut coins, &mut noise).map_err(Wrong::input)?;
    if arguments.json {
        print_json(&found)?;
    } else {
        let run = &found.one_run;
        let tried = &run.tried[0];
        print_line(&format!(
            "claimed epsilon {} at delta {:?}; {} of {} guesses about {} canaries were right",
            at_most(found.claimed_epsilon, 4),
            run.delta,
            tried.correct,
            tried.guesses,
            run.canaries
        ))?;
        print_line(&format!(
            "epsilon at least {} as a Gaussian mechanism, {} as any mechanism, each with confidence {}",
            at_least(run.gdp_epsilon, 4),
            at_least(run.epsilon, 4),
            run.confidence
        ))?;
        print_line(if found.refuted { "THE CLAIM IS REFUTED." } else { "The claim was not refuted." })?;
    }
    Ok(if found.refuted { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Writes canaries, and the training file that holds the included ones.
fn write(arguments: &AuditCanariesArguments) -> Result<ExitCode> {
    let mut rng = coins(arguments.seed).map_err(Wrong::input)?;
    if arguments.seed.is_some() {
        note("note", "coins and secrets come from a seed: whoever knows it knows them; leave --seed out for an audit");
    }
    // All repetitions of a canary in one unit of the unit column are one unit of privacy.
    let units = if arguments.unit_column.is_some() { 1 } else { arguments.repetitions };
    let found = canaries(arguments.count, &[arguments.kind], &[units], &mut rng).map_err(Wrong::input)?;
    if let (Some(train), Some(train_out)) = (&arguments.train, &arguments.train_out) {
        let planting = Planting {
            text_column: &arguments.text_column,
            unit_column: arguments.unit_column.as_deref(),
            repetitions: arguments.repetitions,
        };
        if planting.unit_column.is_none() && planting.repetitions > 1 {
            note(
                "note",
                &format!(
                    "without --unit-column each of the {} repetitions is a unit of its own: bounds then speak about \
                     groups of {} units, not about the claim's epsilon",
                    planting.repetitions, planting.repetitions
                ),
            );
        }
        plant(train, train_out, &found, &planting).map_err(Wrong::input)?;
        print_line(&format!("{}", train_out.display()))?;
    }
    write_canaries(&arguments.out, &found).map_err(Wrong::input)?;
    print_line(&format!("{}", arguments.out.display()))?;
    Ok(ExitCode::SUCCESS)
}
