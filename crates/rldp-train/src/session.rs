//! Starting, resuming and finishing a run.

use std::{path::Path, sync::Arc};

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use rldp_control::{Controller, RateSearch, RewardTracker, StateFormat, controller};
use rldp_data::PoissonSampler;
use rldp_model::{Adapter, AdapterLayout, adapter::LoraSettings, peft};
use rldp_privacy::{NoiseSource, Past, Spender, TakenOver, charged_steps};
use serde::de::IgnoredAny;

use crate::{
    checkpoint::{Checkpoint, CheckpointState, SavedEvaluation},
    error::TrainError,
    geometry,
    inputs::Inputs,
    loss_bound::LossBound,
    manifest,
    observe::Observer,
    optimizer::Optimizer,
    plan::{Plan, plan, statistic_spec},
    post_processing::Average,
    preflight::preflight,
    promise::changes,
    raw::RawObserver,
    recorder::{FolderLock, LedgerFile, Recorder, files, last_recorded_step, write_settings},
    settings::{OptimizerKind, TrainSettings, Trainable, default_learning_rate},
    storage::{Disk, Storage, replace},
    trainer::{NonFinite, Outcome, Trainer},
};

/// Name of a saved policy inside the policy folder.
const POLICY_FILE: &str = "policy.json";

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
    let plan = plan_for(&settings, &inputs, &adapter)?;
    settings.privacy.noise_bands = Some(plan.claim.noise_bands);
    let mut controller = build_controller(&settings, &adapter)?;
    if let Some(policy) = &settings.control.policy {
        controller.restore(StateFormat::Json, &read_policy(policy)?)?;
    }
    let manifest = manifest::manifest(&settings, &inputs, &adapter, &plan);
    let mut recorder = Recorder::create(&settings, &manifest, storage)?;
    inputs.secrets.write(recorder.storage(), recorder.folder(), &inputs.units)?;
    if !settings.unsafe_reasons().is_empty() {
        recorder.metric(&serde_json::json!({"kind": "label", "label": plan.claim.statement()}))?;
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
    inputs: Inputs,
) -> Result<Trainer, TrainError> {
    let folder = settings.output.out.clone();
    let lock = FolderLock::take(&folder)?;
    let mut begun = read_settings(&folder)?;
    // Runs from before there was a choice had noise of its own in every step.
    begun.privacy.noise_bands.get_or_insert(1);
    settings.privacy.noise_bands = settings.privacy.noise_bands.or(begun.privacy.noise_bands);
    let changed = changes(&begun, &settings)?;
    let adapter = initial_adapter(&settings, &inputs)?;
    let plan = plan_for(&settings, &inputs, &adapter)?;
    let mut controller = build_controller(&settings, &adapter)?;
    let mut learned = geometry::geometry(&settings.privacy, adapter.layout());
    let statistics = statistic_spec(&settings, inputs.engine.config().vocab_size);
    let norm_bins = statistics.and_then(|spec| Some(spec.norms?.count()));
    let checkpoint = Checkpoint::load(&folder)?;
    if let Some(checkpoint) = &checkpoint {
        checkpoint.check(&adapter, norm_bins)?;
        geometry::restore(learned.as_deref_mut(), &checkpoint.geometry)?;
        controller.restore(StateFormat::MessagePack, &checkpoint.controller)?;
    } else if let Some(policy) = &settings.control.policy {
        controller.restore(StateFormat::Json, &read_policy(policy)?)?;
    }
    // Drawn only when the run ended before its ledger began.
    inputs.secrets.write(&*storage, &folder, &inputs.units)?;
    let spender = continue_ledger(&folder, &*storage, &plan, checkpoint.as_ref())?;
    let known = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state.steps_charged);
    let length = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state.metrics);
    let mut recorder = Recorder::resume(&folder, lock, storage, length)?;
    let lost = spender.steps_charged() - known;
    recorder.metric(&serde_json::json!({"kind": "resume", "step": known, "lost_steps": lost, "changed": changed}))?;
    if !changed.is_empty() {
        recorder.sync()?;
        write_settings(recorder.storage(), &folder, &settings)?;
    }
    let mut trainer = assemble(settings, inputs, adapter, plan, spender, recorder, controller)?;
    trainer.geometry = learned;
    if let (Some(checkpoint), Some(proof)) = (checkpoint, trainer.spender.taken_over()) {
        trainer.restore(checkpoint, proof);
    }
    Ok(trainer)
}

/// Takes over the ledger. Nothing is written when it is refused, but for a torn last line, which is cut off.
fn continue_ledger(
    folder: &Path,
    storage: &dyn Storage,
    plan: &Plan,
    checkpoint: Option<&Checkpoint>,
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
    if text.is_empty() && checkpoint.is_none() {
        // The run ended before its claim was durable: nothing was charged.
        return Ok(Spender::open(plan.claim.clone(), Box::new(ledger))?);
    }
    let saved = checkpoint.map(|checkpoint| &checkpoint.state.ledger);
    Ok(Spender::resume(&text, &plan.claim, saved, Box::new(ledger))?)
}

