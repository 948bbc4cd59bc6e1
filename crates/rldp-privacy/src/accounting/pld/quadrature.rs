//! Integrals over the cells of the loss grid, without cancellation.
//!
//! With w = dP/dQ = 1 + u, a cell [jh, (j+1)h] needs ∫ φ (w − e^{jh}) and ∫ φ (e^{(j+1)h} − w) over the x whose loss lies
//! in it. Near loss 0 the differences are taken of u and e^{jh} − 1, far below it of w and e^{jh} ([`Level`]). Both integrands are positive and smooth; Gauss–Legendre rules on pieces across which no
//! factor grows more than e³-fold integrate them to a relative 1e-13, where differences of normal distribution
//! functions would lose all digits on a fine grid.

use super::super::event::Event;
use super::grid::Grid;
use super::step::normal_density_at_zero;

/// A Gauss–Legendre rule on [−1, 1]: positive abscissae and their weights.
struct Rule {
    abscissae: &'static [f64],
    weights: &'static [f64],
}

/// Four points: relative error 6e-10 s⁸ for a factor e^{s}.
const FOUR: Rule = Rule {
    abscissae: &[0.339_981_043_584_856_26, 0.861_136_311_594_052_6],
    weights: &[0.652_145_154_862_546_1, 0.347_854_845_137_453_9],
};

/// Eight points: relative error 2e-23 s¹⁶.
const EIGHT: Rule = Rule {
    abscissae: &[0.183_434_642_495_649_8, 0.525_532_409_916_329, 0.796_666_477_413_626_7, 0.960_289_856_497_536_3],
    weights: &[0.362_683_783_378_361_96, 0.313_706_645_877_887_27, 0.222_381_034_453_374_48, 0.101_228_536_290_376_26],
};

/// Growth exponent up to which four points suffice.
const NARROW: f64 = 0.3;
/// Growth exponent of one piece.
const WIDE: f64 = 3.0;

/// Losses below this one are compared as ratios, others as excesses over 1.
const DEEP: f64 = -1.0;

/// A loss in the two forms in which it is compared with dP/dQ.
///
/// Far below 0 the excess of e^loss over 1 rounds to −1 and says nothing; near 0 the ratio has no digits left for the
/// difference of neighbours.
#[derive(Clone, Copy)]
pub(super) struct Level {
    ratio: f64,
    excess: f64,
    deep: bool,
}

impl Level {
    pub(super) fn new(loss: f64) -> Self {
        Self { ratio: loss.exp(), excess: loss.exp_m1(), deep: loss < DEEP }
    }
}

/// dP/dQ at a point, and its excess over 1.
#[derive(Clone, Copy)]
pub(super) struct Likelihood {
    ratio: f64,
    excess: f64,
}

impl Likelihood {
    /// dP/dQ.
    pub(super) fn ratio(self) -> f64 {
        self.ratio
    }

    /// dP/dQ − e^loss, without cancellation.
    pub(super) fn minus(self, level: &Level) -> f64 {
        if level.deep { self.ratio - level.ratio } else { self.excess - level.excess }
    }
}

/// The grid cells of one step, from the first with mass to the last.
pub(super) struct Cells {
    pub(super) q: f64,
    pub(super) z: f64,
    pub(super) spacing: f64,
    /// x outside [low, high] is cut off.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Grid index of the first cell's lower end.
    pub(super) first: i64,
    /// Grid index of the last cell's upper end.
    pub(super) last: i64,
}

impl Cells {
    pub(super) fn new(event: &Event, grid: &Grid) -> Self {
        let z = event.noise_multiplier;
        Self::between(event, grid.spacing, [-grid.reach * z, 1.0 + grid.reach * z])
    }

    /// The cells between two points.
    pub(super) fn between(event: &Event, spacing: f64, [low, high]: [f64; 2]) -> Self {
        let Event { sampling_rate: q, noise_multiplier: z, .. } = *event;
        let mut cells = Self { q, z, spacing, low, high, first: 0, last: 0 };
        cells.first = (cells.loss(low) / spacing).floor() as i64;
        cells.last = ((cells.loss(high) / spacing).ceil() as i64).max(cells.first.saturating_add(2));
        cells
    }

