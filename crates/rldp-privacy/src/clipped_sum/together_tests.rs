//! Units that are added together give the integers of the definition.

use super::{
    grid::truncate,
    tests::{integers, spec},
    *,
};

/// The integers of units as the definition has them: norms, factors, and one truncated product after another; a unit that is not finite
/// counts as zero.
fn by_definition(sum: &ClippedSum, sizes: &[usize], units: &[(Vec<f32>, f64)]) -> Vec<i64> {
    let frame = sum.frame();
    let finite =
        |(gradient, loss): &&(Vec<f32>, f64)| loss.is_finite() && gradient.iter().all(|value| value.is_finite());
    let mut total = vec![0_i64; sizes.iter().sum()];
    for (gradient, _) in units.iter().filter(finite) {
        let squares: Vec<f64> = (0..sizes.len()).map(|k| unit::squared_norm(&gradient[frame.range(k)])).collect();
        let factors = if frame.allocation().is_pair_wise() {
            squares.iter().enumerate().map(|(k, square)| frame.pair_factor(k, *square)).collect()
        } else {
            frame.joint_factors(&squares)
        };
        for (k, factor) in factors.iter().enumerate() {
            let scale = factor / frame.spacings()[k];
            frame.range(k).for_each(|i| total[i] = total[i].wrapping_add(truncate(scale * f64::from(gradient[i]))));
        }
    }
    total
}

/// Over the borders of tiles, one by one and together, with units that count as zero from the start and from the last pair on, on grids
/// coarse enough for the fast product and too fine for it.
#[test]
fn units_added_together_give_the_integers_of_units_one_by_one() {
    let sizes = [5000, 2048, 1];
    for (joint, z) in [(false, 1.0), (true, 1.0), (false, 3e-7), (true, 3e-7)] {
        let clips = vec![0.5, 2.0, 1.0];
        let allocation = if joint {
            Allocation::joint(clips, 0.02)
        } else {
            Allocation::pair_wise(clips, vec![0.4, 0.4, 0.18], 0.02)
        };
        let charge = Charge::for_test(z, 8000);
        let mut one_by_one = ClippedSum::new(charge, &sizes, allocation.unwrap(), Some(spec()), 10).unwrap();
        assert_eq!(one_by_one.frame().grid.small[0], z == 1.0);
        let mut together = one_by_one.partial();
        let unit = |seed: usize| (0..7049).map(|i| ((i * (seed + 3)) as f32).sin() * seed as f32).collect::<Vec<f32>>();
        let mut units: Vec<_> = (0..5).map(|seed| (unit(seed), seed as f64)).collect();
        units[2].0[7048] = f32::NAN;
        units[4].1 = f64::INFINITY;
        for (gradient, loss) in &units {
            one_by_one.add_unit(Sensitive::new(gradient), Sensitive::new(*loss));
        }
        let all: Vec<_> =
            units.iter().map(|(gradient, loss)| (Sensitive::new(gradient.as_slice()), Sensitive::new(*loss))).collect();
        together.add_units(&all);
        assert_eq!(together.to_wire(), integers(&one_by_one));
        assert_eq!(integers(&one_by_one)[..7049], by_definition(&one_by_one, &sizes, &units));
    }
}
