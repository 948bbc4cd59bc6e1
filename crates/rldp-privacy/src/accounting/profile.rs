//! The whole guarantee instead of one point of it: the delta(epsilon) curve and the trade-off curve it implies.

use serde::{Deserialize, Serialize};

use super::accountant::Accountant;
use super::error::{AccountingError, require, require_delta, require_epsilon};
use super::event::Event;

/// Knots per factor ten of delta.
const PER_DECADE: f64 = 8.0;
/// Knots with deltas evenly spaced below delta(0), where the middle of the trade-off curve is decided.
const EVEN: u32 = 32;
/// Rounding room of an interpolation or a line.
const ROUNDING: f64 = 8.0 * f64::EPSILON;

/// One proven pair: the mechanism is (epsilon, delta)-DP.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Epsilon, not negative.
    pub epsilon: f64,
    /// Delta that holds there.
    pub delta: f64,
}

/// An upper bound of the delta(epsilon) curve, kept at knots.
///
/// Every knot is a bound by its accountant. Delta is convex in e^ε in either direction of the adjacency, hence so is
/// the larger of the two, and chords between knots are upper bounds too. Above the last knot its delta still holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrivacyCurve {
    /// Epsilons rise, deltas do not.
    points: Vec<CurvePoint>,
}

impl PrivacyCurve {
    /// The curve of committed events from epsilon 0 to the epsilon of `smallest_delta`.
    pub fn new(accountant: &dyn Accountant, events: &[Event], smallest_delta: f64) -> Result<Self, AccountingError> {
        require_delta(smallest_delta)?;
        let at_zero = accountant.delta(events, 0.0)?;
        let deltas = knots(smallest_delta, at_zero.min(1.0));
        let epsilons = accountant.epsilons(events, &deltas)?;
        let mut points = vec![CurvePoint { epsilon: 0.0, delta: at_zero }];
        points.extend(epsilons.into_iter().zip(deltas).map(|(epsilon, delta)| CurvePoint { epsilon, delta }));
        points.sort_by(|a, b| a.epsilon.total_cmp(&b.epsilon).then(b.delta.total_cmp(&a.delta)));
        // A delta that holds at an epsilon holds above it.
        let mut least: f64 = 1.0;
        for point in &mut points {
            least = least.min(point.delta);
            point.delta = least;
        }
        Ok(Self { points })
    }

    /// The knots, by rising epsilon; the first is at 0.
    pub fn points(&self) -> &[CurvePoint] {
        &self.points
    }

    /// A delta that holds at `epsilon`.
    pub fn delta(&self, epsilon: f64) -> Result<f64, AccountingError> {
        require_epsilon(epsilon)?;
        let after = self.points.partition_point(|point| point.epsilon <= epsilon);
        let left = self.points[after - 1];
        let Some(right) = self.points.get(after) else { return Ok(left.delta) };
        // (e^ε − e^l)/(e^r − e^l), without overflow.
        let share = (epsilon - right.epsilon).exp() * (left.epsilon - epsilon).exp_m1()
            / (left.epsilon - right.epsilon).exp_m1();
        let chord = left.delta + (right.delta - left.delta) * share.clamp(0.0, 1.0);
        Ok((chord + ROUNDING * left.delta).min(left.delta))
    }

    /// The largest advantage (true positive rate minus false positive rate) that any membership test can have:
    /// delta(0), at most 1.
    pub fn advantage(&self) -> f64 {
        self.points[0].delta
    }

    /// A lower bound on the type II error of every test, with type I error at most `alpha`, that tells neighbouring data
    /// sets apart.
    ///
    /// (ε, δ)-DP holds if and only if the trade-off function is at least
    /// max(0, 1 − δ − e^ε α, e^{−ε}(1 − δ − α)) (arXiv 1905.02383, section 2); all knots hold at once, so the largest of
    /// their lines is a bound. The first line is linear in (e^ε, δ), so no chord between knots would give more by it.
    pub fn trade_off(&self, alpha: f64) -> Result<f64, AccountingError> {
        require((0.0..=1.0).contains(&alpha), "type I error", alpha, "between 0 and 1")?;
        let line = |point: &CurvePoint| {
            let rest = 1.0 - point.delta;
            let steep = rest - point.epsilon.exp() * alpha;
            let flat = (-point.epsilon).exp() * (rest - alpha);
            steep.max(flat) - ROUNDING
        };
        Ok(self.points.iter().map(line).fold(0.0, f64::max))
    }
}

/// Deltas below `largest`, dense on a logarithmic and on a linear scale.
fn knots(smallest: f64, largest: f64) -> Vec<f64> {
    let count = ((largest / smallest).log10() * PER_DECADE).ceil().max(0.0) as i32;
    let logarithmic = (0..=count).map(|i| smallest * 10_f64.powf(f64::from(i) / PER_DECADE));
    let even = (1..EVEN).map(|i| largest * f64::from(i) / f64::from(EVEN));
    let inside = |delta: &f64| *delta < largest && *delta >= smallest;
    logarithmic.chain(even).filter(inside).collect()
}