    /// Grid points between the ends, before anything is rounded; infinite or no number where the spacing is none.
    pub(super) fn extent(&self) -> f64 {
        (self.loss(self.high) - self.loss(self.low)) / self.spacing
    }

    /// dP/dQ = 1 − q + q e^{(2x−1)/(2z²)}, given that exponential.
    fn likelihood(&self, exponential: f64) -> Likelihood {
        Likelihood { ratio: (1.0 - self.q) + self.q * exponential, excess: self.q * (exponential - 1.0) }
    }

    /// dP/dQ at x.
    pub(super) fn at(&self, x: f64) -> Likelihood {
        self.likelihood(((x - 0.5) / (self.z * self.z)).exp())
    }

    /// ln(dP/dQ) at x.
    pub(super) fn loss(&self, x: f64) -> f64 {
        let exponent = (x - 0.5) / (self.z * self.z);
        // 1 − q rounds, by as much at every x: where q is tiny and steps are many that would move the whole sum.
        let excess = self.q * exponent.exp_m1();
        if excess < -0.5 { self.at(x).ratio.ln() } else { excess.ln_1p() }
    }

    /// The x, cut to [low, high], at which dP/dQ takes a value.
    pub(super) fn x_of(&self, level: &Level) -> f64 {
        let log_odds = if level.deep {
            ((level.ratio - (1.0 - self.q)).max(0.0) / self.q).ln()
        } else {
            (level.excess / self.q).max(-1.0).ln_1p()
        };
        (0.5 + self.z * self.z * log_odds).clamp(self.low, self.high)
    }

    /// Integrates a function of dP/dQ against φ over [from, to].
    pub(super) fn integrate<const N: usize>(&self, from: f64, to: f64, f: impl Fn(Likelihood) -> [f64; N]) -> [f64; N] {
        let mut sums = [0.0; N];
        if to <= from {
            return sums;
        }
        let precision = 1.0 / (self.z * self.z);
        let rate = |x: f64| (x.abs() + 1.0) * precision + 1.0 / self.z;
        let mut start = from;
        while start < to {
            // The growth exponent per unit of x is largest at one of the two ends.
            let mut end = to;
            let fastest = rate(start).max(rate(end));
            if (end - start) * fastest > WIDE {
                end = (start + WIDE / rate(start).max(rate(start + WIDE / rate(start)))).min(to);
            }
            let rule = if (end - start) * fastest <= NARROW { &FOUR } else { &EIGHT };
            let (middle, half) = (0.5 * (start + end), 0.5 * (end - start));
            let mut node = |x: f64, weight: f64| {
                let density = (-0.5 * x * x * precision).exp() * weight * half;
                let values = f(self.likelihood(((x - 0.5) * precision).exp()));
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += density * value;
                }
            };
            for (abscissa, &weight) in rule.abscissae.iter().zip(rule.weights) {
                node(middle - half * abscissa, weight);
                node(middle + half * abscissa, weight);
            }
            start = end;
        }
        sums.map(|sum| sum * normal_density_at_zero() / self.z)
    }

    /// Calls back with each cell's position, ∫ φ (dP/dQ − e^{jh}) and ∫ φ (e^{(j+1)h} − dP/dQ).
    pub(super) fn for_each(&self, mut visit: impl FnMut(usize, f64, f64)) {
        let level = |index: i64| Level::new(index as f64 * self.spacing);
        let mut lower = level(self.first);
        let mut from = self.low;
        for index in self.first..self.last {
            let upper = level(index + 1);
            let to = if index + 1 == self.last { self.high } else { self.x_of(&upper) };
            let [below, above] = self.integrate(from, to, |here| [here.minus(&lower), -here.minus(&upper)]);
            visit((index - self.first) as usize, below.max(0.0), above.max(0.0));
            (lower, from) = (upper, to);
        }
    }
}
