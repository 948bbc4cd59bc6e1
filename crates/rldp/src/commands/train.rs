//! `rldp train`: the main job.

use std::{
    path::Path,
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use rldp_data::is_standard_input;
use rldp_model::{
    AdapterLayout, LoraSettings, ModelConfig, ModelSource,
    cpu::{CpuOptions, MemoryLimit, Precision},
};
use rldp_train::{
    Inputs, Outcome, Records, files, load_records, resume,
    settings::{EngineKind, ModelSettings, PrecisionKind, TrainSettings},
    start,
};

use super::{print_line, report};
use crate::{
    cli::{EngineChoice, TrainArguments},
    defaults,
    exit::Wrong,
    models,
    progress::{Terminal, note},
    settings::Given,
};

pub(crate) fn run(arguments: &TrainArguments) -> Result<ExitCode> {
    let settings = resolve(arguments)?;
    if arguments.show_settings {
        print_line(toml::to_string_pretty(&settings)?.trim_end())?;
        if settings.model.engine == EngineKind::Cpu {
            print_line(&format!(
                "# products with the base model: {}",
                cpu_options(&settings)?.precision.description()
            ))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = train(&settings, arguments.resume.is_some(), "train", arguments.quiet)?;
    let out = settings.output.out.display();
    report::write_for(std::slice::from_ref(&settings.output.out), &settings.output.out.join(files::REPORT))?;
    if !outcome.finished {
        note("stopped", &format!("after {} steps; continue with `rldp train --resume {out}`", outcome.steps));
    }
    print_line(&format!("{out}"))?;
    Ok(ExitCode::SUCCESS)
}

/// One run from resolved settings to a finished folder; the report is the caller's.
pub(crate) fn train(settings: &TrainSettings, resumed: bool, label: &str, quiet: bool) -> Result<Outcome> {
    let inputs = load(settings)?;
    let mut trainer = if resumed { resume(settings.clone(), inputs)? } else { start(settings.clone(), inputs)? };
    if !quiet {
        note("claim", &trainer.statement());
    }
    let mut terminal = Terminal::new(label, settings.privacy.steps, quiet, stop_flag()?);
    let outcome = trainer.run(&mut terminal)?;
    terminal.finish();
    for warning in &outcome.warnings {
        note("WARNING", warning);
    }
    Ok(outcome)
}

fn load(settings: &TrainSettings) -> Result<Inputs> {
    let files_on_hub = matches!(ModelSource::classify(&settings.model.model), ModelSource::HubId(_));
    let files = models::files(&settings.model.model)?;
    let tokenizer = models::tokenizer(&files)?;
    let records = load_records(settings, &tokenizer, &files.config)?;
    for warning in warnings(settings, &records) {
        note("warning", &warning);
    }
    let choice = EngineChoice::from(settings.model.engine);
    let options = CpuOptions { memory_limit: memory_limit(settings, &files.config)?, ..cpu_options(settings)? };
    let engine = models::engine(&files, choice, options)?;
    let named = settings.model.model.display().to_string();
    let base_name = if files_on_hub { named.split('@').next().unwrap_or_default().to_owned() } else { named };
    Ok(Inputs { engine, units: records.units, secrets: records.secrets, eval: records.eval, base_name })
}

fn cpu_options(settings: &TrainSettings) -> Result<CpuOptions> {
    let precision = match settings.model.precision {
        PrecisionKind::F32 => Precision::F32,
        PrecisionKind::Bf16 if Precision::best() == Precision::Bf16 => Precision::Bf16,
        PrecisionKind::Bf16 => anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "precision is bf16, but this processor has no fast bf16 product; use --precision f32"
        ))),
    };
    Ok(CpuOptions { micro_batch_tokens: settings.model.micro_batch_tokens, precision, ..CpuOptions::default() })
}

/// The limit with what the engine needs to know to keep it.
fn memory_limit(settings: &TrainSettings, config: &ModelConfig) -> Result<Option<MemoryLimit>> {
    let Some(size) = settings.model.memory_limit else { return Ok(None) };
    let ModelSettings { rank, lora_alpha, target_modules, .. } = settings.model.clone();
    let layout = AdapterLayout::for_model(config, &LoraSettings { rank, lora_alpha, target_modules });
    Ok(Some(MemoryLimit {
        bytes: usize::try_from(size.0).unwrap_or(usize::MAX),
        adapter_parameters: layout.map_err(Wrong::input)?.parameter_count(),
        past_bytes: settings.past_bytes(),
        longest: settings.data.max_length,
    }))
}

/// What the person at the terminal should know before anything is spent. Some of it is a function of the private records,
/// so it goes to standard error and into no file of the run.
fn warnings(settings: &TrainSettings, records: &Records) -> Vec<String> {
    let (units, delta) = (records.units.len(), settings.privacy.delta);
    let mut warnings = Vec::new();
    if is_standard_input(&settings.data.train) {
        warnings.push(
            "records come from standard input and are kept in memory only, never on disk; to resume this run, pipe the same \
             records into `rldp train --resume RUN`"
                .to_owned(),
        );
    }
    if delta * units as f64 >= 1.0 {
        warnings.push(format!(
            "delta {delta} is 1/N or more (N = {units} units): it allows publishing a unit outright; use far less, such as {:.0e}",
            0.1 / units as f64
        ));
    }
    if records.units.duplicates() > 0 {
        warnings.push(
            "some records stand in more than one unit; the guarantee covers one unit at a time, and says less about text that \
             several units share"
                .to_owned(),
        );
    }
    if settings.privacy.unsafe_noise_seed.is_some() {
        warnings.push(
            "--unsafe-noise-seed: NO PRIVACY GUARANTEE; whoever knows the seed can subtract the noise".to_owned(),
        );
    }
    if settings.privacy.unsafe_non_private {
        warnings
            .push("--unsafe-non-private: NO PRIVACY GUARANTEE; nothing is clipped and no noise is added".to_owned());
    }
    if settings.control.unsafe_raw_observations {
        warnings.push(
            "--unsafe-raw-observations: NO PRIVACY GUARANTEE; the policy, its moves and the adapter depend on records beyond \
             what noise covers"
                .to_owned(),
        );
    }
    warnings
}

