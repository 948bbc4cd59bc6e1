//! How a step's budget is split: thresholds, shares, and the one noise multiplier they amount to.

use serde::{Deserialize, Serialize};

use crate::{bands::Bands, error::PrivacyError, scaling::Scaling};

/// How far shares may sum from 1, through rounding.
const SIMPLEX_ROOM: f64 = 1e-9;

/// The geometry of one Gaussian mechanism over K adapter pairs and an optional paid statistic.
///
/// **Pair-wise.** Pair i of a unit's gradient is clipped to C_i and gets noise of standard deviation
/// s_i = z·C_i / √w_i; the statistic, of norm at most 1, gets z / √w_0. With Σ w = 1 the joint mechanism satisfies
/// Σ (C_i / s_i)² + w_0/z² = 1/z²: one Gaussian mechanism of noise multiplier z, whatever the split.
///
/// **Joint.** The vector (g_i / C_i)_i is clipped to norm 1 as a whole; a unit may put all of it into one pair, so every
/// pair gets s_i = z·C_i / √(1 − w_0).
///
/// Either way a unit is bounded by clipping, or by normalizing ([`Scaling`]); the bound is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocation {
    clip_norms: Vec<f64>,
    shares: Option<Vec<f64>>,
    statistics_share: f64,
    scaling: Scaling,
}

impl Allocation {
    /// Pair-wise clipping at `clip_norms` (K) with `shares` (K) that sum with `statistics_share` to 1.
    ///
    /// # Errors
    /// When a number is out of range or the shares do not sum to 1.
    pub fn pair_wise(clip_norms: Vec<f64>, shares: Vec<f64>, statistics_share: f64) -> Result<Self, PrivacyError> {
        check(&clip_norms, statistics_share)?;
        if shares.len() != clip_norms.len() {
            return Err(PrivacyError::Allocation(format!(
                "{} shares for {} clip norms",
                shares.len(),
                clip_norms.len()
            )));
        }
        if let Some(share) = shares.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
            return Err(PrivacyError::Allocation(format!("a share is {share}, but must be above 0 and at most 1")));
        }
        let sum = shares.iter().sum::<f64>() + statistics_share;
        if (sum - 1.0).abs() > SIMPLEX_ROOM {
            return Err(PrivacyError::Allocation(format!("the shares sum to {sum}, but must sum to 1")));
        }
        Ok(Self { clip_norms, shares: Some(shares), statistics_share, scaling: Scaling::Clip })
    }

    /// Joint clipping in the geometry of `scales` (K); all equal to C is ordinary flat clipping at C.
    ///
    /// # Errors
    /// When a number is out of range.
    pub fn joint(scales: Vec<f64>, statistics_share: f64) -> Result<Self, PrivacyError> {
        check(&scales, statistics_share)?;
        Ok(Self { clip_norms: scales, shares: None, statistics_share, scaling: Scaling::Clip })
    }

    /// The same bounds and noise, reached by `scaling`.
    #[must_use]
    pub fn with_scaling(self, scaling: Scaling) -> Self {
        Self { scaling, ..self }
    }

    /// How a unit's gradient is brought under its bound.
    pub fn scaling(&self) -> Scaling {
        self.scaling
    }

    /// K.
    pub fn pairs(&self) -> usize {
        self.clip_norms.len()
    }

    /// C_i, the threshold (or scale) of pair `i`.
    pub fn clip_norm(&self, pair: usize) -> f64 {
        self.clip_norms[pair]
    }

    /// w_0.
    pub fn statistics_share(&self) -> f64 {
        self.statistics_share
    }

    /// Whether every pair is clipped for itself.
    pub fn is_pair_wise(&self) -> bool {
        self.shares.is_some()
    }

    /// s_i: standard deviation of the noise on each coordinate of pair `i`'s sum, at noise multiplier z. Rounded up by a
    /// relative 1e-12, more than f64 loses on the way.
    pub fn noise_std(&self, noise_multiplier: f64, pair: usize) -> f64 {
        let share = self.shares.as_ref().map_or(1.0 - self.statistics_share, |shares| shares[pair] / self.share_sum());
        noise_multiplier * self.clip_norms[pair] / share.sqrt() * (1.0 + 1e-12)
    }

    /// Standard deviation of the noise on each coordinate of the mean gradient (K) that a step at noise multiplier z releases over
    /// `batch_size` expected units, `position` steps after noise of `bands` began anew; long after it, when `position` is `None`.
    pub fn released_noise_std(
        &self,
        noise_multiplier: f64,
        bands: &Bands,
        position: Option<usize>,
        batch_size: f64,
    ) -> Vec<f64> {
        let growth = position.map_or_else(|| bands.deviation(), |position| bands.noise_of(position).0);
        (0..self.pairs()).map(|pair| self.noise_std(noise_multiplier, pair) / batch_size * growth).collect()
    }

    /// Standard deviation of the noise on the statistic, whose norm is at most 1.
    pub fn statistics_noise_std(&self, noise_multiplier: f64) -> f64 {
        let share =
            if self.shares.is_some() { self.statistics_share / self.share_sum() } else { self.statistics_share };
        noise_multiplier / share.sqrt() * (1.0 + 1e-12)
    }

    /// 1/z of the joint mechanism whose noise deviations are `noise_std` (K) and `statistics_noise_std`: the largest L2
    /// distance, in units of the noise, that one unit can move the sum.
    pub fn joint_sensitivity(&self, noise_std: &[f64], statistics_noise_std: Option<f64>) -> f64 {
        let ratios = self.clip_norms.iter().zip(noise_std).map(|(clip, std)| (clip / std).powi(2));
        let pairs = if self.shares.is_some() { ratios.sum::<f64>() } else { ratios.fold(0.0, f64::max) };
        (pairs + statistics_noise_std.map_or(0.0, |std| std.powi(-2))).sqrt()
    }

    /// The sum of all shares: 1 up to rounding, divided out so that rounding never buys budget.
    fn share_sum(&self) -> f64 {
        self.shares.as_ref().map_or(1.0, |shares| shares.iter().sum::<f64>() + self.statistics_share)
    }
}

fn check(clip_norms: &[f64], statistics_share: f64) -> Result<(), PrivacyError> {
    if clip_norms.is_empty() {
        return Err(PrivacyError::Allocation("there are no adapter pairs".into()));
    }
    if let Some(clip) = clip_norms.iter().find(|clip| !(**clip > 0.0 && clip.is_finite())) {
        return Err(PrivacyError::Allocation(format!("a clip norm is {clip}, but must be positive and finite")));
    }
    if !(0.0..1.0).contains(&statistics_share) {
        return Err(PrivacyError::Allocation(format!(
            "the statistics' share is {statistics_share}, but must be at least 0 and below 1"
        )));
    }
    Ok(())
}