pub(crate) fn initial_adapter(settings: &TrainSettings, inputs: &Inputs) -> Result<Adapter, TrainError> {
    let lora = LoraSettings {
        rank: settings.model.rank,
        lora_alpha: settings.model.lora_alpha,
        target_modules: settings.model.target_modules.clone(),
    };
    let layout = AdapterLayout::for_model(inputs.engine.config(), &lora)?;
    let layout = match settings.model.trainable {
        Trainable::Both => layout,
        Trainable::B => layout.with_frozen_a(),
    };
    Ok(Adapter::initialize(layout, &mut ChaCha12Rng::seed_from_u64(settings.seed)))
}

fn plan_for(settings: &TrainSettings, inputs: &Inputs, adapter: &Adapter) -> Result<Plan, TrainError> {
    let layout = adapter.layout();
    plan(settings, inputs.units.expected(), layout.pairs().len(), layout.trained_count())
}

fn build_controller(settings: &TrainSettings, adapter: &Adapter) -> Result<Box<dyn Controller>, TrainError> {
    let pairs = adapter.layout().pairs().len();
    let mut controller = controller(settings.control.controller, pairs, &settings.control.sac, settings.seed)?;
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
    let mut trainer = Trainer {
        statistics: statistic_spec(&settings, inputs.engine.config().vocab_size),
        loss_bound: LossBound::default(),
        first_parameters: adapter.parameters().to_vec(),
        geometry: geometry::geometry(&settings.privacy, adapter.layout()),
        optimizer: Optimizer::new(settings.optimizer.clone(), adapter.parameters().len()),
        first_noise_std: Vec::new(),
        past: Past::default(),
        reward: RewardTracker::default(),
        observer: Observer::default(),
        rate_search: settings.control.rate_search.then(|| rate_search(&settings)),
        last_step: None,
        average: Average::default(),
        raw: raw_observer(&settings, &plan)?,
        non_finite: NonFinite::default(),
        evaluation: None,
        engine: inputs.engine,
        units: inputs.units,
        eval: inputs.eval,
        base_name: inputs.base_name,
        start: plan.steering.clone(),
        now: plan.steering,
        settings,
        spender,
        sampler,
        noise,
        adapter,
        controller,
        recorder,
    };
    trainer.first_noise_std = trainer.noise_std()?;
    Ok(trainer)
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

impl Checkpoint {
    /// Checks that the state is of a run with this adapter, and `bins` of norms in its statistics.
    fn check(&self, adapter: &Adapter, bins: Option<usize>) -> Result<(), TrainError> {
        let (pairs, parameters) = (adapter.layout().pairs().len(), adapter.parameters().len());
        let state = &self.state;
        let sizes =
            [("adapter parameters", self.parameters.len(), parameters), ("clip norms", state.clip_norms.len(), pairs)];
        for (what, found, expected) in sizes.into_iter().chain([("shares", state.shares.len(), pairs)]) {
            if found != expected {
                return Err(TrainError::Refused(format!(
                    "the checkpoint holds {found} {what}, the settings ask for {expected}; resume with the run's own --rank and \
                     --target-modules"
                )));
            }
        }
        let numbers = state.clip_norms.iter().chain(&state.shares).chain([&state.noise_multiplier]);
        let fits = state.observer.fits(pairs, bins) && state.post.fits(pairs);
        if !fits || !numbers.into_iter().all(|value| value.is_finite() && *value > 0.0) {
            return Err(TrainError::Refused(
                "the checkpoint's state is out of range; it was not written by this program".to_owned(),
            ));
        }
        Ok(())
    }
}

impl Trainer {
    /// Goes on from a checked checkpoint; the controller was restored before.
    fn restore(&mut self, checkpoint: Checkpoint, proof: TakenOver) {
        let Checkpoint { state, parameters, first_moment, second_moment, last_release, average, .. } = checkpoint;
        self.adapter.parameters_mut().copy_from_slice(&parameters);
        let settings = self.settings.optimizer.clone();
        self.optimizer = Optimizer::restore(settings, first_moment, second_moment, state.updates, state.first_weight);
        self.average = Average::restore(average);
        self.now.clip_norms = state.clip_norms;
        self.now.shares = state.shares;
        self.now.noise_multiplier = state.noise_multiplier;
        self.now.post = state.post;
        if let (Some(search), Some(saved)) = (&mut self.rate_search, state.rate_search) {
            *search = saved;
        }
        self.observer = Observer::restore(state.observer, last_release, proof);
        self.reward = RewardTracker::resumed(state.reward, proof);
        self.non_finite = state.non_finite;
        self.loss_bound = state.loss_bound;
        self.evaluation = state.evaluation.map(|saved| (saved.step, saved.restore()));
    }

    /// Saves everything needed to go on.
    pub(crate) fn checkpoint(&mut self) -> Result<(), TrainError> {
        let metrics = self.recorder.sync()?;
        let parameters = self.adapter.parameters().to_vec();
        let (observer, last_release) = self.observer.state();
        let mut last_release = last_release.to_vec();
        last_release.resize(parameters.len(), 0.0);
        let checkpoint = Checkpoint {
            state: CheckpointState {
                steps_charged: self.spender.steps_charged(),
                updates: self.optimizer.updates(),
                first_weight: self.optimizer.first_weight(),
                clip_norms: self.now.clip_norms.clone(),
                shares: self.now.shares.clone(),
                noise_multiplier: self.now.noise_multiplier,
                post: self.now.post.clone(),
                rate_search: self.rate_search.clone(),
                ledger: self.spender.position(),
                metrics,
                observer,
                reward: self.reward.last(),
                non_finite: self.non_finite,
                loss_bound: self.loss_bound,
                evaluation: self.evaluation.map(|(step, evaluation)| SavedEvaluation::of(step, &evaluation)),
            },
            controller: self.controller.state(StateFormat::MessagePack)?,
            parameters,
            first_moment: self.optimizer.first_moment().to_vec(),
            second_moment: self.optimizer.second_moment().to_vec(),
            last_release,
            average: self.average.get().map(<[f32]>::to_vec).unwrap_or_default(),
            geometry: self.geometry.as_ref().map_or_else(Vec::new, |geometry| geometry.state()),
        };
        checkpoint.save(self.recorder.folder(), self.recorder.storage())
    }

    /// Writes adapter and policy, closes the ledger when the plan is done, and says what went wrong without failing.
    pub(crate) fn finish(&mut self) -> Result<Outcome, TrainError> {
        self.checkpoint()?;
        let (folder, storage) = (self.recorder.folder(), self.recorder.storage());
        let (adapter, policy) = (folder.join(files::ADAPTER), folder.join(files::POLICY));
        fs_err::create_dir_all(&adapter)?;
        fs_err::create_dir_all(&policy)?;
        for (name, bytes) in peft::files(&self.average.of(&self.adapter), &self.base_name)? {
            replace(storage, &adapter.join(name), &[&bytes])?;
        }
        replace(storage, &policy.join(POLICY_FILE), &[&self.controller.state(StateFormat::Json)?, b"\n"])?;
        let steps = self.spender.steps_charged();
        let finished = steps >= self.settings.privacy.steps || self.spender.is_exhausted() || self.now.post.stops();
        if finished {
            self.spender.close()?;
        }
        let mut warnings = Vec::new();
        if steps > 0 && self.adapter.parameters() == self.first_parameters {
            warnings.push("THE ADAPTER DID NOT MOVE although budget was spent; do not use it".to_owned());
        }
        if let Some(fraction) = self.non_finite.alarming() {
            warnings.push(format!(
                "ABOUT {:.0} % OF THE GRADIENTS WERE NOT FINITE and counted as zero; the model's numbers overflow",
                100.0 * fraction
            ));
        }
        let evaluation = self.evaluation.map(|(_, evaluation)| evaluation);
        Ok(Outcome { steps, finished, evaluation, warnings })
    }
}

fn read_settings(folder: &Path) -> Result<TrainSettings, TrainError> {
    let path = folder.join(files::CONFIG);
    toml::from_str(&fs_err::read_to_string(&path)?).map_err(|error| TrainError::Corrupt {
        path: path.display().to_string(),
        reason: format!("not a run's settings: {}", error.message()),
    })
}

/// The text of a policy, checked to be JSON at all.
fn read_policy(path: &Path) -> Result<Vec<u8>, TrainError> {
    let path = if path.is_dir() { path.join(POLICY_FILE) } else { path.to_owned() };
    let text = fs_err::read(&path)?;
    serde_json::from_slice::<IgnoredAny>(&text).map_err(|error| TrainError::Corrupt {
        path: path.display().to_string(),
        reason: format!("not a saved policy: {error}"),
    })?;
    Ok(text)
}

/// The search believes in the rule, where there is one, rather than in a rate that its user is not sure of.
fn rate_search(settings: &TrainSettings) -> RateSearch {
    let given = settings.optimizer.learning_rate;
    let believed = match settings.optimizer.optimizer {
        OptimizerKind::Adamw | OptimizerKind::AdamBc => {
            default_learning_rate(settings.privacy.steps, settings.model.lora_alpha)
        }
        OptimizerKind::Sgd => given,
    };
    RateSearch::new((believed / given).ln())
}
