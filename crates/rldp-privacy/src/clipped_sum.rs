//! The sum of clipped contributions, which only leaves through charged noise.

use serde::{Deserialize, Serialize};

use crate::{
    allocation::Allocation,
    boundary::{Released, Sensitive},
    error::PrivacyError,
    noise::NoiseSource,
    spending::Charge,
};

/// Public bounds of the paid statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatisticSpec {
    /// Losses are clipped from below here, in nats.
    pub loss_low: f64,
    /// Losses are clipped from above here, in nats.
    pub loss_high: f64,
}

/// Energy of a unit's statistic that goes to each part; the parts sum to 1, so the whole has norm at most 1.
const LOSS_ENERGY: f64 = 0.85;
const NON_FINITE_ENERGY: f64 = 0.05;
const CLIP_ENERGY: f64 = 0.10;

/// Sum over a batch of clipped per-unit gradients, and of the paid statistic.
///
/// **Sensitivity.** Adding or removing one unit moves the vector ((sum_i / s_i)_i, statistic / s_0) by at most
/// [`Allocation::joint_sensitivity`] = 1/z in L2, whatever the unit holds: each contribution is clipped here, non-finite
/// ones count as zero, and there is no other way in.
///
/// **Guarantee.** [`ClippedSum::release`] is the Gaussian mechanism of noise multiplier z under add/remove adjacency;
/// with Poisson sampling at the charge's rate it is the event that the charge paid for.
pub struct ClippedSum {
    offsets: Vec<usize>,
    allocation: Allocation,
    spec: Option<StatisticSpec>,
    sum: Vec<f64>,
    statistic: Vec<f64>,
}

/// What a charged step lets out.
#[derive(Clone, Debug)]
pub struct NoisyRelease {
    /// Noisy sum over the expected batch size, flat (P).
    pub mean_gradient: Released<Vec<f32>>,
    /// Standard deviation of the noise on each coordinate of `mean_gradient`, for each pair (K); public.
    pub noise_std: Vec<f64>,
    /// The paid statistics, when a share bought them.
    pub statistics: Option<ReleasedStatistics>,
}

/// Paid statistics of a step, each with the standard deviation of its noise.
#[derive(Clone, Debug)]
pub struct ReleasedStatistics {
    /// Mean clipped loss of the sampled units, in nats.
    pub mean_loss: Released<f64>,
    /// Noise in `mean_loss`.
    pub mean_loss_std: f64,
    /// Fraction of units whose gradient was not finite.
    pub non_finite_fraction: Released<f64>,
    /// Noise in `non_finite_fraction`.
    pub non_finite_fraction_std: f64,
    /// Fraction of units that were clipped, for each pair (K).
    pub clip_fractions: Released<Vec<f64>>,
    /// Noise in each of `clip_fractions`.
    pub clip_fractions_std: f64,
}

