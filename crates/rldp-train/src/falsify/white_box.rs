//! The sharpest attacks there are: gradient canaries that the attacker chose, releases undone of their correlation, and the
//! likelihood ratio of what is left. What they prove of an honest run comes close to its claim, so that little too much shows.

use rldp_audit::roc::clopper_pearson;
use rldp_privacy::{NoisyRelease, accounting::AccountantKind};
use tempfile::TempDir;

use super::{
    Step,
    audits::{accused, canary_trainer, coins},
};
use crate::{Silent, Trainer, settings::TrainSettings};

/// Numbers of the one adapter pair, each of which one canary has for itself.
const CANARIES: usize = 20_000;

fn one_pair(settings: &mut TrainSettings) {
    settings.model.target_modules = Some(vec!["h.0.mlp.c_proj".into()]);
}

/// One step with everybody in the batch is a Gaussian mechanism of μ = 1/z: included canaries are moved by μ deviations of the noise.
/// The mean of ten thousand of them over that of as many others, less five deviations of it, is above μ once in 3·10^6.
/// `Ok` is the proved share.
pub(super) fn one_step(step: Step) -> Result<f64, String> {
    let (folder, coins) = (TempDir::new().unwrap(), coins(CANARIES));
    let mut trainer = canary_trainer(&folder, &coins, 2, CANARIES, |settings| {
        one_pair(settings);
        settings.privacy.epsilon = 8.0;
    });
    let claimed = 1.0 / trainer.mechanism.now.noise_multiplier;
    let release = step(&mut trainer).unwrap().unwrap();
    let std = release.noise_std[0];
    let moved = |included: bool| {
        let numbers = release.mean_gradient.get().iter().zip(&coins).filter(|(_, coin)| **coin == included);
        let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), (g, _)| (sum + f64::from(*g) / std, count + 1.0));
        (sum / count, count)
    };
    let ((with, members), (without, others)) = (moved(true), moved(false));
    accused("mu", with - without - 5.0 * (1.0_f64 / members + 1.0 / others).sqrt(), claimed)
}

/// δ at which whole runs are audited: large enough that their tails are seen.
const DELTA: f64 = 0.05;
const EPSILON: f64 = 2.0;
const STEPS: u64 = 60;
const BANDS: u64 = 4;

/// Runs of 60 steps under four bands, a fifth of a class in each batch. A unit's coin is guessed from the likelihood ratio over all its
/// turns, against a threshold fixed in advance; Clopper-Pearson bounds of both error rates at confidence 0.9999 give ε. `Ok` is the
/// proved share of the claim: an honest run is accused once in ten thousand.
pub(super) fn whole_runs(step: Step) -> Result<f64, String> {
    const RUNS: usize = 3;
    const CONFIDENCE: f64 = 0.9999;
    const THRESHOLD: f64 = 0.8 * EPSILON;
    // (guessed to be in, all) of those that were in, and of the others.
    let mut counts = [(0_u64, 0_u64); 2];
    for _ in 0..RUNS {
        let (ratios, coins) = run(step);
        for (ratio, coin) in ratios.into_iter().zip(coins) {
            let (guessed, all) = &mut counts[usize::from(!coin)];
            *guessed += u64::from(ratio > THRESHOLD);
            *all += 1;
        }
    }
    // Two-sided intervals, of which each gives one side.
    let bounds = counts.map(|(guessed, all)| clopper_pearson(guessed, all, CONFIDENCE));
    let (hit, alarm) = (bounds[0].0, bounds[1].1);
    let epsilon = if hit > DELTA { ((hit - DELTA) / alarm).ln() } else { 0.0 };
    accused("epsilon", epsilon, EPSILON)
}

/// log-likelihood ratio of every canary after a run, and its coin.
fn run(step: Step) -> (Vec<f64>, Vec<bool>) {
    let (folder, coins) = (TempDir::new().unwrap(), coins(CANARIES));
    let mut trainer = canary_trainer(&folder, &coins, 2, CANARIES, |settings| {
        one_pair(settings);
        settings.privacy.epsilon = EPSILON;
        settings.privacy.delta = DELTA;
        settings.privacy.steps = STEPS;
        settings.privacy.noise_bands = Some(BANDS);
        // The attack is held against what is spent, not against a loose bound of it.
        settings.privacy.accountant = AccountantKind::Pld;
        // A fifth of a quarter of the expected half.
        settings.privacy.batch_size = 0.5 * CANARIES as f64 / (5.0 * BANDS as f64);
    });
    let noise = trainer.mechanism.noise_levels().unwrap().std[0] / trainer.mechanism.spender.bands().deviation();
    let weights = trainer.mechanism.spender.bands().fractions();
    let signal = trainer.mechanism.now.clip_norms[0] / trainer.mechanism.batch_size / noise;
    let rate = trainer.mechanism.spender.claim().turn_rate();
    let mut released: Vec<Vec<f64>> = Vec::new();
    let mut ratios = vec![0.0; CANARIES];
    let mut windows: Vec<Vec<f64>> = Vec::new();
    for at in 0..STEPS as usize {
        let release: NoisyRelease = step(&mut trainer).unwrap().unwrap();
        trainer.update(&release, &mut Silent).unwrap();
        released.push(release.mean_gradient.get().iter().map(|g| f64::from(*g) / noise).collect());
        windows.push(vec![0.0; CANARIES]);
        for canary in 0..CANARIES {
            // Independent noise and, with the weights, the sums of the last steps.
            let seen: f64 = weights.iter().zip(0..=at).map(|(c, j)| c * released[at - j][canary]).sum();
            for (j, weight) in weights.iter().enumerate().take(at + 1) {
                windows[at - j][canary] += weight * seen;
            }
        }
    }
    for (at, window) in windows.iter().enumerate() {
        let left = weights.iter().take(STEPS as usize - at).map(|c| c * c).sum::<f64>();
        let due = |canary: &usize| trainer.mechanism.units.class(*canary, BANDS) == at as u64 % BANDS;
        for canary in (0..CANARIES).filter(due) {
            let likelier = (signal * window[canary] - 0.5 * signal * signal * left).exp();
            ratios[canary] += (1.0 - rate + rate * likelier).ln();
        }
    }
    (ratios, coins)
}

/// For mutants: the trainer's bound on the one pair.
pub(super) fn bound(trainer: &Trainer) -> f64 {
    trainer.mechanism.now.clip_norms[0]
}
