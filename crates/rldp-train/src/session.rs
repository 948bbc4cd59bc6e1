//! Starting, resuming and finishing a run.

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use rldp_control::{Controller, RewardTracker, controller};
use rldp_data::PoissonSampler;
use rldp_model::{Adapter, AdapterLayout, adapter::LoraSettings, peft};
use rldp_privacy::{NoiseSource, Spender};

use crate::{
    checkpoint::{Checkpoint, CheckpointState},
    error::TrainError,
    evaluate::Evaluation,
    geometry,
    inputs::Inputs,
    manifest,
    observe::Observer,
    optimizer::Optimizer,
    plan::{Plan, plan, statistic_spec},
    preflight::preflight,
    promise::changes,
    raw::RawObserver,
    recorder::{LedgerFile, Recorder, files, write_json},
    settings::{TrainSettings, Trainable},
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
pub fn start(settings: TrainSettings, mut inputs: Inputs) -> Result<Trainer, TrainError> {
    let adapter = initial_adapter(&settings, &inputs)?;
    preflight(inputs.engine.as_mut(), &adapter, settings.seed)?;
    let plan = plan_for(&settings, &inputs, &adapter)?;
    let mut controller = build_controller(&settings, &adapter)?;
    if let Some(policy) = &settings.control.policy {
        controller.restore(&read_policy(policy)?)?;
    }
    let mut recorder = Recorder::create(&settings, &manifest::manifest(&settings, &inputs, &adapter, &plan))?;
    if !settings.unsafe_reasons().is_empty() {
        recorder.metric(&serde_json::json!({"kind": "label", "label": plan.claim.statement()}))?;
    }
    let ledger = LedgerFile::open(recorder.folder())?;
    let spender = Spender::open(plan.claim.clone(), Box::new(ledger))?;
    assemble(settings, inputs, adapter, plan, spender, recorder, controller)
}

/// Continues the run in `settings.output.out` from its last checkpoint.
///
/// Charges that the checkpoint does not know of, of steps whose result was lost, stay spent: the run goes on after them.
/// Noise and sampling come from fresh keys, so no stream is used twice.
///
/// # Errors
/// When the folder holds no run, its ledger does not verify, or the guarantee's settings differ.
pub fn resume(settings: TrainSettings, inputs: Inputs) -> Result<Trainer, TrainError> {
    let folder = settings.output.out.clone();
    let changed = changes(&read_settings(&folder)?, &settings)?;
    let adapter = initial_adapter(&settings, &inputs)?;
    let plan = plan_for(&settings, &inputs, &adapter)?;
    let checkpoint = Checkpoint::load(&folder)?;
    let known = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state.steps_charged);
    let mut recorder = Recorder::resume(&folder, known)?;
    recorder.metric(&serde_json::json!({"kind": "resume", "step": known, "changed": changed}))?;
    let ledger = LedgerFile::open(&folder)?;
    let text = fs_err::read_to_string(folder.join(files::LEDGER))?;
    let spender = Spender::resume(&text, &plan.claim, Box::new(ledger))?;
    let controller = build_controller(&settings, &adapter)?;
    let mut trainer = assemble(settings, inputs, adapter, plan, spender, recorder, controller)?;
    if let Some(checkpoint) = checkpoint {
        trainer.restore(checkpoint)?;
    }
    Ok(trainer)
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
    plan(settings, inputs.units.len(), layout.pairs().len(), layout.trained_count())
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
    let sampling_rate = plan.claim.sampling_rate;
    let (sampler, noise) = match settings.privacy.unsafe_noise_seed {
        None => (PoissonSampler::os(sampling_rate)?, NoiseSource::os()?),
        Some(seed) => (PoissonSampler::unsafe_seeded(sampling_rate, seed)?, NoiseSource::unsafe_seeded(seed)),
    };
    let mut trainer = Trainer {
        statistics: statistic_spec(&settings, inputs.engine.config().vocab_size),
        first_parameters: adapter.parameters().to_vec(),
        geometry: geometry::geometry(&settings.privacy, adapter.layout()),
        optimizer: Optimizer::new(settings.optimizer.clone(), adapter.parameters().len()),
        first_noise_std: Vec::new(),
        reward: RewardTracker::default(),
        observer: Observer::default(),
        raw: raw_observer(&settings, &plan)?,
        non_finite: NonFinite::default(),
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

impl Trainer {
    fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), TrainError> {
        let Checkpoint { state, parameters, first_moment, second_moment, geometry } = checkpoint;
        geometry::restore(self.geometry.as_deref_mut(), &geometry)?;
        if parameters.len() != self.adapter.parameters().len() {
            return Err(TrainError::Refused(format!(
                "the checkpoint holds {} adapter parameters, the settings ask for {}; resume with the run's own --rank and --target-modules",
                parameters.len(),
                self.adapter.parameters().len()
            )));
        }
        self.adapter.parameters_mut().copy_from_slice(&parameters);
        self.optimizer =
            Optimizer::restore(self.settings.optimizer.clone(), first_moment, second_moment, state.updates);
        self.now.clip_norms = state.clip_norms;
        self.now.shares = state.shares;
        self.now.noise_multiplier = state.noise_multiplier;
        self.now.learning_rate_gain = state.learning_rate_gain;
        self.controller.restore(&state.controller)?;
        Ok(())
    }

    /// Saves everything needed to go on, and the adapter as it stands.
    pub(crate) fn checkpoint(&self) -> Result<(), TrainError> {
        let checkpoint = Checkpoint {
            state: CheckpointState {
                steps_charged: self.spender.steps_charged(),
                updates: self.optimizer.updates(),
                clip_norms: self.now.clip_norms.clone(),
                shares: self.now.shares.clone(),
                noise_multiplier: self.now.noise_multiplier,
                learning_rate_gain: self.now.learning_rate_gain,
                controller: self.controller.state(),
            },
            parameters: self.adapter.parameters().to_vec(),
            first_moment: self.optimizer.first_moment().to_vec(),
            second_moment: self.optimizer.second_moment().to_vec(),
            geometry: self.geometry.as_ref().map_or_else(Vec::new, |geometry| geometry.state()),
        };
        checkpoint.save(self.recorder.folder())
    }

    /// Writes adapter and policy, closes the ledger when the plan is done, and says what went wrong without failing.
    pub(crate) fn finish(&mut self, evaluation: Option<Evaluation>) -> Result<Outcome, TrainError> {
        self.checkpoint()?;
        let folder = self.recorder.folder().to_owned();
        peft::save(&self.adapter, &self.base_name, &folder.join(files::ADAPTER))?;
        let policy = folder.join(files::POLICY);
        fs_err::create_dir_all(&policy)?;
        write_json(&policy.join(POLICY_FILE), &self.controller.state())?;
        let steps = self.spender.steps_charged();
        let finished = steps >= self.settings.privacy.steps || self.spender.is_exhausted();
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
        Ok(Outcome { steps, finished, evaluation, warnings })
    }
}

fn read_settings(folder: &std::path::Path) -> Result<TrainSettings, TrainError> {
    let path = folder.join(files::CONFIG);
    toml::from_str(&fs_err::read_to_string(&path)?).map_err(|error| TrainError::Corrupt {
        path: path.display().to_string(),
        reason: format!("not a run's settings: {}", error.message()),
    })
}

fn read_policy(path: &std::path::Path) -> Result<serde_json::Value, TrainError> {
    let path = if path.is_dir() { path.join(POLICY_FILE) } else { path.to_owned() };
    let text = fs_err::read_to_string(&path)?;
    serde_json::from_str(&text).map_err(|error| TrainError::Corrupt {
        path: path.display().to_string(),
        reason: format!("not a saved policy: {error}"),
    })
}
