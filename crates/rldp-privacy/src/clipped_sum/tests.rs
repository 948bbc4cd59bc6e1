//! The integers' sensitivity, exactness of the sum, and the round trip through noise.

use proptest::{collection::vec, prelude::*};

use super::{
    grid::{add_truncated, truncate, truncate_small},
    *,
};

use crate::scaling::Scaling;

pub(super) const SIZES: [usize; 2] = [5, 3];

pub(super) fn spec() -> StatisticSpec {
    StatisticSpec { loss_low: 0.0, loss_high: 4.0, norms: None }
}

pub(super) fn pair_wise() -> Allocation {
    Allocation::pair_wise(vec![0.5, 2.0], vec![0.6, 0.38], 0.02).unwrap()
}

fn normalized() -> [Allocation; 2] {
    [pair_wise(), joint()].map(|allocation| allocation.with_scaling(Scaling::Normalize))
}

fn all() -> impl Iterator<Item = Allocation> {
    [pair_wise(), joint()].into_iter().chain(normalized())
}

fn joint() -> Allocation {
    Allocation::joint(vec![0.5, 2.0], 0.02).unwrap()
}

/// The same with a histogram of norms.
fn binned() -> StatisticSpec {
    StatisticSpec { norms: Some(NormBins::logarithmic(1.0, 16.0, 6)), ..spec() }
}

pub(super) fn sum_of(allocation: Allocation, z: f64, units: &[(Vec<f32>, f64)]) -> ClippedSum {
    sum_with(spec(), allocation, z, units)
}

fn sum_with(spec: StatisticSpec, allocation: Allocation, z: f64, units: &[(Vec<f32>, f64)]) -> ClippedSum {
    let mut sum = ClippedSum::new(Charge::for_test(z, 18), &SIZES, allocation, Some(spec), 1000).unwrap();
    for (gradient, loss) in units {
        sum.add_unit(Sensitive::new(gradient), Sensitive::new(*loss));
    }
    sum
}

/// All integers of a sum: gradient, then statistic.
pub(super) fn integers(sum: &ClippedSum) -> Vec<i64> {
    sum.total.to_wire()
}

/// Exact Σ x² over the values.
pub(super) fn energy(values: &[i64]) -> u128 {
    values.iter().map(|value| u128::from(value.unsigned_abs()).pow(2)).sum()
}

/// Magnitudes from denormal to the largest, zeros, and what is no number.
fn adversarial() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -3.0_f32..3.0,
        2 => any::<u32>().prop_map(f32::from_bits),
        1 => prop_oneof![
            Just(0.0), Just(-0.0), Just(f32::MIN_POSITIVE), Just(f32::from_bits(1)), Just(f32::MAX), Just(f32::MIN),
            Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY),
        ],
    ]
}

/// Finite values of all magnitudes, so that most units count.
fn finite() -> impl Strategy<Value = f32> {
    adversarial().prop_map(|value| if value.is_finite() { value } else { 1.5 })
}

pub(super) fn unit() -> impl Strategy<Value = (Vec<f32>, f64)> {
    let gradient = prop_oneof![vec(adversarial(), 8), vec(finite(), 8), vec(-0.1_f32..0.1, 8)];
    (gradient, prop_oneof![9 => -1.0..9.0, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)])
}

