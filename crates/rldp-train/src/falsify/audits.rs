//! Audits of whole steps: what somebody who sees the releases, and chooses the gradients, proves about the planted bugs.
//!
//! Canary i is a unit whose gradient is huge in coordinate i of every pair (counted round) and zero elsewhere, included by a
//! fair coin. At
//! confidence [`CONFIDENCE`] an honest step is accused by one of these audits once in ten thousand times.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rldp_audit::{
    channel::discriminate,
    guesses::{OneRun, OneRunSettings, audit_scores},
};
use rldp_data::{PrivacyUnits, TokenRecord, UnitPolicy};
use rldp_model::{
    Adapter, Engine, ModelConfig, Pair, Sequence, SequenceLoss, UnitGradient, UnitInput, UnitInvariance, UnitSinks,
    engine::EngineError,
};
use rldp_privacy::{
    NoiseSource, NoisyRelease,
    accounting::{AccountantKind, gaussian_epsilon},
};
use tempfile::TempDir;

use super::Step;
use crate::{
    Trainer,
    settings::TrainSettings,
    start,
    testing::{demo_inputs, demo_settings},
};

const CONFIDENCE: f64 = 0.9999;
const DELTA: f64 = 1e-6;
/// Coordinates of a pair that canaries use; no pair of [`trainer`]'s adapter has fewer.
const COORDINATES: usize = 4_096;
/// Loss of the first unit of a trial, against 1 of the others.
const LOUD_LOSS: f64 = 5.0;

/// The demo model with gradients that an attacker chose: a unit's tokens name its coordinate.
struct Dirac {
    inner: Box<dyn Engine>,
    /// Coordinates of a pair that canaries use.
    coordinates: usize,
}

impl Engine for Dirac {
    fn config(&self) -> &ModelConfig {
        self.inner.config()
    }

    fn unit_invariance(&self) -> UnitInvariance {
        UnitInvariance::Exact
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        self.inner.losses(adapter, sequences)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        let (mut gradient, mut sink) = (vec![0.0_f32; adapter.parameters().len()], sinks.fork());
        for (index, unit) in units.iter().enumerate() {
            let canary = unit.sequences[0].tokens[0] as usize;
            let place = |pair: &Pair| pair.range().start + canary % self.coordinates;
            let places: Vec<usize> = adapter.layout().pairs().iter().map(place).collect();
            places.iter().for_each(|place| gradient[*place] = 1e6);
            let loss = if canary == 0 { LOUD_LOSS } else { 1.0 };
            sink.add(index, UnitGradient { loss, gradient: &gradient });
            places.iter().for_each(|place| gradient[*place] = 0.0);
        }
        Ok(())
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.inner.logits(adapter, tokens)
    }
}

/// One unit of `length` tokens a coin.
fn units(coins: &[bool], length: usize, chance: f64) -> PrivacyUnits {
    let record = |canary| TokenRecord {
        row: canary,
        unit: None,
        content: std::array::from_fn(|i| (canary >> (8 * (i % 4))) as u8),
        tokens: vec![canary as u32; length],
        prefix: 0,
        left_out: 0,
        scored: std::iter::once(1..length).collect(),
    };
    let records: Vec<TokenRecord> = (0..coins.len()).map(record).collect();
    let policy = UnitPolicy { max_length: 32, max_records: None, unsafe_seed: None };
    PrivacyUnits::by_record(&records, &policy).unwrap().kept_by(coins, chance)
}

/// A run over canaries that is about to make its first step.
fn trainer(folder: &TempDir, coins: &[bool], length: usize, change: impl Fn(&mut TrainSettings)) -> Trainer {
    canary_trainer(folder, coins, length, COORDINATES, change)
}

/// The same where canaries use `coordinates` of a pair.
pub(super) fn canary_trainer(
    folder: &TempDir,
    coins: &[bool],
    length: usize,
    coordinates: usize,
    change: impl Fn(&mut TrainSettings),
) -> Trainer {
    let mut settings = demo_settings(folder.path(), 4);
    settings.model.rank = 32;
    settings.model.target_modules = Some(vec!["c_proj".into()]);
    settings.privacy.statistics_share = 0.0;
    settings.privacy.delta = DELTA;
    settings.privacy.steps = 1;
    settings.privacy.batch_size = 0.5 * coins.len() as f64;
    change(&mut settings);
    let mut inputs = demo_inputs(&settings);
    inputs.units = units(coins, length, 0.5);
    let mut trainer = start(settings, inputs).unwrap();
    let inner = std::mem::replace(&mut trainer.engine, demo_inputs(&trainer.run.settings).engine);
    trainer.engine = Box::new(Dirac { inner, coordinates });
    trainer
}

pub(super) fn coins(count: usize) -> Vec<bool> {
    let mut rng = ChaCha12Rng::from_os_rng();
    (0..count).map(|_| rng.random()).collect()
}

/// log-likelihood ratio of included to excluded for every canary, up to a constant.
fn ratios(trainer: &Trainer, release: &NoisyRelease, count: usize) -> Vec<f64> {
    let gradient = release.mean_gradient.get();
    let pairs =
        trainer.learner.adapter.layout().pairs().iter().zip(&release.noise_std).zip(&trainer.mechanism.now.clip_norms);
    let parts: Vec<(usize, f64)> = pairs.map(|((pair, std), clip)| (pair.range().start, clip / std.powi(2))).collect();
    (0..count)
        .map(|i| parts.iter().map(|(at, weight)| f64::from(gradient[at + i % COORDINATES]) * weight).sum())
        .collect()
}

