//! Starting, resuming and finishing a run.

use std::{path::Path, sync::Arc};

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use rldp_control::{Controller, StateFormat, controller};
use rldp_data::PoissonSampler;
use rldp_model::{Adapter, AdapterLayout, ModelConfig, peft};
use rldp_privacy::{Claim, NoiseSource, Past, Spender, charged_steps, claim_of, is_closed};

use super::{
    Run,
    book_file::{self, PendingEntry},
    checkpoint,
    continued::{declare_start, start_folder},
    manifest::{self, Birth},
    preflight::{check_invariance, preflight},
    promise::{Change, changes},
    provenance::read_policy,
    recorder::{FolderLock, LedgerFile, Recorder, files, last_recorded_step, write_settings},
    state::RunState,
    storage::{Disk, Storage},
    tally::NonFinite,
};
use crate::{
    baselines,
    error::TrainError,
    inputs::Inputs,
    learner::Learner,
    mechanism::{
        Here, LossBound, Mechanism, RawObserver, geometry,
        plan::{Plan, plan, statistic_spec},
    },
    settings::{Initialization, TrainSettings, Trainable},
    steering::{IN_CHECKPOINT, Steering},
    trainer::Trainer,
};

/// Starts a run: calibrates the mechanism, proves that the adapter can learn, writes the run folder, opens the ledger.
///
/// Nothing is charged yet.
///
/// # Errors
/// When a setting does not fit the data or model, or the folder already holds a run.
pub fn start(settings: TrainSettings, inputs: Inputs) -> Result<Trainer, TrainError> {
    start_on(Arc::new(Disk), settings, inputs)
}

/// [`start`] on another file layer.
///
/// # Errors
/// As [`start`].
pub fn start_on(
    storage: Arc<dyn Storage>,
    mut settings: TrainSettings,
    mut inputs: Inputs,
) -> Result<Trainer, TrainError> {
    let adapter = initial_adapter(&settings, &inputs)?;
    preflight(inputs.engine.as_mut(), &adapter, settings.seed)?;
    let plan = plan_for(&settings, &inputs, &adapter, None)?;
    settings.privacy.noise_bands = Some(plan.claim.noise_bands);
    settings.control.rate_adaptation = Some(settings.adapts_rate());
    settings.optimizer.learning_rate.get_or_insert(plan.rate.learning_rate);
    let mut controller = build_controller(&settings, &mut inputs, &adapter)?;
    let mut source = None;
    if let Some(policy) = &settings.control.policy {
        let (text, learned) = read_policy(policy, &settings)?;
        controller.restore(StateFormat::Json, &text)?;
        source = learned;
    }
    let birth = Birth::at(manifest::started(), &plan.claim, &settings.output.out);
    let entry = book_file::admitted(&settings, &plan.claim, &birth, source.as_ref())?;
    let book = entry.as_ref().map(PendingEntry::summary);
    let manifest = manifest::manifest(&settings, &inputs, &adapter, &plan, controller.name(), &birth, book.as_ref());
    let mut recorder = Recorder::create(&settings, &manifest, storage)?;
    inputs.secrets.write(recorder.folder(), &inputs.units)?;
    label(&mut recorder, &settings, &plan.claim)?;
    if let Some(entry) = entry {
        entry.enter()?;
    }
    let (ledger, _) = LedgerFile::open(recorder.folder(), recorder.storage())?;
    let spender = Spender::open(plan.claim.clone(), Box::new(ledger))?;
    assemble(settings, inputs, adapter, plan, spender, recorder, controller)
}

/// Continues the run in `settings.output.out` from its last checkpoint.
///
/// Charges that the checkpoint does not know of, of steps whose result was lost, stay spent: the run goes on after them.
/// Noise and sampling come from fresh keys, so no stream is used twice. A setting that is no part of the promise may have
/// changed: it is recorded in the metrics and in `config.toml`.
///
/// # Errors
/// When the folder holds no run, its ledger does not verify or is behind the checkpoint or the metrics, or the guarantee's
/// settings differ. A refused resume leaves the run as it was.
pub fn resume(settings: TrainSettings, inputs: Inputs) -> Result<Trainer, TrainError> {
    resume_on(Arc::new(Disk), settings, inputs)
}

