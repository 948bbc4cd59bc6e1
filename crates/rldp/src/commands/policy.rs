//! `rldp policy`: learns the set policy on public runs, and explains one.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
};

use anyhow::{Context as _, Result};
use fs_err as fs;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rldp_control::{
    Action, ControllerKind, GlobalObservation, Observation, PairObservation, SacSettings, StateFormat, controller,
};
use rldp_data::{Columns, TextColumns, read_records};
use rldp_privacy::{Observable, Public};
use rldp_train::{
    files,
    settings::{Given, Known, TrainSettings, largest_learning_rate},
};
use serde_json::Value;

use super::{
    print_line,
    train::{stop_flag, train},
};
use crate::{
    cli::{PolicyShowArguments, PolicyTrainArguments},
    exit::Wrong,
    facade,
};

/// Controller whose state is the policy.
const CONTROLLER: &str = "set-scratch";
/// Width of the hidden layers: thirty features need no more, and the policy ships inside the program.
const HIDDEN: i64 = 24;
/// Significant digits of a saved policy.
const DIGITS: usize = 4;

/// Expected records of a step, where the files have three times as many.
const LARGEST_BATCH: f64 = 128.0;
/// Of every run, whatever its rank: so the rates around which runs begin are alike.
const LORA_ALPHA: f64 = 16.0;

