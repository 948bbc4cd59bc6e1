//! Noise with bands: what a unit moves in a whole window, and what the noise is.

use proptest::{collection::vec, prelude::*};

use super::{
    tests::{SIZES, energy, pair_wise, spec, sum_of, unit},
    *,
};
use crate::bands::Bands;

/// A step of noise with four bands, of the run `run`.
fn banded(step: u64, run: u64, units: &[(Vec<f32>, f64)]) -> ClippedSum {
    let charge = Charge::for_test_of(0.7, 18, 4, step, run);
    let mut sum = ClippedSum::new(charge, &SIZES, pair_wise(), Some(spec()), 1000).unwrap();
    for (gradient, loss) in units {
        sum.add_unit(Sensitive::new(gradient), Sensitive::new(*loss));
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// What a unit adds to one step moves all the integers that get noise, in that step and the three after it, by no more than one
    /// step's bound in L2, and nothing later; whoever else is there.
    #[test]
    fn a_unit_moves_a_whole_window_within_one_bound(units in vec(unit(), 0..3), one in unit(), steps in 5_u64..8) {
        let integers = |with: bool| {
            let mut past = Past::default();
            let mut rows = Vec::new();
            for step in 1..=steps {
                let here: Vec<_> = units.iter().cloned().chain((with && step == 1).then(|| one.clone())).collect();
                let sum = banded(step, 0, &here);
                let bands = &sum.bands;
                past.begin(bands, sum.run, sum.step).unwrap();
                let (_, totals) = sum.total.into_totals();
                let (weighted, kept) = past.weighted(bands, totals.sum);
                rows.push([weighted, totals.statistic].concat());
                past.keep(bands, sum.run, sum.step, kept, vec![0.0; 8]);
            }
            rows
        };
        let moved: Vec<Vec<i64>> =
            integers(true).iter().zip(integers(false)).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a.wrapping_sub(b)).collect()).collect();
        let energies: f64 = moved.iter().map(|row| energy(row) as f64).sum();
        let joint = energies / SPACINGS_PER_DEVIATION.powi(2);
        prop_assert!(joint <= 1.0 / (0.7 * 0.7) * (1.0 + 1e-15), "{joint}");
        prop_assert!(moved[4..].iter().flatten().all(|value| *value == 0));
    }
}

/// What steps put out in deviations of their own noise has deviation 1 on every coordinate and nothing in common with the steps before, bands or
/// not. Of 2,000 runs of six empty steps, two tests of means over 96,000 numbers for each, each off by five deviations once in two million.
#[test]
fn whitened_releases_are_white() {
    let mut noise = NoiseSource::unsafe_seeded(22);
    let one = |step: u64, run: u64| {
        let charge = Charge::for_test_of(0.7, 18, 1, step, run);
        ClippedSum::new(charge, &SIZES, pair_wise(), Some(spec()), 1000).unwrap()
    };
    for four in [true, false] {
        let (mut energy, mut shared, mut count) = (0.0, 0.0, 0.0);
        for run in 0..2000 {
            let (mut past, mut before) = (Past::default(), vec![0.0_f32; 8]);
            for step in 1..=6 {
                let sum = if four { banded(step, run, &[]) } else { one(step, run) };
                let whitened = sum.release(&mut noise, &mut past, 1.0).unwrap().whitened.into_inner();
                let product = |a: &[f32]| whitened.iter().zip(a).map(|(w, a)| f64::from(w * a)).sum::<f64>();
                energy += product(&whitened);
                shared += product(&before);
                count += whitened.len() as f64;
                before = whitened;
            }
        }
        assert!((energy / count - 1.0).abs() < 5.0 * (2.0_f64 / count).sqrt(), "{}", energy / count);
        assert!((shared / count).abs() < 5.0 / count.sqrt(), "{}", shared / count);
    }
}

/// Without noise each release is its own step's mean, whatever came before, up to the rounding of f32.
#[test]
fn bands_leave_the_gradients_as_they_are() {
    let units: Vec<_> =
        (0..6).map(|i| (vec![0.1 * i as f32, -0.2, 0.05, 0.0, 0.1, 1.0, -0.5 * i as f32, 0.2], 1.0)).collect();
    let (mut silent, mut past) = (NoiseSource::unsafe_silent(), Past::default());
    for step in 1..=6 {
        let batch = &units[..step];
        let release = banded(step as u64, 0, batch).release(&mut silent, &mut past, 4.0).unwrap();
        let plain = sum_of(pair_wise(), 0.7, batch).release(&mut silent, &mut Past::default(), 4.0).unwrap();
        for (a, b) in release.mean_gradient.get().iter().zip(plain.mean_gradient.get()) {
            assert!((a - b).abs() < 1e-5, "step {step}: {a} against {b}");
        }
        assert_eq!(release.statistics.unwrap().mean_loss.get(), plain.statistics.unwrap().mean_loss.get());
        assert!(release.noise_std[0] > plain.noise_std[0]);
    }
}

