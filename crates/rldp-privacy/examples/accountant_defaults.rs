//! The number behind each default of the accountants, over the 80 (q, z, T) points of `accountant_speed`.
//!
//! Prints a markdown table of PLD grids (gap between the upper and the lower bound, time, what is charged for errors)
//! and what a list of orders costs RDP against the continuum.

use std::time::Instant;

use rldp_privacy::accounting::{Accountant, Event, PldAccountant, RdpAccountant, rdp, tight_epsilon};

const DELTAS: [f64; 3] = [1e-5, 1e-6, 1e-8];

fn points() -> Vec<Event> {
    let pairs = [0.001, 0.01, 0.05, 0.2].into_iter().flat_map(|q| [0.5, 0.7, 1.0, 2.0, 4.0].map(|z| (q, z)));
    pairs.flat_map(|(q, z)| [1, 100, 1000, 10_000].map(|steps| Event::new(q, z, steps))).collect()
}

#[allow(clippy::print_stdout)]
fn grids() {
    println!(
        "| resolution | seconds | median gap | largest gap, T ≥ 100 | largest gap, T = 1 | most charged / delta |"
    );
    println!("|---|---|---|---|---|---|");
    for resolution in [0.16, 0.08, 0.04, 0.02, 0.01] {
        let pld = PldAccountant::with_resolution(resolution).expect("in range");
        let start = Instant::now();
        for point in points() {
            pld.epsilons(&[point], &DELTAS).expect("in scope");
        }
        let seconds = start.elapsed().as_secs_f64();
        let (mut gaps, mut one, mut charged) = (Vec::new(), 0.0_f64, 0.0_f64);
        for (point, delta) in points().into_iter().flat_map(|point| DELTAS.map(|delta| (point, delta))) {
            let bounds = pld.bounds(&[point], delta).expect("in scope");
            charged = charged.max(bounds.charged_delta / delta);
            if bounds.upper > 0.0 {
                let gap = bounds.upper / bounds.lower - 1.0;
                if point.steps == 1 { one = one.max(gap) } else { gaps.push(gap) }
            }
        }
        gaps.sort_by(f64::total_cmp);
        let (median, largest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
        println!("| {resolution} | {seconds:.2} | {median:.1e} | {largest:.1e} | {one:.1e} | {charged:.1e} |");
    }
}

/// Whole orders from 2 to 64, and a few beyond, as a short list would have them.
fn listed() -> Vec<f64> {
    (2..=64).map(f64::from).chain([80.0, 96.0, 128.0, 256.0, 512.0]).collect()
}

#[allow(clippy::print_stdout)]
fn orders() {
    let (mut excess, mut lowest, mut highest) = (Vec::new(), f64::INFINITY, 0.0_f64);
    for (point, delta) in points().into_iter().flat_map(|point| DELTAS.map(|delta| (point, delta))) {
        let (best, order) = RdpAccountant.epsilon_and_order(&[point], delta).expect("in scope");
        (lowest, highest) = (lowest.min(order), highest.max(order));
        let at = |order: f64| {
            let one = rdp(point.sampling_rate, point.noise_multiplier, order).expect("in scope");
            tight_epsilon(order, one * point.steps as f64, delta)
        };
        excess.push(listed().into_iter().map(at).fold(f64::INFINITY, f64::min) / best - 1.0);
    }
    excess.sort_by(f64::total_cmp);
    let (median, ninth, largest) = (excess[excess.len() / 2], excess[excess.len() * 9 / 10], excess[excess.len() - 1]);
    println!(
        "\nRDP: best orders lie between {lowest:.4} and {highest:.1}. A list of whole orders 2..64, 80, 96, 128, 256, 512"
    );
    println!(
        "costs a relative {median:.1e} (median), {ninth:.1e} (nine in ten), {largest:.1e} (largest) more epsilon."
    );
}

fn main() {
    grids();
    orders();
}
