//! `rldp plan`: how many steps of what batch, and what they cost, before anything is spent.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use rldp_model::{Engine, ModelConfig, ModelFiles};
use rldp_train::{
    Pace, TrainError, count_units, load_records,
    recommend::{Asked, PlanRow, USUAL_STEPS, USUAL_TOKENS, Workload, around},
    settings::{Given, Known, TrainSettings, past_bytes},
    storage::{Disk, replace},
};
use serde::Serialize;

use super::{
    print_json, print_line,
    train::{careless_delta, engine_for},
};
use crate::{cli::PlanArguments, device, exit::Wrong, facade, models, progress::note};

/// Stands for what a plan does not need.
const NOT_NAMED: &str = "(not named)";
const SECONDS_AN_HOUR: f64 = 3600.0;

#[derive(Serialize)]
struct Plans {
    /// N.
    units: f64,
    epsilon: f64,
    delta: f64,
    /// d, numbers that are trained; null when no model was named.
    parameters: Option<usize>,
    /// Tokens of a unit that hours are computed for.
    record_tokens: Option<f64>,
    #[serde(rename = "plans")]
    rows: Vec<Row>,
    recommended: usize,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    plan: PlanRow,
    hours: Option<f64>,
    memory_bytes: Option<usize>,
}

/// What the machine does with the model.
struct Machine {
    pace: Pace,
    engine: Box<dyn Engine>,
    longest: usize,
    /// Tokens of a unit that hours are computed for.
    tokens: f64,
    known_from: KnownFrom,
    /// Scored tokens of the evaluation file.
    evaluated: usize,
}

/// What says how long a unit is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KnownFrom {
    /// Nothing does: a full block.
    Nothing,
    /// The records of --eval, one a unit.
    Records,
    /// The units of --eval.
    Units,
}

pub(crate) fn run(arguments: &PlanArguments) -> Result<ExitCode> {
    let mut given = match &arguments.config {
        Some(path) => facade::given_from_file(path)?,
        None => Given::default(),
    };
    given.overlay(arguments.settings.0.clone());
    let mut asked = asked(&given, arguments)?;
    let files = given.text("model").map(|model| models::files(Path::new(&model))).transpose()?;
    let config = files.as_ref().map(|files| &files.config);
    let located = facade::located(given.clone(), config)?;
    let units = units(&located)?;
    let settings = draft(located, config)?;
    let machine = files.as_ref().map(|files| measured(&settings, files)).transpose()?;
    if let Some(hours) = arguments.hours {
        let Some(machine) = &machine else {
            anyhow::bail!(Wrong::usage(anyhow::anyhow!("--hours needs --model, whose steps are timed")));
        };
        asked.records = Some(records_in(hours, &asked, machine, settings.output.eval_every)?);
    }
    let work = Workload::new(&settings, units, config)?;
    let (rows, recommended) = around(&settings, &work, &asked)?;
    let seconds = |row: &PlanRow| {
        machine.as_ref().map(|machine| machine.pace.seconds(row, settings.output.eval_every, machine.evaluated))
    };
    let plans = Plans {
        units,
        epsilon: settings.privacy.epsilon,
        delta: settings.privacy.delta,
        parameters: config.map(|_| work.parameters),
        record_tokens: machine.as_ref().map(|machine| machine.tokens),
        rows: rows
            .iter()
            .map(|row| Row {
                plan: row.clone(),
                hours: seconds(row).map(|seconds| seconds / SECONDS_AN_HOUR),
                memory_bytes: machine.as_ref().and_then(|machine| {
                    machine.engine.peak_memory(work.parameters, past_bytes(row.noise_bands), machine.longest)
                }),
            })
            .collect(),
        recommended,
    };
    let best = &rows[recommended];
    let careless = careless_delta(settings.privacy.delta, units);
    for warning in best.warning(settings.privacy.regime).into_iter().chain(careless) {
        note("warning", &warning);
    }
    if let Some(path) = &arguments.write_config {
        write_config(path, &given, best)?;
    }
    if arguments.json {
        print_json(&plans)?;
    } else {
        table(&plans, machine.as_ref(), arguments.write_config.as_deref(), !settings.data.public.is_empty())?;
    }
    if let (Some(machine), Some(files)) = (&machine, &files) {
        tell_of_private_lengths(&settings, files, machine, best)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What of the plan is settled, and the most records that may be trained on.
fn asked(given: &Given, arguments: &PlanArguments) -> Result<Asked> {
    let asked = Asked {
        steps: given.number("steps").map(|steps| steps as u64),
        batch_size: given.number("batch_size"),
        epochs: given.number("epochs"),
        records: arguments.records,
    };
    let refuse = |reason: String| Err(Wrong::usage(anyhow::anyhow!(reason)).into());
    for (name, value) in [("hours", arguments.hours), ("epochs", asked.epochs), ("records", asked.records)] {
        if let Some(value) = value.filter(|value| !(*value > 0.0 && value.is_finite())) {
            return refuse(format!("--{name} is {value}, but must be positive and finite"));
        }
    }
    let settled = asked.epochs.is_some() || (asked.steps.is_some() && asked.batch_size.is_some());
    if settled && (arguments.hours.is_some() || asked.records.is_some()) {
        return refuse(
            "--epochs, or --steps with --batch-size, say how many records a run trains on; leave --hours and --records out".into(),
        );
    }
    match asked.records.filter(|records| *records < fewest(&asked)) {
        Some(records) => {
            refuse(format!("--records is {records}, but a run of this plan trains on {} at least", fewest(&asked)))
        }
        None => Ok(asked),
    }
}

/// Records of the smallest run that was asked for: a batch, or a record a step.
fn fewest(asked: &Asked) -> f64 {
    asked.batch_size.unwrap_or_else(|| asked.steps.unwrap_or(1) as f64)
}

/// Records that a run of the steps that were asked for, or the usual number, may train on.
fn records_in(hours: f64, asked: &Asked, machine: &Machine, eval_every: u64) -> Result<f64> {
    let steps = asked.steps.unwrap_or(USUAL_STEPS);
    let left = hours * SECONDS_AN_HOUR - machine.pace.seconds_without_records(steps, eval_every, machine.evaluated);
    let records = machine.pace.records_in(left);
    if records < fewest(asked) {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!(
            "--hours is {hours}, which is too little for {steps} steps, {} records and the evaluations; give more hours, fewer --steps, a \
             smaller --batch-size, or a larger --eval-every",
            fewest(asked)
        )));
    }
    Ok(records)
}

