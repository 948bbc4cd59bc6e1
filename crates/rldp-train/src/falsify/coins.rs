//! Detectors of coins, turns and noise over many steps: what is drawn in one step must say nothing of another.

use std::collections::{HashMap, HashSet};

use rldp_data::PoissonSampler;
use rldp_privacy::{NoiseSource, Secrecy};
use tempfile::TempDir;

use super::detectors::deserted;
use crate::{
    Trainer, resume,
    settings::TrainSettings,
    testing::{demo_inputs, demo_settings, demo_trainer},
};

/// Units of these runs.
const UNITS: usize = 24;

/// Steps that were made since a run began, and since its process did.
#[derive(Default)]
pub(super) struct Clock {
    pub(super) updates: u64,
    pub(super) in_process: u64,
}

fn settings(folder: &TempDir) -> TrainSettings {
    let mut settings = demo_settings(folder.path(), UNITS);
    settings.model.rank = 1;
    settings.model.target_modules = Some(vec!["h.0.attn.c_proj".into()]);
    settings.privacy.batch_size = 0.5 * UNITS as f64;
    settings
}

/// Two runs with one public seed: 40 batches of 24 units at q = 1/2 are all alike with probability 2^-960.
pub(super) fn coins_repeat_between_runs(draw: impl Fn(&mut Trainer) -> Vec<usize>) -> Result<(), String> {
    let drawn = || -> Vec<Vec<usize>> {
        let folder = TempDir::new().unwrap();
        let mut trainer = demo_trainer(&settings(&folder));
        (0..40).map(|_| draw(&mut trainer)).collect()
    };
    if drawn() == drawn() { Err("two runs with one public seed drew the same units".into()) } else { Ok(()) }
}

/// The joint frequency of a unit's coins at lags 1 to 16 is q². The products of 24 units over 300 steps, less their mean, have
/// deviation q(1 − q) each and are uncorrelated; off by more than 6 deviations is a false alarm at one of the lags once in 3·10^7.
pub(super) fn coins_depend_on_earlier_ones(mut draw: impl FnMut(&mut Trainer) -> Vec<usize>) -> Result<(), String> {
    const STEPS: usize = 300;
    const RATE: f64 = 0.5;
    let folder = TempDir::new().unwrap();
    let mut trainer = demo_trainer(&settings(&folder));
    let coins: Vec<Vec<f64>> = (0..STEPS)
        .map(|_| {
            let mut coins = vec![-RATE; UNITS];
            draw(&mut trainer).into_iter().for_each(|unit| coins[unit] += 1.0);
            coins
        })
        .collect();
    for lag in 1..=16 {
        let products: f64 = coins
            .iter()
            .zip(&coins[lag..])
            .flat_map(|(one, two)| one.iter().zip(two))
            .map(|(one, two)| one * two)
            .sum();
        let off = products / (((STEPS - lag) * UNITS) as f64).sqrt() / (RATE * (1.0 - RATE));
        if off.abs() > 6.0 {
            return Err(format!("coins of steps {lag} apart agree {off} deviations more often than q²"));
        }
    }
    Ok(())
}

/// Under four bands and with everybody in the batch whose turn it is, every unit's steps are congruent modulo four in the ledger's
/// numbers, although a step was charged and lost, and another process went on. Deterministic.
pub(super) fn turns_drift(draw: impl Fn(&mut Trainer, &Clock) -> Vec<usize>) -> Result<(), String> {
    const BANDS: u64 = 4;
    let folder = TempDir::new().unwrap();
    let mut settings = settings(&folder);
    settings.privacy.noise_bands = Some(BANDS);
    settings.privacy.batch_size = UNITS as f64 / BANDS as f64;
    let mut trainer = demo_trainer(&settings);
    let (mut clock, mut seen) = (Clock::default(), HashMap::<usize, HashSet<u64>>::new());
    for step in 1..=24 {
        if step == 11 {
            trainer.checkpoint().unwrap();
            drop(trainer);
            trainer = resume(settings.clone(), demo_inputs(&settings)).unwrap();
            clock.in_process = 0;
        }
        let noise_multiplier = trainer.mechanism.now.noise_multiplier;
        trainer.mechanism.spender.charge(noise_multiplier, Secrecy::Secret).unwrap().unwrap();
        if step == 6 {
            // Killed between the charge and the release.
            continue;
        }
        for unit in draw(&mut trainer, &clock) {
            seen.entry(unit).or_default().insert(step % BANDS);
        }
        clock.updates += 1;
        clock.in_process += 1;
    }
    match seen.values().map(HashSet::len).max() {
        Some(1) if seen.len() == UNITS => Ok(()),
        Some(1) => Err("somebody never had a turn".into()),
        _ => Err("a unit took part in steps that are not congruent".into()),
    }
}