/// Defaults < settings file (or the run's own, when resuming) < flags.
fn resolve(arguments: &TrainArguments) -> Result<TrainSettings> {
    let mut given = Given::default();
    if let Some(folder) = run_to_resume(arguments)? {
        given = Given::from_file(&folder.join(files::CONFIG))?;
        given.set("out", Some(folder.display().to_string()));
    }
    if let Some(path) = &arguments.config {
        given.overlay(Given::from_file(path)?);
    }
    given.overlay(flags(arguments));
    let config = given.text("model").and_then(|model| models::files(Path::new(&model)).ok()).map(|files| files.config);
    given.resolve(defaults::table(config.as_ref()))
}

fn run_to_resume(arguments: &TrainArguments) -> Result<Option<std::path::PathBuf>> {
    let Some(named) = &arguments.resume else { return Ok(None) };
    let folder = if named.as_os_str().is_empty() { arguments.out.as_ref() } else { Some(named) };
    let Some(folder) = folder else {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!("--resume needs the run folder: `rldp train --resume RUN`")));
    };
    if !folder.join(files::CONFIG).exists() {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{} holds no run to resume (no {})",
            folder.display(),
            files::CONFIG
        )));
    }
    Ok(Some(folder.clone()))
}

fn flags(arguments: &TrainArguments) -> Given {
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let whole = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
    let small = |number: Option<u32>| number.map(i64::from);
    let mut given = Given::default();
    given.set("model", path(&arguments.model));
    given.set("train", path(&arguments.train));
    given.set("eval", path(&arguments.eval));
    given.set("out", path(&arguments.out));
    given.set("policy", path(&arguments.policy));
    given.set("epsilon", arguments.epsilon);
    given.set("delta", arguments.delta);
    given.set("steps", whole(arguments.steps));
    given.set("other_steps", whole(arguments.other_steps));
    given.set("noise_bands", whole(arguments.noise_bands));
    given.set("batch_size", arguments.batch_size);
    given.set("regime", arguments.regime.clone());
    given.set("accountant", arguments.accountant.map(|kind| kind.to_string()));
    given.set("clipping", arguments.clipping.clone());
    given.set("scaling", arguments.scaling.clone());
    given.set("geometry", arguments.geometry.clone());
    given.set("clip_norm", arguments.clip_norm);
    given.set("statistics_share", arguments.statistics_share);
    given.set("unsafe_noise_seed", whole(arguments.unsafe_noise_seed));
    given.set("unsafe_non_private", arguments.unsafe_non_private.then_some(true));
    given.set("text_column", arguments.columns.text_column.clone());
    given.set("prompt_column", arguments.columns.prompt_column.clone());
    given.set("completion_column", arguments.columns.completion_column.clone());
    given.set("messages_column", arguments.columns.messages_column.clone());
    given.set("unit_column", arguments.unit_column.clone());
    given.set("max_records_per_unit", small(arguments.max_records_per_unit));
    given.set("max_length", small(arguments.columns.max_length));
    given.set("rank", small(arguments.rank));
    given.set("lora_alpha", arguments.lora_alpha);
    given.set("target_modules", arguments.target_modules.clone());
    given.set("trainable", arguments.trainable.clone());
    given.set("engine", arguments.engine.clone());
    given.set("precision", arguments.precision.clone());
    given.set("micro_batch_tokens", small(arguments.micro_batch_tokens));
    given.set("memory_limit", arguments.memory_limit.map(|size| size.to_string()));
    given.set("optimizer", arguments.optimizer.clone());
    given.set("noise_floor", arguments.noise_floor);
    given.set("learning_rate", arguments.learning_rate);
    given.set("warmup", arguments.warmup);
    given.set("decay", arguments.decay.clone());
    given.set("beta1", arguments.beta1);
    given.set("beta2", arguments.beta2);
    given.set("weight_decay", arguments.weight_decay);
    given.set("controller", arguments.controller.clone());
    given.set("interval", whole(arguments.interval));
    given.set("rate_search", arguments.rate_search);
    given.set("frozen", arguments.frozen_policy.then_some(true));
    given.set("public_probe", arguments.public_probe.then_some(true));
    given.set("unsafe_raw_observations", arguments.unsafe_raw_observations.then_some(true));
    given.set("eval_every", whole(arguments.eval_every));
    given.set("checkpoint_every", whole(arguments.checkpoint_every));
    given.set("seed", whole(arguments.seed));
    arguments.planting.set(&mut given);
    given.set_in("sac", "batch_size", small(arguments.sac_batch_size));
    given.set_in("sac", "updates_per_interval", small(arguments.sac_updates_per_interval));
    given
}

/// Set by the first SIGINT or SIGTERM: the step in progress is finished and saved.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(flag) = FLAG.get() {
        return Ok(Arc::clone(flag));
    }
    let flag = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&flag);
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))?;
    Ok(Arc::clone(FLAG.get_or_init(|| flag)))
}