/// [`resume`] on another file layer.
///
/// # Errors
/// As [`resume`].
pub fn resume_on(
    storage: Arc<dyn Storage>,
    mut settings: TrainSettings,
    mut inputs: Inputs,
) -> Result<Trainer, TrainError> {
    let folder = settings.output.out.clone();
    let lock = FolderLock::take(&folder)?;
    let (begun, changed) = settled(&folder, &mut settings)?;
    book_file::refuse_another(&begun, &settings)?;
    let adapter = initial_adapter(&settings, &inputs)?;
    let promised = claim_of(&fs_err::read_to_string(folder.join(files::LEDGER)).unwrap_or_default());
    let plan = plan_for(&settings, &inputs, &adapter, promised.as_ref())?;
    let mut controller = build_controller(&settings, &mut inputs, &adapter)?;
    let statistics = statistic_spec(&settings, inputs.engine.config().vocab_size);
    let norm_bins = statistics.and_then(|spec| Some(spec.norms?.count()));
    let saved = checkpoint::load(&folder)?;
    if let Some(saved) = &saved {
        saved.check(&adapter, &plan.controls, norm_bins)?;
        let mut empty = baselines::geometry(&settings.privacy, adapter.layout());
        geometry::restore(empty.as_deref_mut(), &saved.mechanism.geometry)?;
        controller.restore(IN_CHECKPOINT, &saved.steering.controller)?;
    } else if let Some(policy) = &settings.control.policy {
        controller.restore(StateFormat::Json, &read_policy(policy, &settings)?.0)?;
    }
    manifest::check_base(&folder, &inputs)?;
    if inputs.secrets.are_fresh() {
        refuse_fresh_coins(&folder, saved.is_some())?;
    }
    inputs.secrets.write(&folder, &inputs.units)?;
    let spender = continue_ledger(&folder, &*storage, &settings, &plan, saved.as_ref())?;
    let known = saved.as_ref().map_or(0, |saved| saved.steps_charged);
    let length = saved.as_ref().map_or(0, |saved| saved.metrics);
    let mut recorder = Recorder::resume(&folder, lock, storage, length)?;
    label(&mut recorder, &settings, &plan.claim)?;
    let lost = spender.steps_charged() - known;
    recorder.metric(&serde_json::json!({"kind": "resume", "step": known, "lost_steps": lost, "changed": changed}))?;
    if !changed.is_empty() {
        recorder.sync()?;
        write_settings(recorder.storage(), &folder, &settings)?;
    }
    let mut trainer = assemble(settings, inputs, adapter, plan, spender, recorder, controller)?;
    if let Some(saved) = saved {
        let proof = trainer.mechanism.spender.taken_over().ok_or_else(|| {
            TrainError::Refused("a checkpoint was found, but its ledger was not taken over; restore the ledger".into())
        })?;
        trainer.restore(saved, proof)?;
        trainer.keep_warm_up()?;
    }
    Ok(trainer)
}

/// Says in the metrics that a run promises nothing, where they do not say so yet.
fn label(recorder: &mut Recorder, settings: &TrainSettings, claim: &Claim) -> Result<(), TrainError> {
    if settings.unsafe_reasons().is_empty() || recorder.holds("label")? {
        return Ok(());
    }
    recorder.metric(&serde_json::json!({"kind": "label", "label": claim.statement()}))
}

/// Coins are drawn where there is no ledger, so that a run which ended before its ledger began gets some. One that went further has lost its
/// ledger, or another process began it meanwhile; its coins stay what they are.
fn refuse_fresh_coins(folder: &Path, saved: bool) -> Result<(), TrainError> {
    let ledger = folder.join(files::LEDGER);
    let begun = std::fs::metadata(&ledger).is_ok_and(|file| file.len() > 0);
    if !begun && !saved && last_recorded_step(folder)? == 0 {
        return Ok(());
    }
    let reason = if begun {
        "another process began the run meanwhile: resume it again"
    } else {
        "the run has begun: restore its own ledger"
    };
    Err(TrainError::Refused(format!(
        "{} was not there when coins were drawn for {}, and {reason}",
        ledger.display(),
        files::PRIVATE
    )))
}

