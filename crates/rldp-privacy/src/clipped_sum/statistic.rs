//! The paid statistic: a vector of norm at most 1 a unit, and what its noisy sum says.

use serde::{Deserialize, Serialize};

use super::norm_bins::NormBins;
use crate::boundary::Released;

/// Public bounds of the paid statistics: fixed before a step is charged, by public or released values. A unit's statistic has norm
/// at most 1 within any bounds, so they are no part of a step's price.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatisticSpec {
    /// Losses are clipped from below here, in nats.
    pub loss_low: f64,
    /// Losses are clipped from above here, in nats.
    pub loss_high: f64,
    /// Bins of the histogram of joint gradient norms, when it is asked for.
    pub norms: Option<NormBins>,
}

/// What a unit's statistic is made of, before each part is multiplied by `room`: the loss, from −1 to 1 within its bounds, times
/// `loss`; `non_finite` for a unit that is not finite; `clip` or −`clip` for each pair; `norm` in the bin of its norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatisticWeights {
    /// Of the loss.
    pub loss: f64,
    /// Of not being finite.
    pub non_finite: f64,
    /// Of each pair's sign.
    pub clip: f64,
    /// Of the norm's bin.
    pub norm: f64,
    /// What rounding needs.
    pub room: f64,
}

/// Paid statistics of a step, each with the standard deviation of its noise.
#[derive(Clone, Debug)]
pub struct ReleasedStatistics {
    /// Mean clipped loss of the sampled units, in nats.
    pub mean_loss: Released<f64>,
    /// Losses were clipped from above here, in nats; public.
    pub loss_high: f64,
    /// Noise in `mean_loss`. The sum is divided by the expected batch, so that a batch of B units by chance adds a deviation of
    /// |mean loss − middle of the bounds| / √B, which is not in this.
    pub mean_loss_std: f64,
    /// Fraction of units whose gradient was not finite.
    pub non_finite_fraction: Released<f64>,
    /// Noise in `non_finite_fraction`.
    pub non_finite_fraction_std: f64,
    /// Fraction of units that were clipped (when normalizing: scaled down), for each pair (K).
    pub clip_fractions: Released<Vec<f64>>,
    /// Noise in each of `clip_fractions`.
    pub clip_fractions_std: f64,
    /// Fraction of units in each bin of the spec's norms.
    pub norm_fractions: Option<Released<Vec<f64>>>,
    /// Noise in each of `norm_fractions`.
    pub norm_fractions_std: f64,
}

/// Energy of a unit's statistic that goes to each part; the parts sum to 1, so the whole has norm at most 1.
const LOSS_ENERGY: f64 = 0.85;
const NON_FINITE_ENERGY: f64 = 0.05;
const CLIP_ENERGY: f64 = 0.10;
/// What a histogram of norms takes of the loss's part.
const NORM_ENERGY: f64 = 0.60;

/// Takes more off a unit's statistic than rounding can add to its norm.
const ROUNDING_ROOM: f64 = 1.0 - 1e-9;

impl StatisticSpec {
    /// Numbers in the statistic over `pairs` pairs; each of them gets noise.
    pub fn length(&self, pairs: usize) -> usize {
        2 + pairs + self.norms.as_ref().map_or(0, NormBins::count)
    }

    /// The weights of a unit's statistic over `pairs` pairs; public.
    pub fn weights(&self, pairs: usize) -> StatisticWeights {
        StatisticWeights {
            loss: self.loss_energy().sqrt(),
            non_finite: NON_FINITE_ENERGY.sqrt(),
            clip: (CLIP_ENERGY / pairs as f64).sqrt(),
            norm: NORM_ENERGY.sqrt(),
            room: ROUNDING_ROOM,
        }
    }

    fn loss_energy(&self) -> f64 {
        if self.norms.is_some() { LOSS_ENERGY - NORM_ENERGY } else { LOSS_ENERGY }
    }

    /// A unit's statistic, of norm at most 1. `factors` are its clip factors (K), below 1 where it was clipped; `norm` is
    /// that of its whole gradient. A unit is in one bin, so the histogram has norm √NORM_ENERGY.
    pub(crate) fn contribution(&self, loss: f64, finite: bool, factors: &[f64], norm: f64) -> Vec<f64> {
        let (centre, half) = self.centre_and_half();
        // Of bounds that are neighbours the half rounds, so the quotient is bounded too.
        let share = |loss: f64| ((loss.clamp(self.loss_low, self.loss_high) - centre) / half).clamp(-1.0, 1.0);
        let centred = if finite { share(loss) } else { 0.0 };
        let weights = self.weights(factors.len());
        let mut parts = vec![weights.loss * centred, if finite { 0.0 } else { weights.non_finite }];
        parts.extend(factors.iter().map(|factor| if *factor < 1.0 { weights.clip } else { -weights.clip }));
        if let Some(bins) = &self.norms {
            let own = finite.then(|| bins.bin(norm));
            parts.extend((0..bins.count()).map(|bin| if own == Some(bin) { weights.norm } else { 0.0 }));
        }
        parts.into_iter().map(|part| part * weights.room).collect()
    }

    /// Post-processing: what a noisy sum over `batch` expected units says; `std` is the noise in each of its numbers.
    pub(crate) fn read(&self, sum: &[f64], std: f64, batch: f64) -> ReleasedStatistics {
        let (centre, half) = self.centre_and_half();
        let bins = self.norms.as_ref().map_or(0, NormBins::count);
        let (firsts, norms) = sum.split_at(sum.len() - bins);
        let each = (CLIP_ENERGY / (firsts.len() - 2) as f64).sqrt();
        let loss_scale = self.loss_energy().sqrt() * batch;
        let norm_scale = NORM_ENERGY.sqrt() * batch;
        let fraction = |sum: &f64| 0.5 * (sum / (each * batch) + 1.0);
        ReleasedStatistics {
            mean_loss: Released::mint(centre + half * sum[0] / loss_scale),
            loss_high: self.loss_high,
            mean_loss_std: half * std / loss_scale,
            non_finite_fraction: Released::mint(sum[1] / (NON_FINITE_ENERGY.sqrt() * batch)),
            non_finite_fraction_std: std / (NON_FINITE_ENERGY.sqrt() * batch),
            clip_fractions: Released::mint(firsts[2..].iter().map(fraction).collect()),
            clip_fractions_std: 0.5 * std / (each * batch),
            norm_fractions: (bins > 0).then(|| Released::mint(norms.iter().map(|sum| sum / norm_scale).collect())),
            norm_fractions_std: std / norm_scale,
        }
    }

    fn centre_and_half(&self) -> (f64, f64) {
        (0.5 * (self.loss_low + self.loss_high), 0.5 * (self.loss_high - self.loss_low))
    }
}
