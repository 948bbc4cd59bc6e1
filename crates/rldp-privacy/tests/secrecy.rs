//! A promise needs secret randomness, where it is charged and where it is drawn.

#![allow(clippy::unwrap_used)]

use std::io;

use rldp_privacy::{
    Adjacency, Allocation, Claim, ClippedSum, Guarantee, LedgerSink, NoiseSource, Past, Regime, Secrecy, Spender,
    accounting::{AccountantKind, Event},
    noise_delta,
};

/// Counts lines.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl LedgerSink for Lines {
    fn append(&mut self, _line: &str) -> io::Result<()> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

impl Lines {
    fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn claim(guarantee: Guarantee) -> Claim {
    Claim {
        target_epsilon: 9.0,
        delta: 1e-5,
        other_steps: 0,
        public_text: Vec::new(),
        start_adapter: None,
        after: Vec::new(),
        adjacency: Adjacency::AddRemove,
        unit: "record".into(),
        units: None,
        shared_eval: false,
        private_policy: false,
        noise_bands: 1,
        sampling_rate: 0.5,
        expected_batch_size: 2.0,
        steps: 3,
        noise_coordinates: 3,
        noise_delta: noise_delta(9.0, 1e-5, 3, 3).unwrap(),
        regime: Regime::Committed { segments: vec![Event::new(0.5, 2.0, 3)], accountant: AccountantKind::Rdp },
        guarantee,
    }
}

#[test]
fn known_seeds_are_refused_under_a_promise_before_anything_is_charged() {
    let lines = Lines::default();
    let mut spender = Spender::open(claim(Guarantee::Holds), Box::new(lines.clone())).unwrap();
    let known = NoiseSource::unsafe_seeded(1).secrecy().and(Secrecy::Secret);
    let error = spender.charge(2.0, known).err().unwrap().to_string();
    assert!(error.contains("known seed") && error.contains("operating system"), "{error}");
    assert_eq!((lines.count(), spender.steps_charged()), (1, 0), "a refused step left a line");
    let charge = spender.charge(2.0, NoiseSource::os().unwrap().secrecy()).unwrap().unwrap();
    assert_eq!(charge.noise_multiplier(), 2.0);
    // Charged with secret noise, released with another: refused, and the charge stays spent.
    let allocation = Allocation::pair_wise(vec![1.0], vec![1.0], 0.0).unwrap();
    let sum = ClippedSum::new(charge, &[3], allocation, None, 10).unwrap();
    let error = sum.release(&mut NoiseSource::unsafe_silent(), &mut Past::default(), 2.0).unwrap_err().to_string();
    assert!(error.contains("known seed"), "{error}");
    assert_eq!((lines.count(), spender.steps_charged()), (2, 1));
}

#[test]
fn a_run_that_guarantees_nothing_may_know_its_seeds() {
    let reason = "a test".to_owned();
    let mut spender = Spender::open(claim(Guarantee::None { reason }), Box::new(Lines::default())).unwrap();
    let charge = spender.charge(2.0, Secrecy::Known).unwrap().unwrap();
    let allocation = Allocation::pair_wise(vec![1.0], vec![1.0], 0.0).unwrap();
    let sum = ClippedSum::new(charge, &[3], allocation, None, 10).unwrap();
    let release = sum.release(&mut NoiseSource::unsafe_silent(), &mut Past::default(), 2.0).unwrap();
    assert_eq!((release.noise_multiplier, release.mean_gradient.get().as_slice()), (2.0, &[0.0_f32; 3][..]));
}