/// The settings that the run in `folder` began with, and what differs now; what `settings` leave open stays as it was.
fn settled(folder: &Path, settings: &mut TrainSettings) -> Result<(TrainSettings, Vec<Change>), TrainError> {
    let mut begun = read_settings(folder)?;
    // Runs from before there was a choice had noise of its own in every step.
    begun.privacy.noise_bands.get_or_insert(1);
    // Nor did their rate follow anything.
    begun.control.rate_adaptation.get_or_insert(false);
    settings.privacy.noise_bands = settings.privacy.noise_bands.or(begun.privacy.noise_bands);
    settings.control.rate_adaptation = settings.control.rate_adaptation.or(Some(goes_on_adapting(&begun, settings)));
    settings.optimizer.learning_rate = settings.optimizer.learning_rate.or(begun.optimizer.learning_rate);
    let changed = changes(&begun, settings)?;
    Ok((begun, changed))
}

/// Whether the run in `settings.output.out` closed, so that nothing is left to do.
///
/// # Errors
/// When it closed, and `settings` differ from those that it had.
pub fn is_finished(settings: &TrainSettings) -> Result<bool, TrainError> {
    let folder = &settings.output.out;
    if !is_closed(&fs_err::read_to_string(folder.join(files::LEDGER)).unwrap_or_default()) {
        return Ok(false);
    }
    match settled(folder, &mut settings.clone())?.1.first() {
        None => Ok(true),
        Some(change) => Err(TrainError::Refused(format!(
            "{change}; the run in {} has taken all its steps with the settings it had: start a new run",
            folder.display()
        ))),
    }
}

/// Whether a run that adapted its learning rate does so in a later process too: not when that one was given another rate, or a search.
fn goes_on_adapting(begun: &TrainSettings, settings: &TrainSettings) -> bool {
    let rate = settings.optimizer.learning_rate;
    let same = rate.is_none() || rate == begun.optimizer.learning_rate;
    begun.control.rate_adaptation == Some(true) && same && settings.reason_against_adaptation().is_none()
}

/// Takes over the ledger. Nothing is written when it is refused, but for a torn last line, which is cut off.
fn continue_ledger(
    folder: &Path,
    storage: &dyn Storage,
    settings: &TrainSettings,
    plan: &Plan,
    state: Option<&RunState>,
) -> Result<Spender, TrainError> {
    let (ledger, text) = LedgerFile::open(folder, storage)?;
    let charged = charged_steps(&text)?;
    let released = last_recorded_step(folder)?;
    if released > charged {
        return Err(TrainError::Refused(format!(
            "{} charges {charged} steps, but {} speaks of step {released}: the ledger was rolled back or replaced. Restore the \
             run's own ledger: what it charged stays spent",
            folder.join(files::LEDGER).display(),
            files::METRICS
        )));
    }
    if text.is_empty() && state.is_none() {
        // The run ended before its claim was durable: nothing was charged. Whether a book has it is not known; twice is safe.
        book_file::enter_again(settings, &plan.claim)?;
        return Ok(Spender::open(plan.claim.clone(), Box::new(ledger))?);
    }
    let saved = state.map(|state| &state.ledger);
    Ok(Spender::resume(&text, &plan.claim, saved, Box::new(ledger))?)
}

pub(crate) fn initial_adapter(settings: &TrainSettings, inputs: &Inputs) -> Result<Adapter, TrainError> {
    initial_adapter_for(settings, inputs.engine.config())
}

/// Layout of the adapter that a run of these settings trains.
///
/// # Errors
/// When the settings do not fit the model.
pub fn adapter_layout(settings: &TrainSettings, config: &ModelConfig) -> Result<AdapterLayout, TrainError> {
    Ok(initial_adapter_for(settings, config)?.layout().clone())
}

fn initial_adapter_for(settings: &TrainSettings, config: &ModelConfig) -> Result<Adapter, TrainError> {
    let model = &settings.model;
    let Some(folder) = &start_folder(model) else {
        let mut rng = ChaCha12Rng::seed_from_u64(settings.seed);
        let layout = model.layout(config)?;
        return Ok(match model.init_lora_weights {
            Initialization::Default => Adapter::initialize(layout, &mut rng),
            Initialization::Gaussian => Adapter::initialize_normal(layout, &mut rng),
        });
    };
    let start = peft::load(folder, config)?;
    let layout = start.layout();
    let own = (layout.rank(), layout.lora_alpha());
    if own != (model.rank, model.scaled_alpha())
        || model.target_modules.as_deref().is_some_and(|t| t != layout.target_modules())
    {
        return Err(TrainError::Usage(format!(
            "the adapter in {} has rank {}, alpha {} and modules {}; leave --rank, --lora-alpha, --use-rslora and --target-modules out",
            folder.display(),
            own.0,
            own.1,
            layout.target_modules().join(", ")
        )));
    }
    let layout = if model.trainable == Trainable::B { layout.clone().with_frozen_a() } else { layout.clone() };
    Ok(Adapter::from_parameters(layout, start.parameters().to_vec()))
}

