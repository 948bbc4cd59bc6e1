//! What noise of 1 to 16 bands leaves in the iterates of a run, against noise of every step's own:
//! `cargo run --release -p rldp-privacy --example bands -- EPSILON SAMPLING_RATE STEPS`, at δ = 1e-5.

#![allow(clippy::print_stdout, clippy::expect_used)]

use rldp_privacy::{
    Bands,
    accounting::{AccountantKind, calibrate_noise_multiplier},
};

fn main() {
    let numbers: Vec<f64> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let [epsilon, rate, steps] = numbers.try_into().expect("epsilon, sampling rate, steps");
    println!(
        "bands, noise multiplier, noise of a step, noise left in the iterates (the last two over those of one band)"
    );
    let mut plain = None;
    for count in [1, 2, 4, 8, 16] {
        let rounds = (steps as u64).div_ceil(count);
        let found = calibrate_noise_multiplier(AccountantKind::Pld, epsilon, 1e-5, rate * count as f64, rounds);
        let z = found.expect("a reachable target").noise_multiplier;
        let bands = Bands::new(count).expect("up to sixteen bands");
        let (step, left) = (z * bands.deviation(), z * bands.noise_of_iterates(steps as usize));
        let (one_step, one_left) = *plain.get_or_insert((step, left));
        println!("{count}, {z:.3}, {:.2}, {:.2}", step / one_step, left / one_left);
    }
}
