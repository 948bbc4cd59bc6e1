//! How a step's units are clipped and summed, in numbers: for an engine that does it where its gradients are.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The public rule of a step's sum. An engine that follows it to the bit may hand over the sum of many units instead of every unit's
/// gradient ([`crate::Engine::summed`]).
///
/// For a unit with gradient g and loss l:
///
/// 1. **Squares.** q_k = Σ g_i² over pair k's numbers in f64, in blocks of 4,096 of them, whose sums are added one after another.
///    Within a block, lane j of eight adds the squares of numbers j, j + 8, … of all whole eights; the lanes are added one after
///    another, and then the sum of what is left of the block.
/// 2. **Finite.** A unit whose loss or whose squares are not finite has all factors 0, and adds no gradient.
/// 3. **Factors.** Pair-wise: f_k of the norm √q_k, bound C_k and stability γ. Otherwise one f for all pairs, of the norm
///    √(Σ_k q_k / C_k²), bound 1 and stability γ / (geometric mean of the C_k); it is [`Self::joint_stability`]. With n the norm times
///    (1 + room): where a unit is clipped f is 1 if the bound is at least n, else bound / n · (1 − room); where it is normalized
///    f is bound / (n + stability) · (1 − room).
/// 4. **Integers.** Number i of pair k adds ⌊(f_k / [`Self::grid`]_k) · g_i⌋, truncated towards zero, both operations in f64.
/// 5. **Statistic.** Where it is asked for, [`StatisticRule`].
///
/// Sums are of 64-bit integers modulo 2^64, so their order does not matter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SumRule {
    /// Where each pair's trained numbers lie in a gradient (K ranges of P). A sum holds these numbers alone, pair after pair.
    pub pairs: Vec<Range<usize>>,
    /// C_k (K).
    pub clip_norms: Vec<f64>,
    /// Whether every pair has a factor of its own.
    pub pair_wise: bool,
    /// Whether units are normalized instead of clipped.
    pub normalizes: bool,
    /// γ.
    pub stability: f64,
    /// γ over the geometric mean of the clip norms.
    pub joint_stability: f64,
    /// What is left for rounding.
    pub room: f64,
    /// Spacing of each pair's grid (K).
    pub grid: Vec<f64>,
    /// The paid statistic.
    pub statistic: Option<StatisticRule>,
}

/// A unit's statistic: its loss, whether it is finite, what was clipped, and the bin of its norm.
///
/// With c the middle and h half the width of the loss's bounds, its numbers are
/// loss · (clamp(l) − c) / h (0 where the unit is not finite), then 0 where the unit is finite and `non_finite` where it is not, then for
/// each pair `clip` where its factor is below 1 and −`clip` elsewhere, then, of a finite unit, `norm` in the bin of √(Σ q_k) and 0 in the
/// others. Each is multiplied by `room`, divided by `grid` and truncated towards zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatisticRule {
    /// Bounds of the loss.
    pub loss_bounds: (f64, f64),
    /// Weight of the loss.
    pub loss: f64,
    /// Weight of a unit that is not finite.
    pub non_finite: f64,
    /// Weight of each pair's sign.
    pub clip: f64,
    /// Weight of a bin.
    pub norm: f64,
    /// Bins of the norm; none without a histogram.
    pub bins: Option<NormRule>,
    /// Factor on everything.
    pub room: f64,
    /// Spacing of the statistic's grid.
    pub grid: f64,
}

/// Bins of norms: bin ⌊ln(norm / lowest) / ln(ratio)⌋, at least 0 and below `count`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormRule {
    /// Where the first bin would begin.
    pub lowest: f64,
    /// Upper over lower end of a bin.
    pub ratio: f64,
    /// Number of bins.
    pub count: usize,
}

/// Integer sums of many units by a [`SumRule`]. They are functions of records without noise, and are not printed.
pub struct UnitSum {
    /// Of the trained numbers, pair after pair.
    pub gradient: Vec<i64>,
    /// Of the statistic's numbers; empty without one.
    pub statistic: Vec<i64>,
}