/// N as it was declared, or counted in --train, with what an audit plants and without what it holds out.
fn units(given: &Given) -> Result<f64> {
    if !given.has("train") && !given.has("units") {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!(
            "give --units, the number of units, or --train, whose units are counted"
        )));
    }
    Ok(count_units(&with_stand_ins(given.clone()).data()?)?)
}

/// With stand-ins for files that a plan does not need.
fn with_stand_ins(mut given: Given) -> Given {
    for key in ["model", "train", "out"] {
        if !given.has(key) {
            given.set(key, Some(NOT_NAMED));
        }
    }
    given
}

/// Settings of the run that is planned, with a plan of no account.
fn draft(given: Given, config: Option<&ModelConfig>) -> Result<TrainSettings> {
    let mut draft = with_stand_ins(given);
    draft.forget("epochs");
    draft.set("steps", Some(1));
    draft.set("batch_size", Some(1.0));
    let card = device::is_card(draft.text("device").as_deref());
    Ok(draft.resolve(&Known { model: config, units: None, card })?)
}

/// Times the loop on random tokens, as long as public records say, or else as records usually are.
fn measured(settings: &TrainSettings, files: &ModelFiles) -> Result<Machine> {
    note("plan", "timing steps on random tokens, for a few seconds");
    let longest = settings.data.max_length.min(files.config.max_positions);
    let unknown = (longest.min(USUAL_TOKENS) as f64, 0, KnownFrom::Nothing);
    let (tokens, evaluated, known_from) = public_lengths(settings, files)?.unwrap_or(unknown);
    let length = (tokens.round() as usize).clamp(2, longest);
    let scratch = tempfile::tempdir()?;
    let refused = |error: anyhow::Error| TrainError::Refused(format!("{error:#}"));
    let mut open = || engine_for(settings, files).map_err(refused);
    let engine = open()?;
    let mut pace = Pace::measure(settings, length, scratch.path(), &mut open)?;
    // What is longer than a block is several of them.
    pace.unit *= (tokens / length as f64).max(1.0);
    Ok(Machine { pace, engine, longest, tokens, known_from, evaluated })
}

/// Mean tokens of the units of --eval, or of its records where it does not name units, and how many of all are scored.
fn public_lengths(settings: &TrainSettings, files: &ModelFiles) -> Result<Option<(f64, usize, KnownFrom)>> {
    let Some(eval) = settings.data.eval.clone() else { return Ok(None) };
    let mut alone = settings.clone();
    alone.data.public.clear();
    (alone.data.train, alone.data.eval) = (eval.into(), None);
    // They are the training file's.
    (alone.data.units, alone.data.canaries, alone.data.hold_out_members) = (None, None, None);
    // An evaluation asks for no units, so that column may be missing, or name them badly.
    let by_unit = alone.data.unit_column.is_some().then(|| lengths(&alone, files)).and_then(Result::ok);
    // However many of a unit's records are trained on, all are evaluated.
    (alone.data.unit_column, alone.data.max_records_per_unit) = (None, None);
    let by_record = lengths(&alone, files)?;
    let (mean, known_from) = match by_unit {
        Some(found) => (found.mean(), KnownFrom::Units),
        None => (by_record.mean(), KnownFrom::Records),
    };
    Ok(Some((mean, by_record.tokens as usize, known_from)))
}

/// Units, and their tokens in all.
struct Lengths {
    units: f64,
    tokens: f64,
}

impl Lengths {
    fn mean(&self) -> f64 {
        self.tokens / self.units.max(1.0)
    }
}

