//! Statistical tests of the sampler. Each states how often a perfect sampler would fail it; seeds are fixed, so a test
//! that passes once passes always.

use std::f64::consts::SQRT_2;

use super::*;

const DRAWS: usize = 4_000_000;

fn draws(seed: u64, count: usize) -> Vec<i64> {
    let mut values = vec![0; count];
    NoiseSource::unsafe_seeded(seed).perturb(&mut values);
    values
}

fn in_deviations(draw: i64) -> f64 {
    (draw as f64 + 0.5) / SPACINGS_PER_DEVIATION
}

/// The standard normal distribution function.
fn normal_below(x: f64) -> f64 {
    0.5 * libm::erfc(-x / SQRT_2)
}

/// Asserts that χ² of `counts` against `expected` lies within 6 deviations of its mean by the Wilson-Hilferty cube
/// root, on both sides: false alarm about 2e-9.
fn assert_chi_square(counts: &[u64], expected: impl Fn(usize) -> f64) {
    let cells =
        counts.iter().enumerate().map(|(cell, &count)| (count as f64 - expected(cell)).powi(2) / expected(cell));
    let freedom = (counts.len() - 1) as f64;
    let spread = 2.0 / (9.0 * freedom);
    let score = ((cells.sum::<f64>() / freedom).cbrt() - (1.0 - spread)) / spread.sqrt();
    assert!(score.abs() < 6.0, "χ² lies {score} deviations off its mean at {freedom} degrees of freedom");
}

/// False alarm 4 · 2e-9: each moment within 6 of its standard errors.
#[test]
fn moments_are_those_of_the_normal() {
    let draws = draws(1, DRAWS);
    // E N^2p for p up to 8, for the standard errors.
    let moment = |power: i32| (1..=power / 2).map(|i| f64::from(2 * i - 1)).product::<f64>();
    for power in 1..=4 {
        let mean = draws.iter().map(|&draw| in_deviations(draw).powi(power)).sum::<f64>() / DRAWS as f64;
        let exact = if power % 2 == 0 { moment(power) } else { 0.0 };
        let error = ((moment(2 * power) - exact * exact) / DRAWS as f64).sqrt();
        assert!((mean - exact).abs() < 6.0 * error, "moment {power} is {mean}, not {exact} within {error}");
    }
}

/// χ² over 1024 cells of equal probability, and at the strips' edges; false alarm 2 · 2e-9.
#[test]
fn the_distribution_is_normal_in_equal_cells_and_in_strips() {
    let draws = draws(2, DRAWS);
    let mut equal = vec![0; 1024];
    // 48 strips of 1/64 a side, the rest in the outermost cells.
    let mut strips = vec![0_u64; 400];
    for &draw in &draws {
        let x = in_deviations(draw);
        equal[(normal_below(x) * 1024.0) as usize] += 1;
        strips[((x * 64.0).floor() + 200.0).clamp(0.0, 399.0) as usize] += 1;
    }
    assert_chi_square(&equal, |_| DRAWS as f64 / 1024.0);
    let edge = |cell: usize| match cell {
        0 => 0.0,
        400 => 1.0,
        _ => normal_below((cell as f64 - 200.0) / 64.0),
    };
    assert_chi_square(&strips, |cell| DRAWS as f64 * (edge(cell + 1) - edge(cell)));
}

/// Kolmogorov-Smirnov: √n·D above 2.8 has probability 2·e^(-2·2.8²) = 3e-7.
#[test]
fn the_distribution_passes_kolmogorov_smirnov() {
    let mut draws = draws(3, DRAWS);
    draws.sort_unstable();
    let count = DRAWS as f64;
    let distance = draws.iter().enumerate().fold(0.0_f64, |worst, (i, &draw)| {
        let exact = normal_below(in_deviations(draw));
        worst.max((exact - i as f64 / count).abs()).max((exact - (i + 1) as f64 / count).abs())
    });
    assert!(distance * count.sqrt() < 2.8, "√n·D is {}", distance * count.sqrt());
}

/// χ² of the lowest 12 bits, of bits 14 to 25 (the rest of a strip's offset) and of the sign with the lowest bits;
/// false alarm 3 · 2e-9. Without uniform low bits the noise would not cover the sum's.
#[test]
fn low_bits_are_uniform() {
    let draws = draws(4, DRAWS);
    for shift in [0, 14] {
        let mut counts = vec![0; 4096];
        for &draw in &draws {
            counts[(draw >> shift) as usize & 4095] += 1;
        }
        assert_chi_square(&counts, |_| DRAWS as f64 / 4096.0);
    }
    let mut counts = vec![0; 2048];
    for &draw in &draws {
        counts[(draw & 1023) as usize | if draw < 0 { 1024 } else { 0 }] += 1;
    }
    assert_chi_square(&counts, |_| DRAWS as f64 / 2048.0);
}

/// Neighbouring draws: 32 by 32 cells of equal probability; false alarm 2e-9.
#[test]
fn neighbouring_draws_are_independent() {
    let mut counts = vec![0; 1024];
    for pair in draws(5, DRAWS).chunks_exact(2) {
        let [a, b] = [pair[0], pair[1]].map(|draw| (normal_below(in_deviations(draw)) * 32.0) as usize);
        counts[32 * a + b] += 1;
    }
    assert_chi_square(&counts, |_| DRAWS as f64 / 2048.0);
}

/// The number beyond 4 deviations is binomial with mean 253; within 6 of its deviations, false alarm below 1e-7.
#[test]
fn the_tail_has_its_mass() {
    let count = draws(6, DRAWS).iter().filter(|&&draw| in_deviations(draw).abs() > 4.0).count() as f64;
    let mean = 2.0 * normal_below(-4.0) * DRAWS as f64;
    assert!((count - mean).abs() < 6.0 * mean.sqrt(), "{count} draws, {mean} expected");
}

#[test]
fn a_seed_fixes_the_noise_and_is_not_secret() {
    assert_eq!(draws(7, 1000), draws(7, 1000));
    assert_ne!(draws(7, 1000), draws(8, 1000));
    assert_eq!(NoiseSource::unsafe_seeded(1).secrecy(), Secrecy::Known);
    assert_eq!(NoiseSource::os().unwrap().secrecy(), Secrecy::Secret);
}

#[test]
fn noise_wraps_instead_of_failing() {
    let mut values = [i64::MAX, i64::MIN, i64::MAX, i64::MIN];
    NoiseSource::unsafe_seeded(1).perturb(&mut values);
    assert!(values.iter().all(|value| value.wrapping_sub(i64::MAX).unsigned_abs() < 1 << 37));
}