/// Learns over many short runs on public records, each with its own budget, rates and rank; every run goes on from the
/// policy of the one before.
pub(crate) fn learn(arguments: &PolicyTrainArguments) -> Result<ExitCode> {
    if arguments.train.len() != arguments.eval.len() {
        let (train, eval) = (arguments.train.len(), arguments.eval.len());
        anyhow::bail!(Wrong::usage(anyhow::anyhow!(
            "--train is given {train} times and --eval {eval} times; give one evaluation file for each training file"
        )));
    }
    let scratch = tempfile::tempdir()?;
    facade::unpack_demo(scratch.path())?;
    let counts = counted(arguments, scratch.path())?;
    let mut rng = ChaCha12Rng::seed_from_u64(arguments.seed);
    let mut policy: Option<std::path::PathBuf> = None;
    for run in 1..=arguments.runs {
        let out = scratch.path().join(format!("run-{run}"));
        let settings = episode(scratch.path(), arguments, &counts, &out, policy.as_deref(), &mut rng)?;
        let outcome = train(&settings, "policy", true)?;
        if stop_flag()?.load(Ordering::Relaxed) {
            anyhow::bail!(Wrong::input(stopped(run - 1, arguments)));
        }
        print_line(&format!(
            "run {run}: {} on {}, epsilon {:.2}, {} steps of {}, learning rate {}, clip norm {:.3}, rank {}: perplexity {:.3}",
            name(&settings.model.model),
            name(settings.data.train.first()),
            settings.privacy.epsilon,
            settings.privacy.steps,
            settings.privacy.batch_size,
            settings.optimizer.learning_rate.map_or("the rule's".into(), |rate| format!("{rate:.4}")),
            settings.privacy.clip_norm,
            settings.model.rank,
            outcome.evaluation.map_or(f64::NAN, |evaluation| evaluation.perplexity)
        ))?;
        let learned = out.join(files::POLICY);
        save(&learned, &arguments.out)?;
        if let Some(old) = policy.replace(learned) {
            fs::remove_dir_all(old.parent().unwrap_or(&old))?;
        }
    }
    policy.context("--runs must be at least 1").map_err(Wrong::usage)?;
    print_line(&format!("{}", arguments.out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// How many records each training file has; of the demo's notes where none is given.
fn counted(arguments: &PolicyTrainArguments, demo: &Path) -> Result<Vec<usize>> {
    let notes = [demo.join("train.csv")];
    let files = if arguments.train.is_empty() { &notes[..] } else { &arguments.train };
    let columns = Columns { text: TextColumns::Usual, unit: None, delimiter: None };
    files.iter().map(|file| Ok(read_records(file, &columns).map_err(Wrong::input)?.len())).collect()
}

/// Writes what was learned so far, so that nothing is lost when no more follows.
fn save(learned: &Path, out: &Path) -> Result<()> {
    let text = fs::read_to_string(learned.join("policy.json"))?;
    fs::write(out, serde_json::to_string(&stripped(serde_json::from_str(&text)?))?)?;
    Ok(())
}

fn stopped(runs: u32, arguments: &PolicyTrainArguments) -> anyhow::Error {
    let kept = match runs {
        0 => "nothing was written".into(),
        _ => format!("{} has what they taught", arguments.out.display()),
    };
    anyhow::anyhow!("stopped after {runs} of {} runs; {kept}", arguments.runs)
}

/// One public run: the evaluation file is a public probe, and the noise is reproducible because nothing is private.
fn episode(
    folder: &Path,
    arguments: &PolicyTrainArguments,
    counts: &[usize],
    out: &Path,
    policy: Option<&Path>,
    rng: &mut ChaCha12Rng,
) -> Result<TrainSettings> {
    let (model, records) = (drawn(arguments.model.len(), rng), drawn(arguments.train.len(), rng));
    // Evenly by logarithm.
    let spread = |low: f64, high: f64, rng: &mut ChaCha12Rng| rng.random_range(low.ln()..high.ln()).exp();
    let (epsilon, off, clip_norm) = (spread(0.5, 8.0, rng), spread(0.25, 4.0, rng), spread(0.03, 0.3, rng));
    let clipping = if rng.random_bool(0.75) { "joint" } else { "pair-wise" };
    let rank = if rng.random_bool(0.5) { 4 } else { 8 };
    let most = (counts[records] as f64 / 3.0).clamp(2.0, LARGEST_BATCH);
    let (steps, batch_size) = (spread(20.0, 100.0, rng).round(), spread((most / 4.0).max(1.0), most, rng).round());
    // Half of the runs begin where `rldp train` does when nobody gives a rate.
    let rate = rng.random_bool(0.5).then(|| off * largest_learning_rate(steps as u64, LORA_ALPHA));
    let seed = i64::from(rng.random::<u32>());
    let path = |given: &[PathBuf], at: usize, name: &str| {
        given.get(at).cloned().unwrap_or_else(|| folder.join(name)).display().to_string()
    };
    let mut given = Given::default();
    given.set("model", Some(path(&arguments.model, model, "model")));
    given.set("train", Some(path(&arguments.train, records, "train.csv")));
    given.set("eval", Some(path(&arguments.eval, records, "eval.csv")));
    given.set("out", Some(out.display().to_string()));
    given.set("epsilon", Some(epsilon));
    given.set("delta", Some(1e-5));
    given.set("steps", Some(steps as i64));
    given.set("batch_size", Some(batch_size));
    given.set("max_length", Some(64));
    given.set("learning_rate", rate);
    given.set("clip_norm", Some(clip_norm));
    given.set("rank", Some(rank));
    given.set("lora_alpha", Some(LORA_ALPHA));
    given.set("seed", Some(seed));
    given.set("unsafe_noise_seed", Some(seed));
    given.set("controller", Some(CONTROLLER));
    given.set("policy", policy.map(|path| path.display().to_string()));
    given.set("public_probe", Some(true));
    given.set("clipping", Some(clipping));
    given.set("interval", Some(4));
    given.set("eval_every", Some(4));
    given.set("checkpoint_every", Some(1000));
    given.set_in("sac", "hidden_size", Some(HIDDEN));
    given.set_in("sac", "batch_size", Some(64));
    given.set_in("sac", "updates_per_interval", Some(8));
    Ok(given.resolve(&Known::default())?)
}

/// One of `count`; nothing is drawn where there is nothing to choose, so that what one model and one file gave stays what it was.
fn drawn(count: usize, rng: &mut ChaCha12Rng) -> usize {
    if count > 1 { rng.random_range(0..count) } else { 0 }
}

/// Last part of a path.
fn name(path: &Path) -> std::path::Display<'_> {
    path.file_name().map_or(path, Path::new).display()
}

/// A policy without memory of the runs it was learned on, its numbers rounded.
fn stripped(mut policy: Value) -> Value {
    let body = &mut policy["body"];
    body["pending"] = Value::Null;
    for learner in ["pairs", "run"] {
        body[learner]["replay"]["transitions"] = Value::Array(Vec::new());
        body[learner]["replay"]["next"] = 0.into();
        body[learner]["last_update"] = Value::Null;
        // What it had earned in its last run; whoever starts from a policy follows it.
        body[learner].as_object_mut().map(|parts| parts.remove("trust"));
    }
    // Its records were declared public by whoever ran the command.
    policy["source"] = serde_json::json!({ "public": true });
    round(&mut policy);
    policy
}

fn round(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let short =
                number.as_f64().map(|x| format!("{x:.*e}", DIGITS - 1)).and_then(|text| text.parse::<f64>().ok());
            if let Some(short) = short {
                *value = short.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        _ => {}
    }
}

/// Prints what the policy would do: its mean moves when one feature is low, middling or high and all others are middling.
pub(crate) fn show(arguments: &PolicyShowArguments) -> Result<ExitCode> {
    let kind = if arguments.policy.is_some() { ControllerKind::SetScratch } else { ControllerKind::Set };
    let mut shown = controller(kind, 2, 1, &SacSettings::default(), 0)?;
    if let Some(path) = &arguments.policy {
        let run = path.join(files::POLICY);
        let folder = if run.is_dir() { &run } else { path };
        let path = if path.is_dir() { folder.join("policy.json") } else { path.clone() };
        let text = fs::read(&path).map_err(Wrong::input)?;
        shown
            .restore(StateFormat::Json, &text)
            .with_context(|| format!("{} is no policy that can be shown", path.display()))
            .map_err(Wrong::input)?;
    }
    shown.freeze()?;
    print_line(
        "Moves in one decision, in percent of a logarithm: of the first of two pairs' threshold, share and step size; of the noise",
    )?;
    print_line(
        "multiplier (where the regime lets it move), learning rate, momentum and averaging horizons; and of the inclination to",
    )?;
    print_line("stop. Two numbers each: for the feature at -1 and at +1, others 0.")?;
    let heads: String = MOVES.iter().map(|(name, _)| format!(" {name:>15}")).collect();
    print_line(&format!("{:<24}{heads}", "feature"))?;
    for (name, place) in FEATURES {
        let moves: Vec<Action> =
            [-1.0, 1.0].into_iter().map(|level| shown.act(&observation(place, level), None, false)).collect();
        let cell = |read: fn(&Action) -> f64| {
            let pair = moves.iter().map(|action| format!("{:>7.2}", 100.0 * read(action)));
            format!("  {}", pair.collect::<String>())
        };
        let cells: String = MOVES.iter().map(|(_, read)| cell(*read)).collect();
        print_line(&format!("{name:<24}{cells}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Name of a move, and how it is read.
type Move = (&'static str, fn(&Action) -> f64);

/// What a policy moves.
const MOVES: [Move; 8] = [
    ("clip norm", |action| action.clip_log_delta[0]),
    ("share", |action| action.share_log_delta[0]),
    ("step size", |action| action.step_log_delta[0]),
    ("noise", |action| action.noise_log_delta),
    ("learning rate", |action| action.learning_rate_log_gain),
    ("momentum", |action| action.momentum_log_delta),
    ("averaging", |action| action.averaging_log_delta),
    ("stop", |action| action.stop_delta),
];

/// A field of the observation.
#[derive(Clone, Copy)]
enum Place {
    Global(fn(&mut GlobalObservation, Observable)),
    Pair(fn(&mut PairObservation, Observable)),
}

const FEATURES: [(&str, Place); 20] = [
    ("step_fraction", Place::Global(|global, value| global.step_fraction = value)),
    ("budget_fraction", Place::Global(|global, value| global.budget_fraction = value)),
    ("snr, mean", Place::Global(|global, value| global.snr = value)),
    ("persistence", Place::Global(|global, value| global.persistence = value)),
    ("evidence", Place::Global(|global, value| global.evidence = value)),
    ("loss", Place::Global(|global, value| global.loss = value)),
    ("loss_change", Place::Global(|global, value| global.loss_change = value)),
    ("log_noise_multiplier", Place::Global(|global, value| global.log_noise_multiplier = value)),
    ("log_learning_rate_gain", Place::Global(|global, value| global.log_learning_rate_gain = value)),
    ("log_momentum", Place::Global(|global, value| global.log_momentum = value)),
    ("log_averaging", Place::Global(|global, value| global.log_averaging = value)),
    ("last_reward", Place::Global(|global, value| global.last_reward = value)),
    ("pair: snr", Place::Pair(|pair, value| pair.snr = value)),
    ("pair: momentum_cosine", Place::Pair(|pair, value| pair.momentum_cosine = value)),
    ("pair: previous_cosine", Place::Pair(|pair, value| pair.previous_cosine = value)),
    ("pair: drift", Place::Pair(|pair, value| pair.drift = value)),
    ("pair: clip_fraction", Place::Pair(|pair, value| pair.clip_fraction = value)),
    ("pair: log_clip_norm", Place::Pair(|pair, value| pair.log_clip_norm = value)),
    ("pair: log_share", Place::Pair(|pair, value| pair.log_share = value)),
    ("pair: log_step_gain", Place::Pair(|pair, value| pair.log_step_gain = value)),
];

/// Two pairs in the middle of a run, with one feature of the run or of the first pair at `level`.
fn observation(place: Place, level: f64) -> Observation {
    let [zero, half]: [Observable; 2] = [0.0, 0.5].map(|value| Public::declare(value).into());
    let mut observed = Observation::filled(2, || zero);
    observed.global.step_fraction = half;
    observed.global.budget_fraction = half;
    observed.pairs.iter_mut().for_each(|pair| pair.clip_fraction = half);
    let value = Public::declare(level).into();
    match place {
        Place::Global(set) => set(&mut observed.global, value),
        Place::Pair(set) => set(&mut observed.pairs[0], value),
    }
    observed
}
