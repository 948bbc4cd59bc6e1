//! Where to look: exponential tilting and the window of the composed loss.
//!
//! The sum S of all losses is wanted far out in its tail, where delta is 1e-5 or 1e-250. Tilting every step by e^{θL}
//! with the θ of Chernoff's bound moves the bulk of S to epsilon. There the Fourier transform's rounding errors are small
//! beside the result, and a window of a dozen standard deviations holds all that counts. The plan is a guess: what
//! lies outside the window is bounded afterwards, from the discretised steps themselves.

use super::super::conversion::{tight_epsilon, tight_log_delta};
use super::super::event::Event;
use super::super::log_moment::log_moment;
use super::super::search::minimize;
use super::density;

/// Mass of the tilted sum that may lie above the window, and below it. Beside delta it counts about ten times as much.
const OUTSIDE: f64 = 1e-9;
/// Logarithms of the tilts that are searched.
const LOG_THETAS: (f64, f64) = (-11.5, 11.5);
/// Logarithms of the exponents that bound what lies outside the window.
const LOG_SHIFTS: (f64, f64) = (-14.0, 12.0);
/// The same below it. Where losses end below, as under sampling, that end is approached as −ln OUTSIDE over the exponent: beyond e^8 a window
/// would be narrower by less than 0.007, and each moment takes milliseconds.
const LOG_SHIFTS_BELOW: (f64, f64) = (-14.0, 8.0);
/// Start, step and precision of the searches over logarithms.
const START: f64 = 2.0;
const STEP: f64 = 0.7;
const PRECISION: f64 = 0.02;
/// Fractions of Chernoff's tilt that are tried, and how much wider than at half the tilt a window may be.
const GENTLER: [f64; 4] = [1.0, 0.9, 0.8, 0.65];
const WIDENING: f64 = 1.5;
/// Relative width of the groups in which segments are pooled.
const POOLING: f64 = 0.02;

/// The two directions of add/remove adjacency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The data set with the unit against the one without: losses ln(dP/dQ) under the mixture P.
    Remove,
    /// The other way round: losses ln(dQ/dP) under Q.
    Add,
}

impl Direction {
    /// Both.
    pub(super) const BOTH: [Self; 2] = [Self::Remove, Self::Add];

    /// ln E[e^{θ L}] of one step.
    fn cumulant(self, event: &Event, theta: f64) -> f64 {
        let order = match self {
            Self::Remove => 1.0 + theta,
            Self::Add => -theta,
        };
        log_moment(event.sampling_rate, event.noise_multiplier, order)
    }
}

/// The tilt and the window of one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The tilt.
    pub(super) theta: f64,
    /// Lower end of the window of losses.
    pub(super) low: f64,
    /// Upper end.
    pub(super) high: f64,
    /// The exponent that bounds the mass above the window; above `theta`.
    pub(super) upper_theta: f64,
    /// The exponent that bounds the tilted mass below the window; below `theta`.
    pub(super) lower_theta: f64,
}

/// Events in few groups, each with its worst parameters: every bound from an outline holds for the events.
pub(super) struct Outline {
    pooled: Vec<(Event, f64)>,
    /// Mass of every step that is left out, where the moments are those of the rest.
    lost: Option<f64>,
}

impl Outline {
    /// Pools events whose parameters differ by a few percent into the largest q and the smallest z among them.
    ///
    /// Both are sound: a smaller q mixes the mixture with N, more noise is post-processing.
    pub(super) fn new(events: &[Event]) -> Self {
        let bin = |x: f64| (x.ln() / POOLING.ln_1p()).round() as i64;
        let key = |event: &Event| (bin(event.sampling_rate), bin(event.noise_multiplier));
        let mut sorted: Vec<&Event> = events.iter().collect();
        sorted.sort_by_key(|event| key(event));
        let mut pooled: Vec<(Event, f64)> = Vec::new();
        let mut last = None;
        for event in sorted {
            let here = Some(key(event));
            match pooled.last_mut() {
                Some((worst, steps)) if last == here => {
                    *steps += event.steps as f64;
                    worst.sampling_rate = worst.sampling_rate.max(event.sampling_rate);
                    worst.noise_multiplier = worst.noise_multiplier.min(event.noise_multiplier);
                }
                _ => pooled.push((*event, event.steps as f64)),
            }
            last = here;
        }
        Self { pooled, lost: None }
    }

