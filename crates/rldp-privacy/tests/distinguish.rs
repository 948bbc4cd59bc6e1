//! An attacker with a known answer: one honest step with and without one unit, told apart as well as theory allows.
//!
//! The unit puts its whole bound into every pair; the attacker knows its direction and takes the best test there is. What it
//! then proves must lie below the claim (or the mechanism is broken) and near it (or the attack is blind).

use std::io;

use rldp_privacy::{
    Adjacency, Allocation, Claim, ClippedSum, Guarantee, LedgerSink, NoiseSource, Past, Regime, Secrecy, Sensitive,
    Spender,
    accounting::{AccountantKind, Event, gaussian_epsilon},
    noise_delta,
};

const DELTA: f64 = 1e-5;
const PAIRS: [usize; 3] = [3, 1, 2];
const CLIP: [f64; 3] = [0.5, 2.0, 0.01];
const SHARES: [f64; 3] = [0.2, 0.5, 0.3];
const TRIALS: usize = 20_000;
/// Chance that a bound below does not hold: each of the two error rates is off by more than this room.
const FALSE_ALARM: f64 = 1e-7;

struct Nowhere;

impl LedgerSink for Nowhere {
    fn append(&mut self, _line: &str) -> io::Result<()> {
        Ok(())
    }
}

/// One step at noise multiplier `z`, projected on the unit's direction; `present` says whether the unit was there.
fn attack(claim: &Claim, z: f64, noise: &mut NoiseSource, present: bool) -> f64 {
    let allocation = Allocation::pair_wise(CLIP.to_vec(), SHARES.to_vec(), 0.0).expect("a valid split");
    let mut spender = Spender::open(claim.clone(), Box::new(Nowhere)).expect("the plan proves the claim");
    let charge = spender.charge(z, Secrecy::Secret).expect("the sink never fails").expect("the first step is paid for");
    let mut sum = ClippedSum::new(charge, &PAIRS, allocation, None, 4).expect("a small sum");
    // Others are there too; they cancel out of the attack, being known.
    sum.add_unit(Sensitive::new(&[0.3, -0.1, 0.0, 9.0, 1e-3, -2e-3]), Sensitive::new(1.0));
    if present {
        sum.add_unit(Sensitive::new(&[0.0, 1e6, 0.0, -1e9, 0.0, 1e-1]), Sensitive::new(2.0));
    }
    let release = sum.release(noise, &mut Past::default(), 1.0).expect("a positive batch");
    let g = release.mean_gradient.get();
    let along = [f64::from(g[1]) + 0.1, -(f64::from(g[3]) - 2.0), f64::from(g[5]) + 2e-3];
    along.iter().zip(CLIP).zip(&release.noise_std).map(|((g, clip), std)| g * clip / (std * std)).sum::<f64>() * z
}

/// A claim of `steps` steps at rate q and noise multiplier z, whose noise has `bands` bands.
fn claim_of(steps: u64, bands: u64, z: f64, epsilon: f64) -> Claim {
    let coordinates = PAIRS.iter().sum::<usize>() as u64;
    let rate = 1.0 / bands as f64;
    let segments = vec![Event::new(rate * bands as f64, z, steps.div_ceil(bands))];
    Claim {
        target_epsilon: epsilon,
        delta: DELTA,
        noise_bands: bands,
        other_steps: 0,
        public_text: Vec::new(),
        start_adapter: None,
        after: Vec::new(),
        adjacency: Adjacency::AddRemove,
        unit: "record".into(),
        units: None,
        shared_eval: false,
        private_policy: false,
        sampling_rate: rate,
        expected_batch_size: 1.0,
        steps,
        noise_coordinates: coordinates,
        noise_delta: noise_delta(epsilon, DELTA, coordinates, steps).expect("a small reserve"),
        regime: Regime::Committed { segments, accountant: AccountantKind::Gdp },
        guarantee: Guarantee::None { reason: "the noise of this test comes from a seed".into() },
    }
}

/// All steps of a claim in which the unit is in the batches of the steps `takes` when it is there at all, and what the attacker makes of
/// them: he undoes the correlation, since the weights are public, and adds up every step's part of the likelihood ratio.
fn attack_on_bands(claim: &Claim, z: f64, noise: &mut NoiseSource, present: bool, takes: &[u64]) -> f64 {
    let mut spender = Spender::open(claim.clone(), Box::new(Nowhere)).expect("the plan proves the claim");
    let mut past = Past::default();
    let weights = published_weights(claim.noise_bands);
    let (mut read, mut score) = (Vec::<f64>::new(), 0.0);
    for step in 0..claim.steps {
        let charge = spender.charge(z, Secrecy::Secret).expect("the sink never fails").expect("planned");
        let allocation = Allocation::pair_wise(CLIP.to_vec(), SHARES.to_vec(), 0.0).expect("a valid split");
        let mut sum = ClippedSum::new(charge, &PAIRS, allocation.clone(), None, 4).expect("a small sum");
        if present && takes.contains(&step) {
            sum.add_unit(Sensitive::new(&[0.0, 1e6, 0.0, -1e9, 0.0, 1e-1]), Sensitive::new(2.0));
        }
        let release = sum.release(noise, &mut past, 1.0).expect("a positive batch");
        let g = release.mean_gradient.get();
        let along = [f64::from(g[1]), -f64::from(g[3]), f64::from(g[5])].into_iter().enumerate();
        // Along the unit's direction, in deviations of a draw: y_t = x_t + n_t.
        read.push(along.map(|(k, g)| g * CLIP[k] / allocation.noise_std(z, k).powi(2)).sum::<f64>() * z);
        let lag = |j: usize| read.len().checked_sub(1 + j).map_or(0.0, |at| read[at]);
        let noisy: f64 = weights.iter().enumerate().map(|(j, c)| c * lag(j)).sum();
        // Of u_t = Σ c_j x_(t−j) + Z_t, what the unit would have put there.
        let signal: f64 = takes.iter().filter_map(|t| weights.get(usize::try_from(step.checked_sub(*t)?).ok()?)).sum();
        score += signal * noisy;
    }
    score
}

