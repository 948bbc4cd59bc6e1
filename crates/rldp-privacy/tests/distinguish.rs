//! An attacker with a known answer: one honest step with and without one unit, told apart as well as theory allows.
//!
//! The unit puts its whole bound into every pair; the attacker knows its direction and takes the best test there is. What it
//! then proves must lie below the claim (or the mechanism is broken) and near it (or the attack is blind).

use std::io;

use rldp_privacy::{
    Adjacency, Allocation, Claim, ClippedSum, Guarantee, LedgerSink, NoiseSource, Regime, Sensitive, Spender,
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
    let charge = spender.charge(z).expect("the sink never fails").expect("the first step is paid for");
    let mut sum = ClippedSum::new(charge, &PAIRS, allocation, None, 4).expect("a small sum");
    // Others are there too; they cancel out of the attack, being known.
    sum.add_unit(Sensitive::new(&[0.3, -0.1, 0.0, 9.0, 1e-3, -2e-3]), Sensitive::new(1.0));
    if present {
        sum.add_unit(Sensitive::new(&[0.0, 1e6, 0.0, -1e9, 0.0, 1e-1]), Sensitive::new(2.0));
    }
    let release = sum.release(noise, 1.0).expect("a positive batch");
    let g = release.mean_gradient.get();
    let along = [f64::from(g[1]) + 0.1, -(f64::from(g[3]) - 2.0), f64::from(g[5]) + 2e-3];
    along.iter().zip(CLIP).zip(&release.noise_std).map(|((g, clip), std)| g * clip / (std * std)).sum::<f64>() * z
}

#[test]
fn an_optimal_attack_comes_close_to_the_claim_and_never_above_it() {
    let z = 1.0;
    let epsilon = gaussian_epsilon(1.0 / z, DELTA);
    let coordinates = PAIRS.iter().sum::<usize>() as u64;
    let claim = Claim {
        target_epsilon: epsilon * 1.001,
        delta: DELTA,
        other_steps: 0,
        adjacency: Adjacency::AddRemove,
        unit: "record".into(),
        sampling_rate: 1.0,
        expected_batch_size: 1.0,
        steps: 1,
        noise_coordinates: coordinates,
        noise_delta: noise_delta(epsilon * 1.001, DELTA, coordinates, 1).expect("a small reserve"),
        regime: Regime::Committed { segments: vec![Event::new(1.0, z, 1)], accountant: AccountantKind::Gdp },
        guarantee: Guarantee::None { reason: "the noise of this test comes from a seed".into() },
    };
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
