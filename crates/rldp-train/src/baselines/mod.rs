//! Coordinates of other papers, to be compared with: AdaClip's and GeoClip's.
//!
//! A reader of the private run can skip this room. Nothing outside names what is in it but [`geometry`].
//!
//! **What they are.** Changes of coordinates that are learned from releases: a unit's gradient g becomes ω = M (g − a) before it is bounded,
//! and the noisy mean of ω becomes M⁻¹ ω + a afterwards.
//!
//! **Guarantee.** M and a are functions of earlier releases and of settings, so they are public when a step begins. Each
//! unit is mapped on its own, ω is what the mechanism bounds, sums and noises, and the way back is post-processing:
//! sensitivity and price are those of the mechanism without them.
//!
//! **Scale.** The papers fix a threshold of 1 and let M carry the scale. Here the threshold stays the run's own, and M is
//! scaled so that the noise in the gradient keeps its energy: tr(M⁻ᵀ M⁻¹) is the number of coordinates, of each pair where
//! pairs are clipped for themselves, of all together otherwise. Up to that scale M is the papers' optimum, which
//! needs the least noise for units of a given norm. M is block-diagonal over adapter pairs.
//!
//! With a shift a, a unit that does not exist contributes nothing rather than a; in expectation over Poisson sampling the
//! release is unbiased, as without it.

mod adaclip;
mod geoclip;

use adaclip::AdaClip;
use geoclip::GeoClip;
use rldp_model::{AdapterLayout, Pair};

use crate::{
    mechanism::geometry::Geometry,
    settings::{ClippingKind, GeometryKind, PrivacySettings},
};

/// Releases before a geometry is used: estimates from fewer are mostly noise.
const WARM_UP: u64 = 10;
/// Decay of the mean a and of the second moments.
const DECAY: f64 = 0.99;
/// Estimated variances are brought within this factor of their mean, either way; a coordinate's noise can then change by
/// a factor of √10 at most.
const VARIANCE_RANGE: f64 = 100.0;

/// The geometry that the settings name, before anything was released; `None` for the gradient's own.
pub(crate) fn geometry(privacy: &PrivacySettings, layout: &AdapterLayout) -> Option<Box<dyn Geometry>> {
    let shape = Shape::new(privacy, layout);
    match privacy.geometry {
        GeometryKind::None => None,
        GeometryKind::Adaclip => Some(Box::new(AdaClip::new(shape))),
        GeometryKind::Geoclip => Some(Box::new(GeoClip::new(shape))),
    }
}

/// What geometries have in common.
#[derive(Clone, Debug)]
struct Shape {
    /// d of each pair (K).
    sizes: Vec<usize>,
    /// Whether noise is shared by all pairs.
    joint: bool,
}

impl Shape {
    fn new(privacy: &PrivacySettings, layout: &AdapterLayout) -> Self {
        let sizes = layout.pairs().iter().map(Pair::parameter_count).collect();
        Self { sizes, joint: privacy.clipping != ClippingKind::PairWise }
    }

    fn total(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// Pairs' parts of a flat vector.
    fn parts<'a>(&self, mut flat: &'a [f32]) -> Vec<&'a [f32]> {
        let next = |size: &usize| flat.split_off(..*size).expect("a vector of all pairs' numbers");
        self.sizes.iter().map(next).collect()
    }

    /// Pairs' parts of a flat vector.
    fn parts_mut<'a>(&self, mut flat: &'a mut [f32]) -> Vec<&'a mut [f32]> {
        let next = |size: &usize| flat.split_off_mut(..*size).expect("a vector of all pairs' numbers");
        self.sizes.iter().map(next).collect()
    }

    /// Factors (K) on M⁻¹'s squared stretches √λ, given their sums over each pair (K), such that the noise keeps its energy.
    fn normalisers(&self, sums: &[f64]) -> Vec<f64> {
        if self.joint {
            return vec![self.total() as f64 / sums.iter().sum::<f64>(); sums.len()];
        }
        self.sizes.iter().zip(sums).map(|(size, sum)| *size as f64 / sum).collect()
    }

    /// The gain of each pair (K) whose squared stretches sum to `sums` before they are normalised.
    fn gains(&self, sums: &[f64], normalisers: &[f64]) -> Vec<f64> {
        let pairs = self.sizes.iter().zip(sums).zip(normalisers);
        pairs.map(|((size, sum), normaliser)| (sum * normaliser / *size as f64).sqrt()).collect()
    }
}

/// What an average that began at zero is divided by after so many values: one minus what the decay leaves of the zero.
#[derive(Clone, Copy)]
struct Correction(f64);

