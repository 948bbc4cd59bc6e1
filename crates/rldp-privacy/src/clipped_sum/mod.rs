//! The sum of clipped contributions, which begins with a charge and ends in noise.

#[cfg(test)]
mod band_tests;
mod frame;
mod grid;
mod norm_bins;
mod partial;
mod past;
pub(crate) mod statistic;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod together_tests;
mod unit;

use std::sync::Arc;

pub use frame::Frame;
pub use norm_bins::NormBins;
pub use partial::PartialSum;
pub use past::Past;
pub use statistic::{ReleasedStatistics, StatisticSpec, StatisticWeights};

use partial::Totals;

use crate::{
    allocation::Allocation,
    bands::Bands,
    boundary::{Released, Sensitive},
    error::PrivacyError,
    noise::{NoiseSource, SPACINGS_PER_DEVIATION},
    spending::Charge,
};

/// Sum over a batch of clipped per-unit gradients, and of the paid statistic, in whole multiples of a grid's spacing.
///
/// Pair k's spacing is s_k/2^32, where s_k is the deviation of its noise. A unit's contribution is clipped or
/// normalized, truncated toward zero to the grid, and added as integers: the sum is exact, whatever the order of the units, the threads or
/// the partial sums.
///
/// **Sensitivity.** Adding or removing one unit moves the vector ((sum_i / s_i)_i, statistic / s_0) by at most
/// [`Allocation::joint_sensitivity`] = 1/z in L2, whatever the unit holds: each contribution is clipped here, non-finite
/// ones count as zero. The other way in, [`ClippedSum::absorb`], takes sums of contributions that were made the same way. This is about the integers themselves, not about an ideal that
/// they approximate.
///
/// **Guarantee.** [`ClippedSum::release`] is the Gaussian mechanism of noise multiplier z under add/remove adjacency,
/// rounded to the grid, up to a total-variation distance that the claim pays for; with Poisson sampling at the charge's
/// rate it is the event that the charge paid for. Steps, layout, batch size and deviations are public.
///
/// With noise of more than one band ([`crate::Bands`]) the same holds of each release together with the ones that a unit's contribution
/// still reaches.
///
/// A sum cannot even begin without a [`Charge`], and its release consumes it.
pub struct ClippedSum {
    total: PartialSum,
    noise_multiplier: f64,
    bands: Bands,
    run: u64,
    step: u64,
    /// Whether the claim is a promise, which needs secret noise.
    promised: bool,
}

/// What a charged step lets out.
#[derive(Clone, Debug)]
pub struct NoisyRelease {
    /// z that the step was charged for; 0 where nothing was promised and there is no noise. Public.
    pub noise_multiplier: f64,
    /// Noisy sum over the expected batch size, flat (P).
    pub mean_gradient: Released<Vec<f32>>,
    /// What the step put out before anything of earlier steps was taken off it, in deviations of its own noise, which is fresh and of
    /// deviation 1 on every coordinate, whatever the bands, thresholds and shares (the coordinates that have noise). Empty where nothing is promised, and where a geometry moves
    /// the coordinates from step to step.
    pub whitened: Released<Vec<f32>>,
    /// Standard deviation of the noise on each coordinate of `mean_gradient`, for each pair (K); public.
    pub noise_std: Vec<f64>,
    /// Correlation of that noise with the noise of the release before; 0 where every step has noise of its own. Public.
    pub noise_correlation: f64,
    /// The paid statistics, when a share bought them.
    pub statistics: Option<ReleasedStatistics>,
}

impl ClippedSum {
    /// An empty sum over pairs of `pair_sizes` parameters (K), for the step that `charge` paid for. Statistics need a
    /// positive share in the allocation.
    ///
    /// `most_units` is a public bound on the units of a batch, such as the number of units of the data set.
    ///
    /// # Errors
    /// When the sizes do not fit the allocation or the claim, statistics and share do not go together, or the sum could
    /// leave 64 bits. The charge stays spent.
    pub fn new(
        charge: Charge,
        pair_sizes: &[usize],
        allocation: Allocation,
        spec: Option<StatisticSpec>,
        most_units: usize,
    ) -> Result<Self, PrivacyError> {
        let (run, step, paid, promised) =
            (charge.run(), charge.step(), charge.noise_coordinates(), charge.is_promised());
        let (noise_multiplier, bands) = charge.spend();
        let frame = Frame::new(noise_multiplier, &bands, pair_sizes, allocation, spec, most_units)?;
        let drawn = frame.coordinates();
        if drawn as u64 > paid {
            return Err(PrivacyError::Shape(format!(
                "a step draws noise for {drawn} numbers, but the claim pays for {paid}; plan with the adapter's size"
            )));
        }
        Ok(Self { total: PartialSum::new(Arc::new(frame)), noise_multiplier, bands, run, step, promised })
    }