/// Of the settings' training records.
fn lengths(settings: &TrainSettings, files: &ModelFiles) -> Result<Lengths> {
    let units = load_records(settings, &models::tokenizer(files)?, &files.config)?.units;
    let tokens = |unit| units.unit(unit).blocks.iter().map(|block| block.tokens.len()).sum::<usize>() as f64;
    Ok(Lengths { units: units.len() as f64, tokens: (0..units.len()).map(tokens).sum() })
}

/// Records may be shorter or longer than what hours were computed for. Their lengths are private: they are told to the person at
/// the terminal, and stand in no output.
fn tell_of_private_lengths(
    settings: &TrainSettings,
    files: &ModelFiles,
    machine: &Machine,
    best: &PlanRow,
) -> Result<()> {
    if settings.data.train.first() == Path::new(NOT_NAMED) || settings.data.train.has_standard_input() {
        return Ok(());
    }
    let mut private = settings.clone();
    (private.data.eval, private.data.canaries, private.data.hold_out_members) = (None, None, None);
    let declared = private.data.units.take();
    let found = lengths(&private, files)?;
    let tokens = found.mean();
    // Of declared units some are not there, and take no time.
    let expected = declared.map_or(tokens, |declared| found.tokens / declared as f64);
    let pace = Pace { unit: machine.pace.unit * expected / machine.tokens, ..machine.pace };
    let seconds = pace.seconds(best, settings.output.eval_every, machine.evaluated);
    note(
        "plan",
        &format!(
            "units of {} hold {tokens:.0} tokens on average: the recommended plan would take {} (this line depends on the records; it \
             is not for release)",
            settings.data.train,
            duration(seconds)
        ),
    );
    Ok(())
}

fn write_config(path: &Path, given: &Given, best: &PlanRow) -> Result<()> {
    let mut planned = given.clone();
    planned.forget("epochs");
    planned.set("steps", Some(best.steps as i64));
    planned.set("batch_size", Some(best.batch_size));
    Ok(replace(&Disk, path, &[planned.to_toml()?.as_bytes()])?)
}

fn table(plans: &Plans, machine: Option<&Machine>, written: Option<&Path>, warms_up: bool) -> Result<()> {
    print_line(&format!("Plans for {} units at epsilon {} and delta {:?}", plans.units, plans.epsilon, plans.delta))?;
    let heads = ["", "steps", "batch", "bands", "z", "signal", "records", "epochs", "time", "memory"];
    print_line(&line(&heads.map(str::to_owned)))?;
    for (index, Row { plan, hours, memory_bytes }) in plans.rows.iter().enumerate() {
        let mark = if index == plans.recommended { "*" } else { "" };
        print_line(&line(&[
            mark.to_owned(),
            plan.steps.to_string(),
            format!("{:.0}", plan.batch_size),
            plan.noise_bands.to_string(),
            format!("{:.2}", plan.noise_multiplier),
            plan.signal_to_noise.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
            format!("{:.0}", plan.records),
            if plan.epochs < 1.0 { format!("{:.2}", plan.epochs) } else { format!("{:.1}", plan.epochs) },
            hours.map_or_else(|| "-".into(), |hours| duration(hours * SECONDS_AN_HOUR)),
            memory_bytes.map_or_else(|| "-".into(), memory),
        ]))?;
    }
    let best = &plans.rows[plans.recommended].plan;
    let how = match written {
        Some(path) => format!("--config {}", path.display()),
        None => format!("--steps {} --batch-size {}", best.steps, best.batch_size),
    };
    print_line(&format!("* recommended: rldp train … {how}"))?;
    print_line("signal: over noise in the adapter, were all gradients alike; real ones have less.")?;
    match machine {
        Some(machine) => print_line(&whose_times(machine))?,
        None => {
            print_line("For an adapter of a million numbers; name a --model for its own, with times and memory here.")?;
        }
    }
    if warms_up {
        print_line(
            "The warm-up on --public comes on top: at most about as many records again, or 16,384 where those are fewer.",
        )?;
    }
    print_line("Computed from public numbers alone: it costs no privacy.")?;
    Ok(())
}

fn whose_times(machine: &Machine) -> String {
    let tokens = machine.tokens;
    match machine.known_from {
        KnownFrom::Nothing => {
            format!(
                "Times are for units of {tokens:.0} tokens, a full block; name public records like yours by --eval."
            )
        }
        KnownFrom::Records => format!("Times are for units of one record of {tokens:.0} tokens, as in --eval."),
        KnownFrom::Units => format!("Times are for units of {tokens:.0} tokens, as in --eval."),
    }
}

fn line(cells: &[String; 10]) -> String {
    let widths = [1, 5, 6, 5, 6, 7, 8, 6, 9, 8];
    let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}"));
    cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// A duration as people say it.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 90.0 * 60.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * SECONDS_AN_HOUR => format!("{:.1} h", s / SECONDS_AN_HOUR),
        s => format!("{:.1} days", s / (24.0 * SECONDS_AN_HOUR)),
    }
}

/// An amount of memory as people say it.
pub(crate) fn memory(bytes: usize) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1000.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}