impl Correction {
    fn after(count: u64) -> Self {
        Self(1.0 - DECAY.powi(i32::try_from(count).unwrap_or(i32::MAX)))
    }

    /// The average; zero before there is any value.
    fn of(self, average: f64) -> f64 {
        if self.0 > 0.0 { average / self.0 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pairs of 3 and 2 numbers.
    pub(super) fn shape(joint: bool) -> Shape {
        Shape { sizes: vec![3, 2], joint }
    }

    /// Releases with variances over three magnitudes, correlated in pairs of coordinates, and a mean.
    pub(super) fn releases(count: usize) -> Vec<Vec<f32>> {
        use rand::{Rng as _, SeedableRng as _};
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(7);
        let mut uniform = move || rng.random_range(-1.0_f32..1.0);
        (0..count)
            .map(|_| {
                let (x, y, z) = (uniform(), uniform(), uniform());
                vec![1.0 + x, 0.5 * x + 0.02 * y, 0.1 * z, -2.0 + 0.3 * uniform(), 0.3 * uniform()]
            })
            .collect()
    }

    fn both(joint: bool) -> Vec<Box<dyn Geometry>> {
        vec![Box::new(AdaClip::new(shape(joint))), Box::new(GeoClip::new(shape(joint)))]
    }

    /// M⁻¹ undoes M, and noise keeps its energy: of every pair, or of all together.
    #[test]
    fn the_way_back_undoes_the_way_forth_and_noise_keeps_its_energy() {
        for joint in [false, true] {
            for mut geometry in both(joint) {
                for release in releases(40) {
                    geometry.learn(&release, &[0.01, 0.01]);
                }
                let start = [0.3_f32, -0.2, 0.7, 1.5, -0.4];
                let mut there = start;
                geometry.forth(&mut there);
                let far = there.iter().zip(start).any(|(there, start)| (there - start).abs() > 0.1);
                assert!(far, "nothing was learned: {there:?}");
                geometry.back(&mut there);
                assert!(there.iter().zip(start).all(|(there, start)| (there - start).abs() < 1e-5), "{there:?}");
                let gains = geometry.noise_gain();
                // Columns of M⁻¹: what the way back does to unit vectors, less what it does to zero.
                let image = |k: Option<usize>| {
                    let mut unit = [0.0_f32; 5];
                    k.into_iter().for_each(|k| unit[k] = 1.0);
                    geometry.back(&mut unit);
                    unit
                };
                let zero = image(None);
                let energy = |rows: std::ops::Range<usize>| -> f64 {
                    let columns = (0..5).map(|k| image(Some(k)));
                    columns
                        .map(|column| rows.clone().map(|j| f64::from(column[j] - zero[j]).powi(2)).sum::<f64>())
                        .sum()
                };
                let (first, second) = (energy(0..3), energy(3..5));
                assert!((first + second - 5.0).abs() < 1e-4, "{first} and {second}");
                assert!(joint || (first - 3.0).abs() < 1e-4, "{first}");
                assert!(
                    (gains[0].powi(2) * 3.0 - first).abs() < 1e-4 && (gains[1].powi(2) * 2.0 - second).abs() < 1e-4
                );
            }
        }
    }

    #[test]
    fn before_the_warm_up_coordinates_are_the_gradients_own() {
        for mut geometry in both(true) {
            releases(9).iter().for_each(|release| geometry.learn(release, &[0.0, 0.0]));
            let mut vector = [1.0_f32, 2.0, 3.0, 4.0, 5.0];
            geometry.forth(&mut vector);
            assert_eq!(vector, [1.0, 2.0, 3.0, 4.0, 5.0]);
            assert_eq!(geometry.noise_gain(), [1.0, 1.0]);
        }
    }

    #[test]
    fn a_restored_geometry_goes_on_alike_and_another_shape_is_refused() {
        for (mut one, mut other) in both(true).into_iter().zip(both(true)) {
            let (past, future) = (releases(20), releases(25));
            past.iter().for_each(|release| one.learn(release, &[0.01, 0.02]));
            assert!(other.restore(&one.state()));
            assert!(!other.restore(&[1.0, 2.0]));
            for geometry in [&mut one, &mut other] {
                future.iter().for_each(|release| geometry.learn(release, &[0.01, 0.02]));
            }
            let (mut a, mut b) = ([0.1_f32; 5], [0.1_f32; 5]);
            one.forth(&mut a);
            other.forth(&mut b);
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} and {b:?}");
        }
    }
}