/// Asserts that `moved`, the integers of one unit, stay within each pair's clip norm and the joint sensitivity.
fn assert_within_sensitivity(allocation: &Allocation, z: f64, moved: &[i64]) -> Result<(), TestCaseError> {
    let deviations: Vec<f64> = (0..2).map(|k| allocation.noise_std(z, k)).collect();
    let energies = [energy(&moved[..5]), energy(&moved[5..8])];
    for k in 0..2 {
        let largest = allocation.clip_norm(k) / (deviations[k] / SPACINGS_PER_DEVIATION);
        prop_assert!(energies[k] as f64 <= largest * largest * (1.0 + 1e-15), "pair {k}: {energies:?}");
    }
    // In noise deviations: every coordinate's noise has 2^32 steps.
    let joint = energy(moved) as f64 / SPACINGS_PER_DEVIATION.powi(2);
    prop_assert!(joint <= (1.0 / (z * z)) * (1.0 + 1e-15), "{joint} at z = {z}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn truncation_never_increases_a_magnitude_or_a_norm(values in vec(finite(), 1..20), step in 1e-30_f64..10.0) {
        let mut sum = vec![0; values.len()];
        let largest = values.iter().fold(0.0_f64, |most, value| most.max(f64::from(value.abs())));
        // As in use: no product beyond 2^42 steps.
        let step = step.max(largest / (1_u64 << 42) as f64);
        add_truncated(&mut sum, &values, 1.0, step, true);
        let mut plainly = vec![0; values.len()];
        add_truncated(&mut plainly, &values, 1.0, step, false);
        prop_assert_eq!(&sum, &plainly);
        for (integer, value) in sum.iter().zip(&values) {
            prop_assert!(integer.unsigned_abs() as f64 <= f64::from(value.abs()) * (1.0 / step));
            prop_assert!(*integer == 0 || (*integer > 0) == (*value > 0.0));
        }
    }

    #[test]
    fn truncation_goes_toward_zero(value in prop_oneof![-1e12_f64..1e12, -2e15_f64..2e15, -3.0_f64..3.0]) {
        prop_assert_eq!(truncate(value) as f64, value.trunc());
        prop_assert_eq!(truncate_small(value), truncate(value));
    }

    #[test]
    fn one_unit_moves_the_integers_by_at_most_the_sensitivity(
        others in vec(unit(), 0..4),
        added in unit(),
        z in prop_oneof![1e-3_f64..0.1, 0.1_f64..10.0, 10.0_f64..1e9],
    ) {
        for (allocation, spec) in all().flat_map(|allocation| [(allocation.clone(), spec()), (allocation, binned())]) {
            let without = integers(&sum_with(spec.clone(), allocation.clone(), z, &others));
            let mut all = others.clone();
            all.push(added.clone());
            let with = integers(&sum_with(spec, allocation.clone(), z, &all));
            let moved: Vec<i64> = with.iter().zip(&without).map(|(a, b)| a - b).collect();
            assert_within_sensitivity(&allocation, z, &moved)?;
            if added.0.iter().any(|value| !value.is_finite()) || !added.1.is_finite() {
                prop_assert!(moved[..8].iter().all(|value| *value == 0));
            }
        }
    }

    #[test]
    fn sums_do_not_depend_on_order_or_splitting(
        (units, shuffled) in vec(unit(), 1..12).prop_flat_map(|units| {
            (Just(units.clone()), Just(units).prop_shuffle())
        }),
        cut in 0_usize..12,
    ) {
        for allocation in all() {
            let whole = sum_of(allocation.clone(), 1.0, &units);
            let mut split = sum_of(allocation, 1.0, &[]);
            let (first, second) = shuffled.split_at(cut.min(units.len()));
            let parts = [second, first].map(|part| {
                let mut partial = split.partial();
                for (gradient, loss) in part {
                    partial.add_unit(Sensitive::new(gradient), Sensitive::new(*loss));
                }
                partial
            });
            for part in parts {
                split.absorb(part).unwrap();
            }
            prop_assert_eq!(integers(&whole), integers(&split));
            let release = |sum: ClippedSum| {
                let released = sum.release(&mut NoiseSource::unsafe_seeded(3), &mut Past::default(), 4.0).unwrap();
                released.mean_gradient.into_inner().iter().map(|value| value.to_bits()).collect::<Vec<_>>()
            };
            prop_assert_eq!(release(whole), release(split));
        }
    }
}

/// A gradient that floating-point summation in another order would sum differently.
#[test]
fn cancelling_giants_leave_nothing() {
    let allocation = Allocation::pair_wise(vec![1e6, 1e6], vec![0.5, 0.5], 0.0).unwrap();
    let sum_in = |order: [f32; 3]| {
        let mut sum = ClippedSum::new(Charge::for_test(1.0, 8), &SIZES, allocation.clone(), None, 10).unwrap();
        for value in order {
            sum.add_unit(Sensitive::new(&[value; 8]), Sensitive::new(1.0));
        }
        integers(&sum)
    };
    assert_eq!(sum_in([3e5, 0.1, -3e5]), sum_in([3e5, -3e5, 0.1]));
    assert_eq!(sum_in([3e5, 0.1, -3e5]), sum_in([0.1, 3e5, -3e5]));
}

#[test]
fn a_clipped_unit_keeps_almost_all_of_its_norm() {
    let sum = sum_of(pair_wise(), 1.0, &[(vec![10.0; 8], 1.0)]);
    let norm = (energy(&integers(&sum)[..5]) as f64).sqrt() * sum.total.frame.grid.spacings[0];
    assert!((norm / 0.5 - 1.0).abs() < 1e-8, "{norm}");
}

#[test]
fn sums_that_could_leave_64_bits_are_refused() {
    let begin = |z: f64, most_units: usize| {
        ClippedSum::new(Charge::for_test(z, 12), &SIZES, pair_wise(), Some(spec()), most_units)
    };
    assert!(begin(1e-3, 1 << 19).is_ok());
    assert!(begin(1.0, 1 << 29).is_ok());
    for (z, most_units) in [(1e-3, 1 << 22), (1.0, 1 << 31), (1.0, usize::MAX)] {
        let refused = begin(z, most_units).err().expect("too many units").to_string();
        assert!(refused.contains("2^62") && refused.contains("use at most"), "{refused}");
    }
}

