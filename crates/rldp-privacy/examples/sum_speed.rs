//! Times clipping and adding units on one core: nanoseconds a number, least and median of 21 sums of 64 units over 35 pairs of
//! 1,320 parameters.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::{io, time::Instant};

use rldp_privacy::{
    Adjacency, Allocation, Claim, ClippedSum, Guarantee, LedgerSink, Regime, Secrecy, Sensitive, Spender,
    accounting::{AccountantKind, Event, gaussian_epsilon},
    noise_delta,
};

const PAIRS: usize = 35;
const SIZE: usize = 1_320;
const UNITS: usize = 64;

struct Nowhere;

impl LedgerSink for Nowhere {
    fn append(&mut self, _line: &str) -> io::Result<()> {
        Ok(())
    }
}

/// One step at noise multiplier 1 over everybody.
fn claim() -> Claim {
    let (delta, coordinates) = (1e-5, (PAIRS * SIZE) as u64);
    Claim {
        target_epsilon: 1.01 * gaussian_epsilon(1.0, 0.9 * delta),
        delta,
        noise_bands: 1,
        other_steps: 0,
        adjacency: Adjacency::AddRemove,
        unit: "record".into(),
        sampling_rate: 1.0,
        expected_batch_size: UNITS as f64,
        steps: 1,
        noise_coordinates: coordinates,
        noise_delta: noise_delta(6.0, delta, coordinates, 1).expect("a small reserve"),
        regime: Regime::Committed { segments: vec![Event::new(1.0, 1.0, 1)], accountant: AccountantKind::Pld },
        guarantee: Guarantee::Holds,
    }
}

fn main() {
    let gradient: Vec<f32> = (0..PAIRS * SIZE).map(|i| (i as f32).sin()).collect();
    let mut times: Vec<f64> = (0..21)
        .map(|_| {
            let mut spender = Spender::open(claim(), Box::new(Nowhere)).expect("a sound claim");
            let charge = spender.charge(1.0, Secrecy::Secret).expect("a ledger in memory").expect("the planned noise");
            let allocation =
                Allocation::pair_wise(vec![0.01; PAIRS], vec![1.0 / PAIRS as f64; PAIRS], 0.0).expect("even shares");
            let mut sum = ClippedSum::new(charge, &[SIZE; PAIRS], allocation, None, UNITS).expect("a small sum");
            let start = Instant::now();
            for _ in 0..UNITS {
                sum.add_unit(Sensitive::new(&gradient), Sensitive::new(1.0));
            }
            1e9 * start.elapsed().as_secs_f64() / (UNITS * PAIRS * SIZE) as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{:.2} ns a number at least, {:.2} ns in the median", times[0], times[10]);
}
