//! What a program that uses the library needs for a whole run, in as few lines as the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fs_err as fs;
use rldp_data::demo;
use rldp_model::{ModelConfig, peft};
use rldp_privacy::Verification;
use rldp_train::{
    Outcome, Progress, count_units, files,
    settings::{Given, Known, TrainSettings},
    start,
};

use crate::{commands, device, exit::Wrong, hub::datasets, models};

/// Seeds of the two public note generators; different patients.
const TRAIN_SEED: u64 = 1;
const EVAL_SEED: u64 = 2;
const TRAIN_PATIENTS: usize = 3_000;
const EVAL_PATIENTS: usize = 60;

/// The embedded model and generated notes of invented patients, as files.
#[derive(Clone, Debug)]
pub struct Demo {
    /// Model directory.
    pub model: PathBuf,
    /// Notes to train on, with columns `text` and `patient`.
    pub train: PathBuf,
    /// Notes of other patients.
    pub eval: PathBuf,
}

/// Writes the embedded model and freshly generated notes into `folder`, so that every command can use them.
///
/// # Errors
/// When a file cannot be written.
pub fn unpack_demo(folder: &Path) -> Result<Demo> {
    let demo = Demo { model: folder.join("model"), train: folder.join("train.csv"), eval: folder.join("eval.csv") };
    fs::create_dir_all(&demo.model)?;
    fs::write(demo.model.join("config.json"), demo::MODEL_CONFIG)?;
    fs::write(demo.model.join("tokenizer.json"), demo::TOKENIZER)?;
    fs::write(demo.model.join("model.safetensors"), demo::WEIGHTS)?;
    demo::write_notes(&demo.train, TRAIN_SEED, TRAIN_PATIENTS)?;
    // Invented notes may come out alike; evaluation records must be none of the private ones.
    let private = demo::notes(TRAIN_SEED, TRAIN_PATIENTS);
    demo::write_notes_apart(&demo.eval, demo::notes(EVAL_SEED, EVAL_PATIENTS), &private)?;
    Ok(demo)
}

impl Demo {
    /// Settings that name the demo's files and its unit, the patient.
    pub fn given(&self) -> Given {
        let text = |path: &Path| path.display().to_string();
        Given::default()
            .with("model", text(&self.model))
            .with("train", text(&self.train))
            .with("eval", text(&self.eval))
            .with("unit_column", "patient")
    }
}

/// Fills what was not given, from the model, the number of units and the processor where it follows from them.
///
/// # Errors
/// When something that has no default is missing, out of bounds or not understood, or a file that decides a default cannot be read.
pub fn resolve(given: Given) -> Result<TrainSettings> {
    let model = given.text("model").map(PathBuf::from);
    resolve_with(given, model.as_deref())
}

/// [`resolve`] with the model where it is reached from here.
pub(crate) fn resolve_with(given: Given, model: Option<&Path>) -> Result<TrainSettings> {
    // A model that cannot be opened is refused where it is used, with the reason.
    let config = model.and_then(|model| models::files(model).ok()).map(|files| files.config);
    let given = located(given, config.as_ref())?;
    let units = match given.number("units") {
        Some(units) if !given.has("train") => Some(units),
        _ if given.needs_units() && given.has("train") => Some(count_units(&given.data()?)?),
        units => units,
    };
    let card = device::is_card(given.text("device").as_deref());
    Ok(given.resolve(&Known { model: config.as_ref(), units, card })?)
}

/// With what an adapter to start from says of its shape, and files in the place of data sets' names.
///
/// # Errors
/// When the adapter cannot be read, or a data set cannot be had.
pub(crate) fn located(given: Given, config: Option<&ModelConfig>) -> Result<Given> {
    datasets::fetched(with_adapter(given, config)?)
}

/// What an adapter to start from says of itself.
const SHAPE: [&str; 3] = ["rank", "lora_alpha", "target_modules"];

/// An adapter to start from says its rank, alpha and modules; what was given beside is checked where the run starts.
fn with_adapter(mut given: Given, config: Option<&ModelConfig>) -> Result<Given> {
    let of_run = |run: String| Path::new(&run).join(files::ADAPTER);
    let folder = given.text("adapter").map(PathBuf::from).or_else(|| given.text("after").map(of_run));
    let (Some(folder), Some(config)) = (folder, config) else { return Ok(given) };
    if SHAPE.iter().all(|key| given.has(key)) {
        return Ok(given);
    }
    let adapter = peft::load(&folder, config).map_err(Wrong::input)?;
    let layout = adapter.layout();
    let modules: Vec<toml::Value> = layout.target_modules().iter().map(|name| name.clone().into()).collect();
    let own: [toml::Value; 3] = [(layout.rank() as i64).into(), layout.lora_alpha().into(), modules.into()];
    for (key, value) in SHAPE.into_iter().zip(own) {
        if !given.has(key) {
            given.set(key, Some(value));
        }
    }
    Ok(given)
}

/// Makes a private run into the settings' folder, from its first step to its last.
///
/// # Errors
/// When the model or the records cannot be used, the folder already holds a run, or the budget refuses.
pub fn fine_tune(settings: &TrainSettings, progress: &mut dyn Progress) -> Result<Outcome> {
    let inputs = commands::load(settings, &mut |_| ())?;
    Ok(start(settings.clone(), inputs)?.run(progress)?)
}

/// Replays a run's ledger and says whether its claim holds.
///
/// # Errors
/// When the run's files cannot be read.
pub fn verify(run: &Path) -> Result<Verification> {
    commands::verify_run(run, None)
}

/// Reads a settings file. Relative paths in it are taken from the current folder, as on the command line.
pub(crate) fn given_from_file(path: &Path) -> Result<Given> {
    let text = fs::read_to_string(path).map_err(Wrong::input)?;
    let table = text.parse().with_context(|| format!("{} is not valid TOML", path.display())).map_err(Wrong::usage)?;
    Ok(Given::from_table(table, &path.display().to_string())?)
}
