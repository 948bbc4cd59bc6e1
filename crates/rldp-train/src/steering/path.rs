//! How far the releases of a run agree with each other: the squared length of their sum against that of a random walk.

use rldp_privacy::{NoisyRelease, Observable, Released, TakenOver};
use serde::{Deserialize, Serialize};

/// Of fewer releases the sum says little that each of them does not say alone.
const FEWEST: u64 = 3;

/// W_m = Σ w_t of the whitened releases ([`NoisyRelease::whitened`]), one released value; nothing before the first release.
#[derive(Default)]
pub(crate) struct Path(Option<Released<PathState>>);

/// What a path is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathState {
    /// m.
    steps: u64,
    /// W_m (the d numbers that have noise).
    #[serde(with = "crate::run::numbers")]
    sum: Vec<f32>,
}

impl Path {
    /// A step more. A release without noise adds nothing, and says nothing.
    pub(crate) fn add(&mut self, release: &NoisyRelease) {
        if release.whitened.get().is_empty() {
            return;
        }
        let whitened = release.whitened.as_ref();
        self.0 = Some(match self.0.take() {
            None => whitened.map(|first| PathState { steps: 1, sum: first.clone() }),
            Some(path) => path.zip(whitened).map(|(mut path, next)| {
                path.steps += 1;
                path.sum.iter_mut().zip(next).for_each(|(sum, value)| *sum += value);
                path
            }),
        });
    }

    /// (‖W_m‖² / m − d) / √(2d): of mean 0 and deviation 1 where gradients are zero, whatever bands, thresholds and shares were, and hardly more
    /// where they have no direction in common; `None` before [`FEWEST`] releases, and where releases are not in coordinates that stay.
    pub(crate) fn agreement(&self) -> Option<Observable> {
        let path = self.0.as_ref().filter(|path| path.get().steps >= FEWEST)?;
        Some(path.as_ref().map(PathState::agreement).into())
    }

    /// What a later process goes on with.
    pub(crate) fn state(&self) -> Option<PathState> {
        self.0.as_ref().map(|path| path.get().clone())
    }

    /// Goes on from what an earlier process of the run saved.
    pub(crate) fn restore(state: Option<PathState>, proof: TakenOver) -> Self {
        Self(state.map(|state| Released::restore(state, proof)))
    }
}

impl PathState {
    fn agreement(&self) -> f64 {
        let energy: f64 = self.sum.iter().map(|&value| f64::from(value).powi(2)).sum();
        let d = self.sum.len() as f64;
        (energy / self.steps as f64 - d) / (2.0 * d).sqrt()
    }

    /// Whether it can be of a run that trains so many numbers and has charged `charged` steps.
    pub(crate) fn fits(&self, trained: usize, charged: u64) -> bool {
        (1..=charged).contains(&self.steps) && self.sum.len() == trained && self.sum.iter().all(|sum| sum.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    const D: usize = 500;

    /// Box and Muller's.
    fn normal(rng: &mut ChaCha12Rng) -> f32 {
        let (radius, turn): (f32, f32) = (rng.random(), rng.random());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f32::consts::TAU * turn).cos()
    }

    /// Agreement after each of 20 releases of noise and a constant `signal` along one number.
    fn agreements(seed: u64, signal: f32) -> Vec<f64> {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut sum = vec![0.0; D];
        let mut after = Vec::new();
        for steps in 1..=20 {
            sum.iter_mut().for_each(|sum| *sum += normal(&mut rng));
            sum[0] += signal;
            after.push(PathState { steps, sum: sum.clone() }.agreement());
        }
        after
    }

    /// 2,000 runs of noise: a mean and a second moment, each off by five deviations once in two million.
    #[test]
    fn noise_alone_agrees_by_one_deviation() {
        let runs: Vec<Vec<f64>> = (0..2000).map(|seed| agreements(seed, 0.0)).collect();
        for step in [0, 9, 19] {
            let of: Vec<f64> = runs.iter().map(|run| run[step]).collect();
            let mean = of.iter().sum::<f64>() / 2000.0;
            let second = of.iter().map(|a| a * a).sum::<f64>() / 2000.0;
            assert!(mean.abs() < 5.0 / 2000_f64.sqrt(), "{mean} after {step}");
            // The square of a normal number has a variance of 2; of this one, which is nearly one, 2 + 12/D.
            assert!((second - 1.0).abs() < 5.0 * (2.1_f64 / 2000.0).sqrt(), "{second} after {step}");
        }
    }

    /// A signal of two deviations in each step adds m · 4 / √(2d).
    #[test]
    fn what_keeps_its_direction_adds_up() {
        let after = agreements(1, 2.0)[19];
        let expected = 20.0 * 4.0 / (2.0 * D as f64).sqrt();
        assert!((after - expected).abs() < 5.0, "{after} against {expected}");
        assert!(after > agreements(1, 2.0)[4]);
    }
}
