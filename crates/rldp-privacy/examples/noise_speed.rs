//! Times the noise sampler on one core: milliseconds per million coordinates, least and median of 21 runs.

use std::time::Instant;

use rldp_privacy::NoiseSource;

#[allow(clippy::print_stdout)]
fn main() {
    let mut noise = NoiseSource::os().expect("the operating system has randomness");
    let mut values = vec![0_i64; 1_000_000];
    let start = Instant::now();
    noise.perturb(&mut values[..1]);
    println!("tables: {:.2} ms, once", 1e3 * start.elapsed().as_secs_f64());
    let mut times: Vec<f64> = (0..21)
        .map(|_| {
            let start = Instant::now();
            noise.perturb(&mut values);
            1e3 * start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("one million coordinates: {:.2} ms at least, {:.2} ms in the median", times[0], times[10]);
    println!("(sum of the values, so that nothing is optimised away: {})", values.iter().fold(0, |a, b| a ^ b));
}