    /// Moments of what is left of every event when `lost` of its mass is cut off: bounds for that rest alone, which no other
    /// event's rest dominates.
    pub(super) fn cut(events: &[Event], lost: f64) -> Self {
        Self { pooled: events.iter().map(|event| (*event, event.steps as f64)).collect(), lost: Some(lost) }
    }

    /// ln E[e^{θ S}] of the whole composition.
    fn cumulant(&self, direction: Direction, theta: f64) -> f64 {
        let one = |event: &Event| match self.lost {
            Some(lost) => density::cumulant(event, lost, direction, theta),
            None => direction.cumulant(event, theta),
        };
        self.pooled.iter().map(|(event, steps)| steps * one(event)).sum()
    }

    /// The epsilon that one order's moment proves at a delta: an upper bound without any grid.
    pub(super) fn epsilon(&self, direction: Direction, delta: f64) -> f64 {
        let at = |x: f64| tight_epsilon(1.0 + x.exp(), self.cumulant(direction, x.exp()) / x.exp(), delta);
        minimize(at, LOG_THETAS, START, STEP, PRECISION).1.max(0.0)
    }

    /// ln of the delta that one order's moment proves at an epsilon, and the θ of that order.
    pub(super) fn log_delta(&self, direction: Direction, epsilon: f64) -> (f64, f64) {
        let at = |x: f64| tight_log_delta(1.0 + x.exp(), self.cumulant(direction, x.exp()) / x.exp(), epsilon);
        let (log_theta, log_delta) = minimize(at, LOG_THETAS, START, STEP, PRECISION);
        (log_delta.min(0.0), log_theta.exp())
    }

    /// The plan for epsilons at deltas between `smallest` and `largest`.
    pub(super) fn for_deltas(&self, direction: Direction, smallest: f64, largest: f64) -> Plan {
        let log_delta = 0.5 * (smallest.ln() + largest.ln());
        let epsilon = |x: f64| (self.cumulant(direction, x.exp()) - log_delta) / x.exp();
        self.around(direction, minimize(epsilon, LOG_THETAS, START, STEP, PRECISION).0.exp())
    }

    /// A plan with a tilt of `theta` or somewhat less.
    ///
    /// Where rare large losses begin to matter, Chernoff's θ tilts the sum far into them and the window grows without
    /// need; a slightly smaller θ does not. The window at half the tilt is the measure of what is needed.
    pub(super) fn around(&self, direction: Direction, theta: f64) -> Plan {
        let half = self.window(direction, 0.5 * theta);
        GENTLER
            .iter()
            .map(|factor| self.window(direction, factor * theta))
            .find(|plan| plan.high - plan.low <= WIDENING * (half.high - half.low))
            .unwrap_or(half)
    }

    /// The window around the mean of the sum tilted by `theta`.
    pub(super) fn window(&self, direction: Direction, theta: f64) -> Plan {
        let at_theta = self.cumulant(direction, theta) + OUTSIDE.ln();
        // The tightest end that some exponent proves by Markov's inequality, above and below.
        let upper_end = |x: f64| (self.cumulant(direction, theta + x.exp()) - at_theta) / x.exp();
        let lower_end = |x: f64| (self.cumulant(direction, theta - x.exp()) - at_theta) / x.exp();
        let (up, high) = minimize(upper_end, LOG_SHIFTS, theta.ln(), STEP, PRECISION);
        let (down, minus_low) = minimize(lower_end, LOG_SHIFTS_BELOW, theta.ln(), STEP, PRECISION);
        Plan { theta, low: -minus_low, high, upper_theta: theta + up.exp(), lower_theta: theta - down.exp() }
    }
}