/// c_j by the formula of the mechanism's page, without its rounding.
fn published_weights(bands: u64) -> Vec<f64> {
    let series: Vec<f64> = (0..bands)
        .scan(1.0, |c, j| {
            let now = *c;
            *c *= (2 * j + 1) as f64 / (2 * j + 2) as f64;
            Some(now)
        })
        .collect();
    let norm = series.iter().map(|c| c * c).sum::<f64>().sqrt();
    series.iter().map(|c| c / norm).collect()
}

/// Epsilon that the attack proves and the one that its plain error rates amount to, over the attacker's best threshold.
fn proven(claim: &Claim, z: f64, takes: &[u64]) -> (f64, f64) {
    const RUNS: usize = 6_000;
    let mut noise = NoiseSource::unsafe_seeded(6);
    let mut scores = |present: bool| -> Vec<f64> {
        (0..RUNS).map(|_| attack_on_bands(claim, z, &mut noise, present, takes)).collect()
    };
    let (without, with) = (scores(false), scores(true));
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / RUNS as f64;
    let threshold = 0.5 * (mean(&without) + mean(&with));
    let rate = |scores: &[f64]| scores.iter().filter(|score| **score > threshold).count() as f64 / RUNS as f64;
    let room = ((2.0 / FALSE_ALARM).ln() / (2.0 * RUNS as f64)).sqrt();
    let (false_positives, true_positives) = (rate(&without), rate(&with));
    let bound = quantile(true_positives - room) - quantile(false_positives + room);
    let seen = quantile(true_positives) - quantile(false_positives);
    (gaussian_epsilon(bound.max(1e-9), DELTA), gaussian_epsilon(seen, DELTA))
}

/// One round of four steps: what a unit of one class gives to all four releases together is one step's worth. A unit that were in
/// another step of the round as well, as it would be without classes, is told apart better than claimed.
#[test]
fn correlated_noise_costs_one_step_a_round_and_needs_classes() {
    let (z, bands) = (1.0, 4);
    let epsilon = gaussian_epsilon(1.0 / z, DELTA);
    let claim = claim_of(4, bands, z, epsilon * 1.001);
    let (bound, seen) = proven(&claim, z, &[0]);
    assert!(bound <= claim.target_epsilon, "an attack proves epsilon {bound}, above the claimed {epsilon}");
    assert!(
        (0.9..1.1).contains(&(seen / epsilon)),
        "the attack sees {seen} of {epsilon}: it is blind, or the price is wrong"
    );
    let (bound, _) = proven(&claim, z, &[0, 1]);
    assert!(bound > claim.target_epsilon, "two turns in a round prove only {bound}");
}

/// Two rounds cost two steps, and no less.
#[test]
fn rounds_of_correlated_noise_compose() {
    let z = 2.0;
    let epsilon = gaussian_epsilon(2.0_f64.sqrt() / z, DELTA);
    let claim = claim_of(6, 3, z, epsilon * 1.001);
    let (bound, seen) = proven(&claim, z, &[1, 4]);
    assert!(bound <= claim.target_epsilon, "an attack proves epsilon {bound}, above the claimed {epsilon}");
    assert!((0.9..1.1).contains(&(seen / epsilon)), "the attack sees {seen} of {epsilon}");
    let mut cheaper = claim.clone();
    cheaper.target_epsilon = 0.9 * epsilon;
    assert!(cheaper.validate().is_err());
}

#[test]
fn an_optimal_attack_comes_close_to_the_claim_and_never_above_it() {
    let z = 1.0;
    let epsilon = gaussian_epsilon(1.0 / z, DELTA);
    let claim = claim_of(1, 1, z, epsilon * 1.001);
    let mut noise = NoiseSource::unsafe_seeded(5);
    let threshold = 0.5 / z;
    let mut rate = |present: bool| {
        let above = (0..TRIALS).filter(|_| attack(&claim, z, &mut noise, present) > threshold).count();
        above as f64 / TRIALS as f64
    };
    let (false_positives, true_positives) = (rate(false), rate(true));
    // Hoeffding: a rate is off by more than this with probability below FALSE_ALARM / 2.
    let room = ((2.0 / FALSE_ALARM).ln() / (2.0 * TRIALS as f64)).sqrt();
    let proven = quantile(true_positives - room) - quantile(false_positives + room);
    let seen = quantile(true_positives) - quantile(false_positives);
    let audited = gaussian_epsilon(proven, DELTA);
    assert!(audited <= claim.target_epsilon, "an attack proves epsilon {audited}, above the claimed {epsilon}");
    assert!(audited >= 0.8 * epsilon, "the attack proves only {audited} of {epsilon} (mu {seen}): it is blind");
}

/// Φ⁻¹ by bisection; the test needs no more.
fn quantile(p: f64) -> f64 {
    let normal = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal(middle) < p { low = middle } else { high = middle }
    }
    low
}
