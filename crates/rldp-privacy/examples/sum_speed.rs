//! Times clipping and adding units: nanoseconds a number on one core, for a small adapter and for a large one, and how the large one
//! scales with workers that each fill a part of the sum.
//!
//! `cargo run --release -p rldp-privacy --example sum_speed [WORKERS]`. One worker and several take turns, so that what else the
//! machine does troubles both alike.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::{io, thread, time::Instant};

use rldp_privacy::{
    Adjacency, Allocation, Claim, ClippedSum, Guarantee, LedgerSink, Regime, Secrecy, Sensitive, Spender,
    accounting::{AccountantKind, Event, gaussian_epsilon},
    noise_delta,
};

/// Pairs, parameters of each, units of a batch.
const SMALL: (usize, usize, usize) = (35, 1_320, 640);
/// 5.6 million numbers: an adapter of rank 16 on a model of about a billion parameters.
const LARGE: (usize, usize, usize) = (64, 87_500, 256);
/// Units that a worker has at a time: one whose passages fill a micro-batch, and some short ones.
const TOGETHER: [usize; 2] = [1, 4];
const TURNS: usize = 11;

struct Nowhere;

impl LedgerSink for Nowhere {
    fn append(&mut self, _line: &str) -> io::Result<()> {
        Ok(())
    }
}

/// One step at noise multiplier 1 over everybody.
fn claim((pairs, size, units): (usize, usize, usize)) -> Claim {
    let (delta, coordinates) = (1e-5, (pairs * size) as u64);
    Claim {
        target_epsilon: 1.01 * gaussian_epsilon(1.0, 0.9 * delta),
        delta,
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
        sampling_rate: 1.0,
        expected_batch_size: units as f64,
        steps: 1,
        noise_coordinates: coordinates,
        noise_delta: noise_delta(6.0, delta, coordinates, 1).expect("a small reserve"),
        regime: Regime::Committed { segments: vec![Event::new(1.0, 1.0, 1)], accountant: AccountantKind::Pld },
        guarantee: Guarantee::Holds,
    }
}

/// Seconds to clip and add up a batch by `workers`, joined, each of which has `together` units at a time.
fn seconds(shape: (usize, usize, usize), together: usize, workers: usize) -> f64 {
    let (pairs, size, units) = shape;
    let mut spender = Spender::open(claim(shape), Box::new(Nowhere)).expect("a sound claim");
    let charge = spender.charge(1.0, Secrecy::Secret).expect("a ledger in memory").expect("the planned noise");
    let allocation =
        Allocation::pair_wise(vec![0.01; pairs], vec![1.0 / pairs as f64; pairs], 0.0).expect("even shares");
    let mut sum = ClippedSum::new(charge, &vec![size; pairs], allocation, None, units).expect("a small sum");
    let gradient: Vec<f32> = (0..together * pairs * size).map(|i| (i as f32).sin()).collect();
    let gradients = vec![gradient; workers];
    let start = Instant::now();
    let parts: Vec<_> = gradients.iter().map(|gradient| (sum.partial(), gradient)).collect();
    let parts = thread::scope(|scope| {
        let fill = |(mut part, gradient): (rldp_privacy::PartialSum, &Vec<f32>)| {
            for _ in 0..units / workers / together {
                let unit = |gradient| (Sensitive::new(gradient), Sensitive::new(1.0));
                part.add_units(&gradient.chunks_exact(pairs * size).map(unit).collect::<Vec<_>>());
            }
            part
        };
        let running: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || fill(part))).collect();
        running.into_iter().map(|worker| worker.join().expect("no worker panics")).collect::<Vec<_>>()
    });
    parts.into_iter().for_each(|part| sum.absorb(part).expect("parts of one frame"));
    start.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let workers = std::env::args().nth(1).map_or(2, |count| count.parse().expect("a number of workers"));
    for (shape, together) in [SMALL, LARGE].into_iter().flat_map(|shape| TOGETHER.map(|together| (shape, together))) {
        let (pairs, size, units) = shape;
        let nanoseconds = |seconds: f64| 1e9 * seconds / (pairs * size * units) as f64;
        let (mut alone, mut shared, mut gains) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let (one, several) = (seconds(shape, together, 1), seconds(shape, together, workers));
            alone.push(nanoseconds(one));
            shared.push(nanoseconds(several));
            gains.push(one / several);
        }
        println!(
            "{} numbers, {together} units at a time: {:.2} ns a number with 1 worker ({:.2} at least), {:.2} with {workers} ({:.2} at least); {:.2} times as fast ({:.2} to \
             {:.2} over {TURNS} turns)",
            pairs * size,
            median(&mut alone),
            alone[0],
            median(&mut shared),
            shared[0],
            median(&mut gains),
            gains[0],
            gains[TURNS - 1]
        );
    }
}