    /// Clips and adds one unit's gradient (P) and its statistic. Every unit of the batch is added once.
    ///
    /// # Panics
    /// When the gradient does not have P values: a defect of the caller.
    pub fn add_unit(&mut self, gradient: Sensitive<&[f32]>, loss: Sensitive<f64>) {
        self.total.add_unit(gradient, loss);
    }

    /// The public rule of this step's sum, which partial sums are made by.
    pub fn frame(&self) -> &Arc<Frame> {
        &self.total.frame
    }

    /// An empty sum for some of the batch's units, which another thread may fill.
    pub fn partial(&self) -> PartialSum {
        PartialSum::new(Arc::clone(self.frame()))
    }

    /// Adds a partial sum of other units of the same batch. The total does not depend on how units were split.
    ///
    /// # Errors
    /// When the partial sum was not made by this step's frame.
    pub fn absorb(&mut self, partial: PartialSum) -> Result<(), PrivacyError> {
        self.total.absorb(partial)
    }

    /// Adds the noise that the charge paid for and divides by the expected batch size. An empty batch releases noise.
    ///
    /// `past` is the run's: its noise takes back a part of what the steps before left, where the claim's noise has bands.
    ///
    /// # Errors
    /// When the expected batch size is not positive, the noise is not secret although the claim is a promise, or the past is another
    /// run's. The charge stays spent.
    pub fn release(
        self,
        noise: &mut NoiseSource,
        past: &mut Past,
        expected_batch_size: f64,
    ) -> Result<NoisyRelease, PrivacyError> {
        if !(expected_batch_size > 0.0 && expected_batch_size.is_finite()) {
            return Err(PrivacyError::Shape(format!(
                "the expected batch size is {expected_batch_size}, but must be positive"
            )));
        }
        if self.promised {
            noise.secrecy().demanded_of("noise")?;
        }
        let Self { total, bands, run, step, noise_multiplier, .. } = self;
        let (frame, Totals { sum, mut statistic }) = total.into_totals();
        let bands = &bands;
        past.begin(bands, run, step)?;
        let (mut noisy, sum) = past.weighted(bands, sum);
        noise.perturb(&mut noisy);
        noise.perturb(&mut statistic);
        // From here on, everything but the sum that is kept is post-processing.
        let mean_draw = noise.mean();
        let centred = |value: i64| value as f64 - mean_draw;
        let whitened = noisy.iter().map(|&value| (centred(value) / SPACINGS_PER_DEVIATION) as f32).collect();
        let (mut mean, mut read) = (Vec::with_capacity(noisy.len()), Vec::new());
        for (pair, spacing) in frame.grid.spacings.iter().enumerate() {
            let unit = spacing / expected_batch_size;
            for at in frame.range(pair) {
                let value = past.read_off(bands, at, centred(noisy[at]));
                mean.push((unit * value) as f32);
                if bands.count() > 1 {
                    read.push(value as f32);
                }
            }
        }
        let (deviation, covariance) = bands.noise_of(past.position());
        let (before, _) = bands.noise_of(past.position().saturating_sub(1));
        let position = Some(past.position());
        past.keep(bands, run, step, sum, read);
        let statistics = frame.statistic().map(|(spec, spacing)| {
            let sum: Vec<f64> = statistic.iter().map(|&value| spacing * centred(value)).collect();
            spec.read(&sum, spacing * SPACINGS_PER_DEVIATION, expected_batch_size)
        });
        let allocation = frame.allocation();
        Ok(NoisyRelease {
            noise_multiplier,
            mean_gradient: Released::mint(mean),
            whitened: Released::mint(whitened),
            noise_std: allocation.released_noise_std(noise_multiplier, bands, position, expected_batch_size),
            noise_correlation: covariance / (deviation * before),
            statistics,
        })
    }
}