/// The plan with the claim; of a run that goes on, `begun` is the claim of its ledger.
fn plan_for(
    settings: &TrainSettings,
    inputs: &Inputs,
    adapter: &Adapter,
    begun: Option<&Claim>,
) -> Result<Plan, TrainError> {
    check_invariance(inputs.engine.as_ref(), settings)?;
    let layout = adapter.layout();
    let mut plan = plan(settings, inputs.units.expected(), layout.pairs().len(), layout.trained_count())?;
    if let Some(text) = &inputs.public {
        plan.claim.public_text = text.files().to_vec();
    }
    declare_start(&mut plan.claim, &settings.model, begun)?;
    Ok(plan)
}

/// The caller's own controller, or the one that the settings name.
fn build_controller(
    settings: &TrainSettings,
    inputs: &mut Inputs,
    adapter: &Adapter,
) -> Result<Box<dyn Controller>, TrainError> {
    let pairs = adapter.layout().pairs().len();
    let control = &settings.control;
    let mut controller = if let Some(own) = inputs.controller.take() {
        own
    } else {
        let decisions = settings.privacy.steps.div_ceil(control.interval.max(1));
        controller(control.controller, pairs, decisions, &control.sac, settings.seed)?
    };
    if settings.control.frozen {
        controller.freeze()?;
    }
    Ok(controller)
}

fn assemble(
    settings: TrainSettings,
    inputs: Inputs,
    adapter: Adapter,
    plan: Plan,
    spender: Spender,
    recorder: Recorder,
    controller: Box<dyn Controller>,
) -> Result<Trainer, TrainError> {
    let turn_rate = plan.claim.turn_rate();
    let (sampler, noise) = match settings.privacy.unsafe_noise_seed {
        None => (PoissonSampler::os(turn_rate)?, NoiseSource::os()?),
        Some(seed) => (PoissonSampler::unsafe_seeded(turn_rate, seed)?, NoiseSource::unsafe_seeded(seed)),
    };
    let mechanism = Mechanism {
        statistics: statistic_spec(&settings, inputs.engine.config().vocab_size),
        loss_bound: LossBound::default(),
        geometry: baselines::geometry(&settings.privacy, adapter.layout()),
        past: Past::default(),
        summation: Box::new(Here),
        raw: raw_observer(&settings, &plan)?,
        batch_size: settings.privacy.batch_size,
        units: inputs.units,
        start: plan.controls.clone(),
        now: plan.controls,
        spender,
        sampler,
        noise,
    };
    let learner = Learner::new(&settings, adapter, &mechanism.noise_levels()?, plan.rate);
    let steering = Steering::new(&settings, controller);
    let run = Run {
        settings,
        recorder,
        base_name: inputs.base_name,
        base_digests: inputs.base_digests,
        eval: inputs.eval,
        evaluation: None,
        non_finite: NonFinite::default(),
    };
    Ok(Trainer { engine: inputs.engine, mechanism, learner, steering, run, public: inputs.public })
}

/// Raw observations, when they are asked for and the claim admits what that means.
fn raw_observer(settings: &TrainSettings, plan: &Plan) -> Result<Option<RawObserver>, TrainError> {
    if !settings.control.unsafe_raw_observations {
        return Ok(None);
    }
    let admission = plan.claim.no_guarantee().ok_or_else(|| {
        TrainError::Refused("raw observations were asked for under a claim that guarantees privacy".into())
    })?;
    Ok(Some(RawObserver::new(admission)))
}

fn read_settings(folder: &Path) -> Result<TrainSettings, TrainError> {
    let path = folder.join(files::CONFIG);
    TrainSettings::from_toml(&fs_err::read_to_string(&path)?).map_err(|error| TrainError::Corrupt {
        path: path.display().to_string(),
        reason: format!("not a run's settings: {}", error.message()),
    })
}
