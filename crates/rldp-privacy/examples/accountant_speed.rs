//! Times the accountants on the 80 (q, z, T) points of the reference grid: q of {0.001, 0.01, 0.05, 0.2}, z of
//! {0.5, 0.7, 1, 2, 4}, T of {1, 100, 1000, 10000}, epsilon at deltas 1e-5, 1e-6 and 1e-8 each, on one thread.

use std::time::Instant;

use rldp_privacy::accounting::{Accountant, Event, PldAccountant, RdpAccountant};

/// The deltas of the reference grid.
const DELTAS: [f64; 3] = [1e-5, 1e-6, 1e-8];

#[allow(clippy::print_stdout)]
fn main() {
    let points: Vec<Event> = [0.001, 0.01, 0.05, 0.2]
        .iter()
        .flat_map(|&q| [0.5, 0.7, 1.0, 2.0, 4.0].iter().map(move |&z| (q, z)))
        .flat_map(|(q, z)| [1, 100, 1000, 10000].iter().map(move |&steps| Event::new(q, z, steps)))
        .collect();
    let verbose = std::env::args().any(|argument| argument == "--verbose");
    for accountant in [&PldAccountant::default() as &dyn Accountant, &RdpAccountant] {
        let start = Instant::now();
        let mut slowest = (0.0, None);
        for point in &points {
            let before = Instant::now();
            let epsilons = accountant.epsilons(&[*point], &DELTAS).expect("the grid is inside every scope");
            let seconds = before.elapsed().as_secs_f64();
            if seconds > slowest.0 {
                slowest = (seconds, Some(*point));
            }
            if verbose {
                println!("{point:?} {epsilons:?} {:.2} ms", 1e3 * seconds);
            }
        }
        let total = start.elapsed().as_secs_f64();
        println!("{}: {} points, {} deltas each: {total:.3} s", accountant.name(), points.len(), DELTAS.len());
        if let (seconds, Some(point)) = slowest {
            println!("  slowest {:.1} ms at {point:?}", 1e3 * seconds);
        }
    }
}