#[test]
fn numbers_that_rounding_could_not_be_bounded_for_are_refused() {
    for clip in [1e-200, 1e200] {
        let allocation = Allocation::pair_wise(vec![0.5, clip], vec![0.5, 0.5], 0.0).unwrap();
        let refused = ClippedSum::new(Charge::for_test(1.0, 8), &SIZES, allocation, None, 10).err().unwrap();
        assert!(refused.to_string().contains("between 1e-150 and 1e150"), "{refused}");
    }
}

#[test]
fn more_draws_than_the_claim_pays_for_are_refused() {
    let refused = ClippedSum::new(Charge::for_test(1.0, 11), &SIZES, pair_wise(), Some(spec()), 10).err().unwrap();
    assert!(refused.to_string().contains("12 numbers"), "{refused}");
}

/// Frames are compared by value: a part may come from anywhere, as long as it was summed by the same public rule.
#[test]
fn a_partial_sum_of_the_same_frame_is_taken_and_of_another_is_not() {
    let unit = (vec![0.25; 8], 1.0);
    let mut sum = sum_of(pair_wise(), 1.0, &[]);
    let bytes = rmp_serde::to_vec(&**sum.frame()).unwrap();
    let frame: Frame = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(&frame, &**sum.frame());
    let mut elsewhere = PartialSum::new(Arc::new(frame));
    elsewhere.add_unit(Sensitive::new(&unit.0), Sensitive::new(unit.1));
    let sent = elsewhere.to_wire();
    let back = PartialSum::from_wire(Arc::clone(sum.frame()), sent.clone()).unwrap();
    sum.absorb(back).unwrap();
    sum.absorb(sum.partial()).unwrap();
    assert_eq!(integers(&sum), integers(&sum_of(pair_wise(), 1.0, std::slice::from_ref(&unit))));
    sum.absorb(PartialSum::from_wire(Arc::clone(sum.frame()), sent).unwrap()).unwrap();
    assert_eq!(integers(&sum), integers(&sum_of(pair_wise(), 1.0, &[unit.clone(), unit])));
    for other in [sum_of(pair_wise(), 1.5, &[]), sum_of(joint(), 1.0, &[]), sum_with(binned(), pair_wise(), 1.0, &[])] {
        let error = sum.absorb(other.partial()).unwrap_err().to_string();
        assert!(error.contains("another frame"), "{error}");
    }
    assert!(PartialSum::from_wire(Arc::clone(sum.frame()), vec![0; 11]).is_err());
}

/// What arrives from elsewhere is checked before it is used as an index.
#[test]
fn a_frame_whose_parts_do_not_fit_is_refused() {
    let sum = sum_of(pair_wise(), 1.0, &[]);
    let good = serde_json::to_value(&**sum.frame()).unwrap();
    assert!(serde_json::from_value::<Frame>(good.clone()).is_ok());
    for (part, value) in [
        ("offsets", serde_json::json!([0, 5])),
        ("offsets", serde_json::json!([0, 9, 8])),
        ("offsets", serde_json::json!([1, 5, 8])),
        ("spec", serde_json::json!(null)),
        ("mean_scale", serde_json::json!(0.0)),
    ] {
        let mut bad = good.clone();
        bad[part] = value;
        assert!(serde_json::from_value::<Frame>(bad).is_err(), "{part}");
    }
    let mut bad = good;
    bad["grid"]["spacings"] = serde_json::json!([1.0]);
    assert!(serde_json::from_value::<Frame>(bad).is_err());
}

/// With much signal and little noise, what comes out is what went in: false alarm below 1e-8 a number (6 deviations).
#[test]
fn a_release_is_the_clipped_mean_with_the_stated_noise() {
    let units = vec![(vec![0.125, -0.125, 0.0625, 0.0, 0.25, 0.5, -0.5, 1.0], 1.0); 200];
    let release = sum_of(pair_wise(), 0.05, &units)
        .release(&mut NoiseSource::unsafe_seeded(5), &mut Past::default(), 200.0)
        .unwrap();
    for (i, (value, exact)) in release.mean_gradient.get().iter().zip(&units[0].0).enumerate() {
        let noise = release.noise_std[usize::from(i >= 5)];
        assert!((f64::from(*value) - f64::from(*exact)).abs() < 6.0 * noise, "{i}: {value} for {exact} ± {noise}");
    }
    let statistics = release.statistics.unwrap();
    assert!((statistics.mean_loss.get() - 1.0).abs() < 6.0 * statistics.mean_loss_std);
    assert!(statistics.non_finite_fraction.get().abs() < 6.0 * statistics.non_finite_fraction_std);
    for fraction in statistics.clip_fractions.get() {
        assert!(fraction.abs() < 6.0 * statistics.clip_fractions_std, "{fraction}");
    }
}

