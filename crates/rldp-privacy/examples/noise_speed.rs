//! Times the noise sampler on one core: milliseconds for a million coordinates, or for as many as are named, least and median of 21 runs.

use std::time::Instant;

use rldp_privacy::NoiseSource;

#[allow(clippy::print_stdout)]
fn main() {
    let named: Vec<usize> =
        std::env::args().skip(1).map(|word| word.parse().expect("a number of coordinates")).collect();
    let mut noise = NoiseSource::os().expect("the operating system has randomness");
    let start = Instant::now();
    noise.perturb(&mut [0]);
    println!("tables: {:.2} ms, once", 1e3 * start.elapsed().as_secs_f64());
    for count in if named.is_empty() { vec![1_000_000] } else { named } {
        let mut values = vec![0_i64; count];
        let mut times: Vec<f64> = (0..21)
            .map(|_| {
                let start = Instant::now();
                noise.perturb(&mut values);
                1e3 * start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{count} coordinates: {:.2} ms at least, {:.2} ms in the median", times[0], times[10]);
        println!("(of the values, so that nothing is optimised away: {})", values.iter().fold(0, |a, b| a ^ b));
    }
}
