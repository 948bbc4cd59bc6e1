//! The claim pays for the noise sampler's distance from the Gaussian.

use std::{
    io,
    sync::{Arc, Mutex},
};

use rldp_privacy::{
    Adjacency, Allocation, Claim, ClippedSum, Guarantee, LedgerSink, NoiseSource, Past, Regime, Secrecy, Sensitive,
    Spender,
    accounting::{AccountantKind, Event, FilterSpec, calibrate_noise_multiplier},
    ideal_delta, noise_delta, verify,
};

const DELTA: f64 = 1e-5;
const STEPS: u64 = 20;
const COORDINATES: u64 = 8;

/// A ledger in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl LedgerSink for Lines {
    fn append(&mut self, line: &str) -> io::Result<()> {
        let mut text = self.0.lock().expect("no panic while locked");
        text.push_str(line);
        text.push('\n');
        Ok(())
    }
}

/// A claim at epsilon 2 whose regime is proven at exactly what is left of delta.
fn claim(adaptive: bool) -> (Claim, f64) {
    let reserve = noise_delta(2.0, DELTA, COORDINATES, STEPS).expect("a small reserve");
    let delta = ideal_delta(DELTA, reserve);
    let z =
        calibrate_noise_multiplier(AccountantKind::Rdp, 2.0, delta, 0.1, STEPS).expect("reachable").noise_multiplier;
    let regime = if adaptive {
        Regime::Adaptive { filter: FilterSpec::plan(2.0, delta, 0.1, z, STEPS).expect("a plan") }
    } else {
        Regime::Committed { segments: vec![Event::new(0.1, z, STEPS)], accountant: AccountantKind::Rdp }
    };
    let claim = Claim {
        target_epsilon: 2.0,
        delta: DELTA,
        noise_bands: 1,
        other_steps: 0,
        public_text: Vec::new(),
        start_adapter: None,
        after: Vec::new(),
        adjacency: Adjacency::AddRemove,
        unit: "record".into(),
        units: None,
        shared_eval: false,
        private_policy: false,
        sampling_rate: 0.1,
        expected_batch_size: 10.0,
        steps: STEPS,
        noise_coordinates: COORDINATES,
        noise_delta: reserve,
        regime,
        guarantee: Guarantee::Holds,
    };
    (claim, z)
}

#[test]
fn a_charged_step_releases_and_its_ledger_verifies() {
    for adaptive in [false, true] {
        let (claim, z) = claim(adaptive);
        let lines = Lines::default();
        let mut spender = Spender::open(claim, Box::new(lines.clone())).unwrap();
        let mut noise = NoiseSource::os().unwrap();
        for _ in 0..STEPS {
            // Rounding may make the filter refuse the very last of the planned steps.
            let Some(charge) = spender.charge(z, Secrecy::Secret).unwrap() else { break };
            let allocation = Allocation::pair_wise(vec![1.0], vec![1.0], 0.0).unwrap();
            let mut sum = ClippedSum::new(charge, &[8], allocation, None, 100).unwrap();
            sum.add_unit(Sensitive::new(&[0.5; 8]), Sensitive::new(1.0));
            assert_eq!(sum.release(&mut noise, &mut Past::default(), 10.0).unwrap().mean_gradient.get().len(), 8);
        }
        spender.close(rldp_privacy::Digests::new()).unwrap();
        let found = verify(&lines.0.lock().unwrap());
        assert!(found.holds, "{found:?}");
        assert!(found.checks.iter().any(|check| check.name == "noise" && check.passed));
        assert_eq!(found.delta, Some(DELTA));
        assert!(found.steps >= STEPS - 1);
    }
}

#[test]
fn claims_that_set_too_little_or_too_much_aside_are_refused() {
    for adaptive in [false, true] {
        let (good, _) = claim(adaptive);
        good.validate().unwrap();
        assert!(good.ideal_delta() < good.delta);
        for (noise_coordinates, noise_delta, word) in [
            (0, good.noise_delta, "adapter's size"),
            (2 * COORDINATES, good.noise_delta, "set aside"),
            (COORDINATES, 0.0, "set aside"),
            (COORDINATES, f64::NAN, "set aside"),
            (COORDINATES, 0.2 * DELTA, "set aside"),
            (u64::MAX, 1e-12, "at least"),
        ] {
            let bad = Claim { noise_coordinates, noise_delta, ..good.clone() };
            let error = bad.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}

#[test]
fn an_epsilon_proven_at_the_whole_delta_is_refused() {
    let (mut committed, _) = claim(false);
    // A tenth of delta costs visibly more epsilon than the calibration left.
    committed.noise_delta = 0.0999 * DELTA;
    assert!(committed.validate().unwrap_err().to_string().contains("above the target"));
    let (mut adaptive, _) = claim(true);
    adaptive.noise_delta = 0.0999 * DELTA;
    assert!(adaptive.validate().unwrap_err().to_string().contains("less"));
}

#[test]
fn a_larger_adapter_than_claimed_gets_no_noise() {
    let (claim, z) = claim(false);
    let mut spender = Spender::open(claim, Box::new(Lines::default())).unwrap();
    let charge = spender.charge(z, Secrecy::Secret).unwrap().expect("the first step is granted");
    let allocation = Allocation::pair_wise(vec![1.0], vec![1.0], 0.0).unwrap();
    let refused = ClippedSum::new(charge, &[9], allocation, None, 100).err().expect("9 numbers exceed 8");
    assert!(refused.to_string().contains("claim pays for 8"), "{refused}");
}

#[test]
fn a_resumed_claim_names_what_was_asked_for_before_what_follows() {
    let (one, _) = claim(false);
    let other = Claim { target_epsilon: 3.0, noise_delta: 2.0 * one.noise_delta, ..one.clone() };
    assert!(one.difference(&other).unwrap().expect("they differ").contains("target_epsilon"));
}