/// Noise on an empty batch has the deviation that the release states: the mean square of n draws within 6 of its
/// standard errors √(2/n), false alarm 2e-9.
#[test]
fn an_empty_batch_releases_noise_of_the_stated_deviation() {
    let allocation = Allocation::pair_wise(vec![0.5, 2.0], vec![0.6, 0.4], 0.0).unwrap();
    let sizes = [200_000, 100_000];
    let sum = ClippedSum::new(Charge::for_test(1.3, 300_000), &sizes, allocation.clone(), None, 10).unwrap();
    let release = sum.release(&mut NoiseSource::unsafe_seeded(6), &mut Past::default(), 8.0).unwrap();
    for (k, range) in [0..200_000, 200_000..300_000].into_iter().enumerate() {
        assert!((release.noise_std[k] / (allocation.noise_std(1.3, k) / 8.0) - 1.0).abs() < 1e-15);
        let values = &release.mean_gradient.get()[range];
        let square = values.iter().map(|value| (f64::from(*value) / release.noise_std[k]).powi(2)).sum::<f64>();
        let count = values.len() as f64;
        assert!((square / count - 1.0).abs() < 6.0 * (2.0 / count).sqrt(), "pair {k}: {}", square / count);
    }
}

/// Norms of the two pairs that a sum over one unit holds.
fn norms_of(allocation: &Allocation, gradient: &[f32]) -> [f64; 2] {
    let sum = sum_of(allocation.clone(), 1.0, &[(gradient.to_vec(), 1.0)]);
    let spacings = &sum.total.frame.grid.spacings;
    let all = integers(&sum);
    [(energy(&all[..5]) as f64).sqrt() * spacings[0], (energy(&all[5..8]) as f64).sqrt() * spacings[1]]
}

/// g·C/(‖g‖ + 0.01), of each pair and of the whole, small gradients and large ones (arXiv 2206.07136, equation 3.2 with its
/// γ of 0.01).
#[test]
fn normalizing_follows_auto_s_pair_wise_and_jointly() {
    let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-6, "{got} against {want}");
    for scale in [1e-4_f32, 1.0, 100.0] {
        let gradient: Vec<f32> = (1_u8..=8).map(|value| f32::from(value) * scale).collect();
        let squares =
            |range: std::ops::Range<usize>| gradient[range].iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
        let norms = [squares(0..5).sqrt(), squares(5..8).sqrt()];
        let got = norms_of(&normalized()[0], &gradient);
        for (k, clip) in [0.5, 2.0].into_iter().enumerate() {
            close(got[k], norms[k] * clip / (norms[k] + 0.01));
        }
        let even = Allocation::joint(vec![0.5; 2], 0.02).unwrap().with_scaling(Scaling::Normalize);
        let got = norms_of(&even, &gradient);
        let whole = squares(0..8).sqrt();
        close(got[0].hypot(got[1]), whole * 0.5 / (whole + 0.01));
        // Pairs keep their proportion, and scales that are not even bound the norm in their own geometry.
        close(got[0] / got[1], norms[0] / norms[1]);
        let got = norms_of(&normalized()[1], &gradient);
        let scaled = (norms[0] / 0.5).hypot(norms[1] / 2.0);
        close((got[0] / 0.5).hypot(got[1] / 2.0), scaled / (scaled + 0.01));
    }
}

/// A histogram comes out as it went in, up to noise: 6 deviations, a false alarm below 1e-8.
#[test]
fn norms_are_released_as_a_histogram() {
    let units: Vec<(Vec<f32>, f64)> = (0..400).map(|i| (vec![if i < 100 { 0.1 } else { 3.0 }; 8], 1.0)).collect();
    let sum = sum_with(binned(), Allocation::joint(vec![0.5, 0.5], 0.5).unwrap(), 1.0, &units);
    let released =
        sum.release(&mut NoiseSource::os().unwrap(), &mut Past::default(), 400.0).unwrap().statistics.unwrap();
    let bins = NormBins::logarithmic(1.0, 16.0, 6);
    let fractions = released.norm_fractions.unwrap().into_inner();
    for (bin, fraction) in fractions.iter().enumerate() {
        let inside = |norm: f64| norm <= bins.upper(bin) && norm > bins.upper(bin) / 2.5199;
        let want = if inside(0.1 * 8_f64.sqrt()) {
            0.25
        } else if inside(3.0 * 8_f64.sqrt()) {
            0.75
        } else {
            0.0
        };
        assert!((fraction - want).abs() < 6.0 * released.norm_fractions_std, "{fractions:?}: bin {bin} is not {want}");
    }
    assert!(released.norm_fractions_std < 0.01);
}