impl ClippedSum {
    /// An empty sum over pairs of `pair_sizes` parameters (K). Statistics need a positive share in the allocation.
    ///
    /// # Errors
    /// When the sizes do not fit the allocation, or statistics and share do not go together.
    pub fn new(
        pair_sizes: &[usize],
        allocation: Allocation,
        spec: Option<StatisticSpec>,
    ) -> Result<Self, PrivacyError> {
        let pairs = pair_sizes.len();
        if pairs != allocation.pairs() {
            return Err(PrivacyError::Shape(format!("{pairs} pairs for an allocation over {}", allocation.pairs())));
        }
        if spec.is_some() != (allocation.statistics_share() > 0.0) {
            return Err(PrivacyError::Shape("statistics need a positive share, and a share needs statistics".into()));
        }
        if let Some(spec) = &spec
            && !(spec.loss_low.is_finite() && spec.loss_high.is_finite() && spec.loss_low < spec.loss_high)
        {
            return Err(PrivacyError::Shape(format!(
                "loss bounds {} to {} are no interval",
                spec.loss_low, spec.loss_high
            )));
        }
        let mut offsets = vec![0];
        offsets.extend(pair_sizes.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        }));
        let statistic = if spec.is_some() { vec![0.0; 2 + pairs] } else { Vec::new() };
        Ok(Self { sum: vec![0.0; offsets[pairs]], offsets, allocation, spec, statistic })
    }

    /// Clips and adds one unit's gradient (P) and its statistic. Every unit of the batch is added once.
    ///
    /// # Panics
    /// When the gradient does not have P values: a defect of the caller.
    pub fn add_unit(&mut self, gradient: Sensitive<&[f32]>, loss: Sensitive<f64>) {
        let (gradient, loss) = (gradient.expose(), loss.expose());
        assert_eq!(gradient.len(), self.sum.len(), "a unit's gradient does not fit the layout");
        let pairs = self.allocation.pairs();
        let squares: Vec<f64> =
            (0..pairs).map(|k| squared_norm(&gradient[self.offsets[k]..self.offsets[k + 1]])).collect();
        let finite = loss.is_finite() && squares.iter().all(|square| square.is_finite());
        let factors = if finite { self.factors(&squares) } else { vec![0.0; pairs] };
        if finite {
            for (k, &factor) in factors.iter().enumerate() {
                let range = self.offsets[k]..self.offsets[k + 1];
                accumulate(&mut self.sum[range.clone()], &gradient[range], factor);
            }
        }
        self.add_statistic(loss, finite, &factors);
    }

    /// min(1, C_i / ‖g_i‖) for each pair, or one factor for all in joint geometry; rounded down.
    fn factors(&self, squares: &[f64]) -> Vec<f64> {
        let bound = |ratio: f64| if ratio < 1.0 { ratio * (1.0 - 1e-9) } else { 1.0 };
        if self.allocation.is_pair_wise() {
            let pairs = squares.iter().enumerate();
            return pairs
                .map(|(k, square)| bound(self.allocation.clip_norm(k) / (square.sqrt() * (1.0 + 1e-9))))
                .collect();
        }
        let scaled = squares.iter().enumerate().map(|(k, square)| square / self.allocation.clip_norm(k).powi(2));
        let norm = scaled.sum::<f64>().sqrt() * (1.0 + 1e-9);
        vec![bound(1.0 / norm); squares.len()]
    }

    fn add_statistic(&mut self, loss: f64, finite: bool, factors: &[f64]) {
        let Some(spec) = &self.spec else { return };
        let (centre, half) = spec.centre_and_half();
        if finite {
            let centred = (loss.clamp(spec.loss_low, spec.loss_high) - centre) / half;
            self.statistic[0] += LOSS_ENERGY.sqrt() * centred;
        }
        self.statistic[1] += NON_FINITE_ENERGY.sqrt() * if finite { 0.0 } else { 1.0 };
        let each = (CLIP_ENERGY / factors.len() as f64).sqrt();
        for (sum, factor) in self.statistic[2..].iter_mut().zip(factors) {
            *sum += each * if *factor < 1.0 { 1.0 } else { -1.0 };
        }
    }

    /// Adds the noise that `charge` paid for and divides by the expected batch size. An empty batch releases noise.
    ///
    /// # Errors
    /// When the expected batch size is not positive.
    pub fn release(
        mut self,
        charge: Charge,
        noise: &mut NoiseSource,
        expected_batch_size: f64,
    ) -> Result<NoisyRelease, PrivacyError> {
        if !(expected_batch_size > 0.0 && expected_batch_size.is_finite()) {
            return Err(PrivacyError::Shape(format!(
                "the expected batch size is {expected_batch_size}, but must be positive"
            )));
        }
        let z = charge.spend();
        let stds: Vec<f64> = (0..self.allocation.pairs()).map(|k| self.allocation.noise_std(z, k)).collect();
        for (k, &std) in stds.iter().enumerate() {
            noise.perturb(&mut self.sum[self.offsets[k]..self.offsets[k + 1]], std);
        }
        let statistics = self.release_statistics(z, noise, expected_batch_size);
        let mean: Vec<f32> = self.sum.iter().map(|sum| (sum / expected_batch_size) as f32).collect();
        Ok(NoisyRelease {
            mean_gradient: Released::mint(mean),
            noise_std: stds.iter().map(|std| std / expected_batch_size).collect(),
            statistics,
        })
    }

    fn release_statistics(&mut self, z: f64, noise: &mut NoiseSource, batch: f64) -> Option<ReleasedStatistics> {
        let (centre, half) = self.spec.as_ref()?.centre_and_half();
        let std = self.allocation.statistics_noise_std(z);
        noise.perturb(&mut self.statistic, std);
        let each = (CLIP_ENERGY / self.allocation.pairs() as f64).sqrt();
        let fraction = |sum: &f64| 0.5 * (sum / (each * batch) + 1.0);
        Some(ReleasedStatistics {
            mean_loss: Released::mint(centre + half * self.statistic[0] / (LOSS_ENERGY.sqrt() * batch)),
            mean_loss_std: half * std / (LOSS_ENERGY.sqrt() * batch),
            non_finite_fraction: Released::mint(self.statistic[1] / (NON_FINITE_ENERGY.sqrt() * batch)),
            non_finite_fraction_std: std / (NON_FINITE_ENERGY.sqrt() * batch),
            clip_fractions: Released::mint(self.statistic[2..].iter().map(fraction).collect()),
            clip_fractions_std: 0.5 * std / (each * batch),
        })
    }
}

impl StatisticSpec {
    fn centre_and_half(&self) -> (f64, f64) {
        (0.5 * (self.loss_low + self.loss_high), 0.5 * (self.loss_high - self.loss_low))
    }
}

/// Σ x², each block of 4096 in eight f32 lanes of f64 width, blocks in f64: vectorises, loses less than 1e-9.
fn squared_norm(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
}

fn accumulate(sum: &mut [f64], values: &[f32], factor: f64) {
    for (sum, &value) in sum.iter_mut().zip(values) {
        *sum += factor * f64::from(value);
    }
}