/// Noise of empty batches under four bands, undone of its correlation, is independent at all lags up to b + 2: sums of products of
/// standard normals, of which one of six is off by more than 6 deviations once in 10^8.
pub(super) fn noise_depends_on_earlier_noise(before: impl Fn(&mut Trainer, u64)) -> Result<(), String> {
    const BANDS: u64 = 4;
    const STEPS: u64 = 14;
    let folder = TempDir::new().unwrap();
    let mut settings = deserted(folder.path());
    settings.privacy.noise_bands = Some(BANDS);
    settings.privacy.steps = STEPS;
    let mut trainer = demo_trainer(&settings);
    let bands = trainer.mechanism.spender.bands();
    let (weights, deviation) = (bands.fractions(), bands.deviation());
    let mut released: Vec<Vec<f64>> = Vec::new();
    for step in 1..=STEPS {
        before(&mut trainer, step);
        let stds = trainer.mechanism.noise_levels().unwrap().std;
        let release = trainer.private_step().unwrap().unwrap();
        let pairs = trainer.learner.adapter.layout().pairs().iter().zip(stds);
        let of_pair = |(pair, std): (&rldp_model::Pair, f64)| {
            let numbers = release.mean_gradient.get()[pair.range()].iter();
            numbers.map(|g| f64::from(*g) * deviation / std).collect::<Vec<f64>>()
        };
        released.push(pairs.flat_map(of_pair).collect());
    }
    let fresh: Vec<Vec<f64>> = (0..released.len())
        .map(|at| {
            let number = |i: usize| weights.iter().zip(0..=at).map(|(c, j)| c * released[at - j][i]).sum();
            (0..released[at].len()).map(number).collect()
        })
        .collect();
    for lag in 1..=(BANDS as usize + 2) {
        let pairs = fresh.iter().zip(&fresh[lag..]);
        let products: f64 = pairs.flat_map(|(one, two)| one.iter().zip(two)).map(|(one, two)| one * two).sum();
        let off = products / (((fresh.len() - lag) * fresh[0].len()) as f64).sqrt();
        if off.abs() > 6.0 {
            return Err(format!("noise of steps {lag} apart is correlated by {off} deviations"));
        }
    }
    Ok(())
}

/// As the loop draws.
pub(super) fn honest(trainer: &mut Trainer) -> Vec<usize> {
    trainer.mechanism.sampled().indices().to_vec()
}

/// Coins that whoever knows the public seed can repeat.
pub(super) fn keyed_by_the_public_seed(trainer: &mut Trainer) -> Vec<usize> {
    let seed = trainer.run.settings.seed;
    trainer.mechanism.sampler = PoissonSampler::unsafe_seeded(0.5, seed).unwrap();
    honest(trainer)
}

/// Coins of every other step once more.
pub(super) fn used_twice() -> impl FnMut(&mut Trainer) -> Vec<usize> {
    let mut kept: Option<Vec<usize>> = None;
    move |trainer| match kept.take() {
        Some(drawn) => drawn,
        None => kept.insert(honest(trainer)).clone(),
    }
}

/// The units whose turn it would be at `turn`.
pub(super) fn class_of(trainer: &Trainer, turn: u64) -> Vec<usize> {
    (0..UNITS).filter(|unit| trainer.mechanism.units.class(*unit, 4) == turn % 4).collect()
}

/// Noise whose keys repeat every b + 1 steps.
pub(super) fn noise_of_five_keys(trainer: &mut Trainer, step: u64) {
    trainer.mechanism.noise = NoiseSource::unsafe_seeded(step % 5);
}
