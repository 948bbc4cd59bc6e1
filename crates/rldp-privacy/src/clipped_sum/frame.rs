//! The public rule by which a step's units are clipped and summed.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{grid::Grid, statistic::StatisticSpec};
use crate::{
    allocation::Allocation,
    bands::Bands,
    error::PrivacyError,
    scaling::{ROUNDING_ROOM, STABILITY},
};

/// What a step's sums have in common: where pairs lie, how units are bounded, the spacings of the grid, and the paid statistic.
///
/// It is public, and equal frames give equal integers: a partial sum may be made by another thread, another process or a device,
/// from a frame that was sent there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Frame {
    /// Where each pair begins, and P.
    offsets: Vec<usize>,
    allocation: Allocation,
    pub(super) spec: Option<StatisticSpec>,
    pub(super) grid: Grid,
    /// Geometric mean of the clip norms.
    mean_scale: f64,
}

impl Frame {
    pub(super) fn new(
        noise_multiplier: f64,
        bands: &Bands,
        pair_sizes: &[usize],
        allocation: Allocation,
        spec: Option<StatisticSpec>,
        most_units: usize,
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
        if let Some(bins) = spec.as_ref().and_then(|spec| spec.norms.as_ref())
            && !bins.is_valid()
        {
            return Err(PrivacyError::Shape(format!(
                "{bins:?} are no bins of norms; they must ascend from a positive norm"
            )));
        }
        let grid = Grid::new(&allocation, noise_multiplier, bands, most_units)?;
        let mut offsets = vec![0];
        offsets.extend(pair_sizes.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        }));
        let logs = (0..pairs).map(|pair| allocation.clip_norm(pair).ln());
        let mean_scale = (logs.sum::<f64>() / pairs as f64).exp();
        Ok(Self { offsets, allocation, spec, grid, mean_scale })
    }

    /// K.
    pub fn pairs(&self) -> usize {
        self.allocation.pairs()
    }

    /// Where pair `pair` lies among P.
    pub fn range(&self, pair: usize) -> Range<usize> {
        self.offsets[pair]..self.offsets[pair + 1]
    }

    /// P.
    pub fn parameters(&self) -> usize {
        self.offsets[self.pairs()]
    }

    /// How units are bounded.
    pub fn allocation(&self) -> &Allocation {
        &self.allocation
    }

    /// Spacings of the pairs' grids (K).
    pub fn spacings(&self) -> &[f64] {
        &self.grid.spacings
    }

    /// The paid statistic with the spacing of its grid, when there is one.
    pub fn statistic(&self) -> Option<(&StatisticSpec, f64)> {
        self.spec.as_ref().zip(self.grid.statistic_spacing)
    }

    /// γ of normalizing, its value in joint geometry, where norms are in units of the scales, and the room for rounding.
    pub fn constants(&self) -> [f64; 3] {
        [STABILITY, STABILITY / self.mean_scale, ROUNDING_ROOM]
    }

    /// Numbers that get noise: P and the statistic.
    pub fn coordinates(&self) -> usize {
        self.parameters() + self.statistic_length()
    }

    pub(super) fn statistic_length(&self) -> usize {
        self.spec.as_ref().map_or(0, |spec| spec.length(self.pairs()))
    }

    /// What bounds pair `k` of a gradient whose norm there has this square, where each pair is bounded by itself.
    pub(super) fn pair_factor(&self, k: usize, square: f64) -> f64 {
        self.allocation.scaling().factor(square.sqrt(), self.allocation.clip_norm(k), STABILITY)
    }

    /// One factor for all pairs in joint geometry, where norms are in units of the scales and γ in units of their geometric mean: with
    /// equal scales C that is C / (‖g‖ + γ).
    pub(super) fn joint_factors(&self, squares: &[f64]) -> Vec<f64> {
        let (scaling, clip) = (self.allocation.scaling(), |k| self.allocation.clip_norm(k));
        let norm = squares.iter().enumerate().map(|(k, square)| square / clip(k).powi(2)).sum::<f64>().sqrt();
        vec![scaling.factor(norm, 1.0, STABILITY / self.mean_scale); squares.len()]
    }
}

/// A frame as it arrives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    offsets: Vec<usize>,
    allocation: Allocation,
    spec: Option<StatisticSpec>,
    grid: Grid,
    mean_scale: f64,
}

impl TryFrom<Unchecked> for Frame {
    type Error = String;

    /// Whether the parts fit each other. That the frame is the step's is checked where its sum is absorbed.
    fn try_from(parts: Unchecked) -> Result<Self, String> {
        let Unchecked { offsets, allocation, spec, grid, mean_scale } = parts;
        let pairs = allocation.pairs();
        let fits = offsets.len() == pairs + 1
            && offsets[0] == 0
            && offsets.is_sorted()
            && grid.spacings.len() == pairs
            && grid.small.len() == pairs
            && grid.spacings.iter().chain(&grid.statistic_spacing).all(|spacing| *spacing > 0.0)
            && grid.statistic_spacing.is_some() == spec.is_some()
            && mean_scale > 0.0;
        if fits {
            Ok(Self { offsets, allocation, spec, grid, mean_scale })
        } else {
            Err("the parts of a frame do not fit".into())
        }
    }
}