fn audit(trainer: &Trainer, scores: &[f64], coins: &[bool], guesses: usize) -> OneRun {
    let delta = trainer.run.settings.privacy.delta;
    let settings = OneRunSettings { delta, confidence: CONFIDENCE, guesses: Some(guesses), seed: 1 };
    audit_scores(scores, coins, &settings).unwrap()
}

pub(super) fn accused(what: &str, bound: f64, claim: f64) -> Result<f64, String> {
    if bound > claim { Err(format!("{what} is at least {bound}, the claim says {claim}")) } else { Ok(bound / claim) }
}

/// One step with everybody in the batch is a Gaussian mechanism of μ = 1/z. `Ok` is the audited share of that.
pub(super) fn one_step(step: Step, louder: f64) -> Result<f64, String> {
    let folder = TempDir::new().unwrap();
    let coins = coins(4_000);
    let mut trainer = trainer(&folder, &coins, 90, |settings| settings.privacy.epsilon = 4.0);
    let planned = trainer.mechanism.now.noise_multiplier;
    trainer.mechanism.now.noise_multiplier /= louder;
    let Some(release) = step(&mut trainer).unwrap() else { return Ok(0.0) };
    let found = audit(&trainer, &ratios(&trainer, &release, coins.len()), &coins, 400);
    accused("mu", found.gdp_mu, 1.0 / planned)
}

/// One step with a hundredth in the batch. The attacker knows in which order a shuffled run would take the units, and
/// guesses among the next ones.
pub(super) fn sampled_step(step: Step) -> Result<f64, String> {
    const BATCH: usize = 800;
    let folder = TempDir::new().unwrap();
    let coins = coins(200 * BATCH);
    let mut trainer = trainer(&folder, &coins, 2, |settings| {
        settings.privacy.epsilon = 0.25;
        settings.privacy.delta = 1e-8;
        settings.privacy.accountant = AccountantKind::Pld;
        settings.privacy.batch_size = BATCH as f64;
    });
    let release = step(&mut trainer).unwrap().unwrap();
    let ratios = ratios(&trainer, &release, coins.len());
    let next = BATCH..2 * BATCH;
    let middle = next.clone().map(|at| ratios[at]).sum::<f64>() / BATCH as f64;
    let score = |at: usize| if next.contains(&at) { ratios[at] - middle } else { 0.0 };
    let scores: Vec<f64> = (0..coins.len()).map(score).collect();
    let found = audit(&trainer, &scores, &coins, BATCH / 2);
    accused("epsilon", found.epsilon, trainer.run.settings.privacy.epsilon)
}

/// Two steps of two processes. Noise that is drawn twice falls out of their difference.
pub(super) fn resumed_steps(source: impl Fn() -> NoiseSource) -> Result<f64, String> {
    let folder = TempDir::new().unwrap();
    let coins = coins(1_000);
    let mut trainer = trainer(&folder, &coins, 20, |settings| {
        // A run that promises something would refuse noise that is known before it is drawn.
        settings.privacy.unsafe_noise_seed = Some(2);
        settings.privacy.epsilon = 0.5;
        settings.privacy.steps = 2;
        settings.privacy.batch_size = 250.0;
    });
    let mut step = || {
        trainer.mechanism.noise = source();
        let release = trainer.private_step().unwrap().unwrap();
        ratios(&trainer, &release, coins.len())
    };
    let (one, two) = (step(), step());
    let scores: Vec<f64> = one.iter().zip(two).map(|(one, two)| (one - two).abs()).collect();
    accused("epsilon", audit(&trainer, &scores, &coins, 200).epsilon, trainer.run.settings.privacy.epsilon)
}

/// Many steps, each over data of its own: `others` units, and unit 0 by a coin. What `see` says of them is a row of numbers
/// a trial, of which the attacker learns from half and guesses the rest. Each step claims μ = 1/z.
pub(super) fn trials(others: usize, see: impl Fn(&mut Trainer) -> Vec<f64>) -> Result<f64, String> {
    const TRIALS: usize = 200;
    let folder = TempDir::new().unwrap();
    let coins = coins(TRIALS);
    let data = |coin: bool| {
        let all: Vec<bool> = (0..=others).map(|unit| unit > 0 || coin).collect();
        units(&all, 20, 1.0)
    };
    let mut trainer = trainer(&folder, &vec![true; 2 * (others + 1)], 20, |settings| {
        settings.privacy.steps = TRIALS as u64;
    });
    let rows: Vec<Vec<f64>> = coins
        .iter()
        .map(|coin| {
            trainer.mechanism.units = data(*coin);
            see(&mut trainer)
        })
        .collect();
    let (scores, guessed) = discriminate(&rows, &coins).unwrap();
    // Fewer than all, since the coins need not fall evenly.
    let found = audit(&trainer, &scores, &guessed, 60);
    accused("epsilon", found.epsilon, gaussian_epsilon(1.0 / trainer.mechanism.now.noise_multiplier, DELTA))
}

/// Energy of the release over that of its stated noise, or that there was none.
pub(super) fn energy(step: Step, trainer: &mut Trainer) -> Vec<f64> {
    let Some(release) = step(trainer).unwrap() else { return vec![0.0, 0.0] };
    let energy: f64 = release.mean_gradient.get().iter().map(|g| f64::from(*g).powi(2)).sum();
    vec![1.0, energy.ln()]
}