/// Of 4,000 runs of seven empty steps: the energy of each step's noise, its correlation with the step before, and how little of it is
/// left in the sum, are what is said. 19 tests of means over 32,000 numbers or more, each off by five deviations once in two million.
#[test]
fn noise_with_bands_is_what_it_says() {
    let (runs, steps) = (4_000_u64, 7);
    let mut noise = NoiseSource::unsafe_seeded(21);
    let (mut energies, mut products, mut left) = (vec![0.0; steps], vec![0.0; steps], 0.0);
    let (mut stds, mut correlations) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let (mut past, mut before, mut total) = (Past::default(), vec![0.0_f64; 8], vec![0.0_f64; 8]);
        (stds, correlations) = (Vec::new(), Vec::new());
        for step in 0..steps {
            let release = banded(step as u64 + 1, run, &[]).release(&mut noise, &mut past, 1.0).unwrap();
            let std = |at: usize| release.noise_std[usize::from(at >= 5)];
            let now: Vec<f64> =
                release.mean_gradient.get().iter().enumerate().map(|(at, g)| f64::from(*g) / std(at)).collect();
            energies[step] += now.iter().map(|n| n * n).sum::<f64>();
            products[step] += now.iter().zip(&before).map(|(n, b)| n * b).sum::<f64>();
            for (at, total) in total.iter_mut().enumerate() {
                *total += now[at] * std(at) / pair_wise().noise_std(0.7, usize::from(at >= 5));
            }
            stds.push(release.noise_std[0]);
            correlations.push(release.noise_correlation);
            before = now;
        }
        left += total.iter().map(|t| t * t).sum::<f64>();
    }
    let count = (runs * 8) as f64;
    let bands = Bands::new(4).unwrap();
    for step in 0..steps {
        assert!(
            (energies[step] / count - 1.0).abs() < 5.0 * (2.0 / count).sqrt(),
            "step {step}: {}",
            energies[step] / count
        );
        let correlation = products[step] / count;
        assert!((correlation - correlations[step]).abs() < 5.0 / count.sqrt(), "step {step}: {correlation}");
        assert!((stds[step] / (pair_wise().noise_std(0.7, 0) * bands.noise_of(step).0) - 1.0).abs() < 1e-9);
    }
    assert!(correlations[0] == 0.0 && correlations[1..].iter().all(|c| (-0.5..-0.2).contains(c)), "{correlations:?}");
    // Of the sum over s ≤ T: Σ_s (Σ_(i ≤ T − s) d_i)².
    let mut sums = 0.0;
    let mut kept = 0.0;
    for i in 0..steps {
        sums += inverse(i);
        kept += sums * sums;
    }
    assert!((left / count / kept - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{} against {kept}", left / count);
    assert!(kept < 0.6 * steps as f64);
}

/// d_i of four bands, from the weights.
fn inverse(i: usize) -> f64 {
    let c = Bands::new(4).unwrap().fractions();
    let mut d = vec![1.0 / c[0]];
    for t in 1..=i {
        d.push(-(1..=t.min(3)).map(|j| c[j] * d[t - j]).sum::<f64>() / c[0]);
    }
    d[i]
}

#[test]
fn a_gap_begins_anew_and_another_runs_past_is_refused() {
    let mut noise = NoiseSource::unsafe_seeded(1);
    let mut past = Past::default();
    for step in 1..=3 {
        let release = banded(step, 7, &[]).release(&mut noise, &mut past, 1.0).unwrap();
        assert_eq!(release.noise_correlation < 0.0, step > 1);
    }
    let after_a_gap = banded(5, 7, &[]).release(&mut noise, &mut past, 1.0).unwrap();
    assert_eq!(after_a_gap.noise_correlation, 0.0);
    let error = banded(6, 8, &[]).release(&mut noise, &mut past, 1.0).unwrap_err().to_string();
    assert!(error.contains("another run"), "{error}");
}
