//! `rldp train`: the main job.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use fs_err as fs;
use rldp_lab::{Quality, RunFolder, export::LiveEvents};
use rldp_model::{
    Engine, ModelConfig, ModelFiles, ModelSource,
    cpu::{CpuOptions, MemoryLimit, Precision},
};
use rldp_train::{
    Forecast, Inputs, Outcome, Records, Trainer, files, is_finished, load_records,
    recommend::PlanRow,
    resume,
    settings::{
        EngineKind, Given, ModelSettings, OptimizerKind, OutputSettings, PrecisionKind, TrainSettings,
        largest_learning_rate,
    },
    start,
};

use super::{
    plan, print_line, ranks, report,
    resumed::{self, run_to_resume},
};
use crate::{
    base,
    cli::TrainArguments,
    device,
    exit::Wrong,
    facade, host, models,
    origin::Origin,
    progress::{Terminal, Watching, note},
};

pub(crate) fn run(arguments: &TrainArguments) -> Result<ExitCode> {
    let mut group = ranks::group(&arguments.ranks.wait)?;
    let job = ranks::share(group.as_mut(), || Job::new(arguments))?;
    let settings = &job.settings;
    if arguments.show_settings {
        if !group.leads() {
            return Ok(ExitCode::SUCCESS);
        }
        print_line(toml::to_string_pretty(&settings)?.trim_end())?;
        if settings.model.engine == EngineKind::Cpu && !on_card(settings) {
            print_line(&format!("# products with the base model: {}", cpu_options(settings)?.precision.description()))?;
        }
        print_line(&format!("# ranks: {}, {}", group.size(), group.describe()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if job.finished {
        if group.leads() {
            resumed::tell_finished(&settings.output.out)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = arguments.tensorboard.as_ref().filter(|_| group.leads()) {
        fs::create_dir_all(folder).map_err(Wrong::input)?;
    }
    let outcome = if group.size() == 1 {
        let inputs = job.inputs(&mut |warning| note("warning", warning))?;
        finish(job.begin(inputs)?, &job.settings, Watch::of(arguments))?
    } else {
        let outcome = ranks::train(group, &job, &arguments.ranks, Watch::of(arguments))?;
        let Some(outcome) = outcome else { return Ok(ExitCode::SUCCESS) };
        outcome
    };
    let out = settings.output.out.display();
    report::write_for(std::slice::from_ref(&settings.output.out), &settings.output.out.join(files::REPORT))?;
    if host::current().is_none() {
        tell_quality(&settings.output.out, "train", arguments.quiet)?;
    }
    if !outcome.finished && host::current().is_none() {
        note("stopped", &format!("after {} steps; continue with `rldp train --resume {out}`", outcome.steps));
    }
    print_line(&format!("{out}"))?;
    Ok(ExitCode::SUCCESS)
}

/// One run from resolved settings to a finished folder; the report is the caller's.
pub(crate) fn train(settings: &TrainSettings, label: &str, quiet: bool) -> Result<Outcome> {
    let inputs = load(settings, &mut |warning| note("warning", warning))?;
    finish(start(settings.clone(), inputs)?, settings, Watch { label, quiet, tensorboard: None })
}

/// Who watches a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch<'a> {
    label: &'a str,
    pub(super) quiet: bool,
    tensorboard: Option<&'a Path>,
}

impl<'a> Watch<'a> {
    fn of(arguments: &'a TrainArguments) -> Self {
        Self { label: "train", quiet: arguments.quiet, tensorboard: arguments.tensorboard.as_deref() }
    }
}

/// What a command is to do: a new run, or one that goes on.
pub(super) struct Job {
    /// As the run's folder has them.
    pub(super) settings: TrainSettings,
    /// The same with files as seen from here.
    pub(super) located: TrainSettings,
    pub(super) resumed: bool,
    /// It has taken all its steps, and nobody asks for other settings.
    pub(super) finished: bool,
}

impl Job {
    fn new(arguments: &TrainArguments) -> Result<Self> {
        let settings = resolve(arguments)?;
        let Some(folder) = run_to_resume(arguments)? else {
            return Ok(Self { located: settings.clone(), settings, resumed: false, finished: false });
        };
        let finished = is_finished(&settings)?;
        let config = arguments.config.as_deref().map(facade::given_from_file).transpose()?.unwrap_or_default();
        let given = |key: &str| arguments.settings.0.has(key) || config.has(key);
        let located = Origin::of(&folder).locate(&settings, given)?;
        let ModelSettings { adapter, after, .. } = located.model.clone();
        let model = ModelSettings { adapter, after, ..settings.model.clone() };
        let output = OutputSettings { book: located.output.book.clone(), ..settings.output.clone() };
        Ok(Self { settings: TrainSettings { model, output, ..settings }, located, resumed: true, finished })
    }

    /// Opens the model and reads the records.
    pub(super) fn inputs(&self, warn: &mut dyn FnMut(&str)) -> Result<Inputs> {
        Ok(Inputs { base_name: base_name(&self.settings), ..load(&self.located, warn)? })
    }

    /// The run before its next step.
    pub(super) fn begin(&self, inputs: Inputs) -> Result<Trainer> {
        let settings = self.settings.clone();
        Ok(if self.resumed { resume(settings, inputs)? } else { start(settings, inputs)? })
    }
}

/// Runs to the end, and tells how it goes.
pub(super) fn finish(mut trainer: Trainer, settings: &TrainSettings, watch: Watch) -> Result<Outcome> {
    let Watch { label, quiet, tensorboard } = watch;
    let folder = &settings.output.out;
    let events = tensorboard.map(|events| LiveEvents::begin(folder, events)).transpose().map_err(Wrong::input)?;
    if !quiet {
        note("claim", &trainer.statement());
        if quotes_eval(settings) {
            note(
                "public",
                "--eval is declared public: the first words of its first two records stand in metrics and report",
            );
        }
        let forecast = trainer.forecast()?;
        if forecast.steps_left == 0 {
            note("finished", resumed::NOTHING_LEFT);
        } else {
            tell_plan(&forecast, settings);
        }
    }
    let terminal = Terminal::new(label, settings.privacy.steps, quiet, stop_flag()?);
    let mut watching = Watching::new(terminal, events);
    let outcome = trainer.run(&mut watching)?;
    watching.finish();
    for warning in &outcome.warnings {
        note("WARNING", warning);
    }
    Ok(outcome)
}

/// Whether texts before and after begin with words of --eval: of records that are known to be apart from the private ones.
fn quotes_eval(settings: &TrainSettings) -> bool {
    settings.data.eval.is_some() && !settings.data.allow_shared_eval && settings.unsafe_reasons().is_empty()
}

/// Better or worse than the base, on the evaluation records: loudly when it is worse.
pub(crate) fn tell_quality(run: &Path, label: &str, quiet: bool) -> Result<()> {
    let run = RunFolder::open(run).map_err(Wrong::input)?;
    match Quality::of(&run) {
        Some(found) if found.is_worse() => note("WARNING", &format!("{}: {}", found.heading(), found.words())),
        Some(found) if !quiet => note(label, &format!("{}: {}", found.heading(), found.words())),
        _ => {}
    }
    Ok(())
}

/// One line on what is about to be spent. Its duration depends on the records' lengths, so it goes to no file.
fn tell_plan(forecast: &Forecast, settings: &TrainSettings) {
    let PlanRow { batch_size, sampling_rate, noise_bands, noise_multiplier, .. } = forecast.plan;
    let memory = forecast.memory.map_or_else(String::new, |bytes| format!(", {} of memory", plan::memory(bytes)));
    note(
        "plan",
        &format!(
            "{} steps of {batch_size:.0} expected units, q {sampling_rate:.4}, z {noise_multiplier:.3}, {noise_bands} noise bands: about \
             {}{memory}",
            forecast.steps_left,
            plan::duration(forecast.seconds)
        ),
    );
    if let Some(warning) = forecast.plan.warning(settings.privacy.regime) {
        note("WARNING", &warning);
    }
    if let Some(warning) = rate_warning(settings, forecast.plan.steps) {
        note("WARNING", &warning);
    }
}

/// Above this many times the rule's largest rate, AdamW leaves what the base has learned behind.
const FAR_ABOVE: f64 = 20.0;

/// What is to be said of a learning rate that no run can use.
fn rate_warning(settings: &TrainSettings, steps: u64) -> Option<String> {
    let usual = largest_learning_rate(steps, settings.model.scaled_alpha());
    let rate = settings.optimizer.learning_rate.filter(|rate| *rate > FAR_ABOVE * usual)?;
    (settings.optimizer.optimizer != OptimizerKind::Sgd).then(|| {
        format!(
            "--learning-rate {rate} is {:.0} times the {usual:.4} that the rule takes at most for {steps} steps; the adapter is likely to \
             end worse than the base. Leave --learning-rate out to take the rule's",
            rate / usual
        )
    })
}

/// Opens the model and reads the records; `warn` is told what somebody should know before anything is spent.
pub(crate) fn load(settings: &TrainSettings, warn: &mut dyn FnMut(&str)) -> Result<Inputs> {
    let base_name = base_name(settings);
    let (files, tokenizer) = models::open(&settings.model.model)?;
    let records = load_records(settings, &tokenizer, &files.config)?;
    for warning in warnings(settings, &records) {
        warn(&warning);
    }
    let engine = engine_for(settings, &files)?;
    let base_digests = base::local_digests(&settings.model.model)?.unwrap_or_default();
    let Records { units, secrets, eval, public, .. } = records;
    let eval = eval.map(|eval| eval.read_by(tokenizer));
    Ok(Inputs { engine, controller: None, units, secrets, eval, public, base_name, base_digests })
}

/// The engine that the settings ask for.
pub(super) fn engine_for(settings: &TrainSettings, files: &ModelFiles) -> Result<Box<dyn Engine>> {
    let options = CpuOptions { memory_limit: memory_limit(settings, &files.config)?, ..cpu_options(settings)? };
    let longest = settings.data.max_length.min(files.config.max_positions);
    models::engine(files, settings.model.engine, settings.model.device, options, Some(longest))
}

fn on_card(settings: &TrainSettings) -> bool {
    device::is_card(Some(&settings.model.device.to_string()))
}

/// How PEFT names the base model.
fn base_name(settings: &TrainSettings) -> String {
    let named = settings.model.model.display().to_string();
    match ModelSource::classify(&settings.model.model) {
        ModelSource::HubId(_) => named.split('@').next().unwrap_or_default().to_owned(),
        _ => named,
    }
}

fn cpu_options(settings: &TrainSettings) -> Result<CpuOptions> {
    let precision = match settings.model.precision {
        PrecisionKind::F32 => Precision::F32,
        PrecisionKind::Bf16 if Precision::Bf16.is_native() || on_card(settings) => Precision::Bf16,
        PrecisionKind::Bf16 => anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "precision is bf16, but this processor multiplies no bf16; use --precision f32"
        ))),
    };
    Ok(CpuOptions { micro_batch_tokens: settings.model.micro_batch_tokens, precision, ..CpuOptions::default() })
}

/// The limit with what the engine needs to know to keep it.
fn memory_limit(settings: &TrainSettings, config: &ModelConfig) -> Result<Option<MemoryLimit>> {
    let Some(size) = settings.model.memory_limit else { return Ok(None) };
    let layout = settings.model.layout(config);
    Ok(Some(MemoryLimit {
        bytes: usize::try_from(size.0).unwrap_or(usize::MAX),
        adapter_parameters: layout.map_err(Wrong::input)?.parameter_count(),
        past_bytes: settings.past_bytes(),
        longest: settings.data.max_length,
    }))
}

/// Says of a delta that it promises nobody anything.
pub(super) fn careless_delta(delta: f64, units: f64) -> Option<String> {
    (delta * units >= 1.0).then(|| {
        format!(
            "delta {delta} is 1/N or more (N = {units} units): it allows publishing a unit outright; use far less, such as {:.0e}",
            0.1 / units
        )
    })
}

/// What the person at the terminal should know before anything is spent. Some of it is a function of the private records,
/// so it goes to standard error and into no file of the run.
fn warnings(settings: &TrainSettings, records: &Records) -> Vec<String> {
    let (units, delta) = (records.units.len(), settings.privacy.delta);
    let mut warnings = records.warnings.clone();
    if settings.data.train.has_standard_input() {
        warnings.push(
            "records come from standard input and are kept in memory only, never on disk; to resume this run, pipe the same \
             records into `rldp train --resume RUN`"
                .to_owned(),
        );
    }
    warnings.extend(careless_delta(delta, units as f64));
    let control = &settings.control;
    let listens = control.controller.needs_statistics() || (control.controller.learns() && !control.public_probe);
    if settings.data.units.is_some() && listens {
        warnings.push(format!(
            "with --units the paid loss and clip fractions are over all declared units, of which absent ones count as half clipped and of \
             middling loss; --controller {} works best where few are absent",
            control.controller
        ));
    }
    if records.units.duplicates() > 0 {
        warnings.push(
            "some records stand in more than one unit; the guarantee covers one unit at a time, and says less about text that \
             several units share"
                .to_owned(),
        );
    }
    warnings.extend(records.cuts.words("records"));
    if let (Some(adapter), None) = (&settings.model.adapter, &settings.model.after) {
        warnings.push(format!(
            "the claim covers what this run learns; what the adapter in {} has learned before is covered by its own training's claim, and \
             for people who are in both the losses add up",
            adapter.display()
        ));
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
    let resumed = run_to_resume(arguments)?;
    let mut given = Given::default();
    if let Some(folder) = &resumed {
        given = facade::given_from_file(&folder.join(files::CONFIG))?;
    }
    if let Some(path) = &arguments.config {
        given.overlay(facade::given_from_file(path)?);
    }
    given.overlay(arguments.settings.0.clone());
    if let Some(folder) = &resumed {
        given.set("out", Some(folder.display().to_string()));
    }
    // The model of a run is where the run was started.
    let resumed = resumed.filter(|_| !arguments.settings.0.has("model"));
    let model = match (resumed, given.text("model")) {
        (Some(folder), Some(model)) => Origin::of(&folder).model(model.as_ref()).ok(),
        (_, model) => model.map(PathBuf::from),
    };
    facade::resolve_with(given, model.as_deref())
}

/// Set by the first SIGINT or SIGTERM: the step in progress is finished and saved.
/// A program that called keeps its own handlers, and is asked instead.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>> {
    if host::current().is_some() {
        return Ok(Arc::default());
    }
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(flag) = FLAG.get() {
        return Ok(Arc::clone(flag));
    }
    let flag = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&flag);
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))?;
    Ok(Arc::clone(FLAG.get_or_init(|| flag)))
}
