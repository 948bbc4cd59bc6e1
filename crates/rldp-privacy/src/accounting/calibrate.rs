//! Calibration: the least noise, the most steps or the highest sampling rate that meet a target.

use serde::{Deserialize, Serialize};

use super::accountant::{AccountantKind, accountant};
use super::error::{AccountingError, require, require_delta};
use super::event::{Event, merge};

/// How far below the target a calibrated epsilon may stay: relative, and absolute for targets above 1.
const TOLERANCE: f64 = 5e-5;
/// Where the search for a noise multiplier ends.
const NOISE: (f64, f64) = (2e-2, 1e6);
/// Evaluations after which a bracket is returned as it is; its safe end never exceeds the target.
const MOST_EVALUATIONS: usize = 60;

/// A calibrated event and the epsilon that its accountant proves for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// q.
    pub sampling_rate: f64,
    /// z.
    pub noise_multiplier: f64,
    /// T.
    pub steps: u64,
    /// The epsilon of these at the delta of the calibration; never above the target.
    pub epsilon: f64,
}

/// The smallest noise multiplier (to the tolerance) with epsilon at most `epsilon`.
///
/// The result's epsilon never exceeds the target and stays within 1e-4 of it wherever the accountant's epsilon can come
/// that close.
///
/// ```
/// use rldp_privacy::accounting::{AccountantKind, Event, accountant, calibrate_noise_multiplier};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let found = calibrate_noise_multiplier(AccountantKind::Rdp, 4.0, 1e-5, 0.01, 1000)?;
/// let plan = [Event::new(0.01, found.noise_multiplier, 1000)];
/// let epsilon = accountant(AccountantKind::Rdp).epsilon(&plan, 1e-5)?;
/// assert!(epsilon <= 4.0 && epsilon > 3.99);
/// # Ok(())
/// # }
/// ```
pub fn calibrate_noise_multiplier(
    kind: AccountantKind,
    epsilon: f64,
    delta: f64,
    sampling_rate: f64,
    steps: u64,
) -> Result<Calibration, AccountingError> {
    require_target(epsilon, delta)?;
    let accountant = accountant(kind);
    let at = |z: f64| accountant.epsilon(&[Event::new(sampling_rate, z, steps)], delta);
    let start = starting_noise(kind, epsilon, delta, sampling_rate, steps)?;
    let search = Search { parameter: "noise multiplier", target: epsilon, range: NOISE, growth: 1.25 };
    let (noise_multiplier, epsilon) = search.decreasing(at, start)?;
    Ok(Calibration { sampling_rate, noise_multiplier, steps, epsilon })
}

/// The smallest factor on all noise multipliers of a plan with epsilon at most `epsilon`, and the epsilon it has.
///
/// This calibrates a schedule of noise, or a [`NoiseDeck`](super::NoiseDeck), given in proportions.
pub fn calibrate_noise_scale(
    kind: AccountantKind,
    epsilon: f64,
    delta: f64,
    plan: &[Event],
) -> Result<(f64, f64), AccountingError> {
    require_target(epsilon, delta)?;
    let plan = merge(plan)?;
    let at = |kind: AccountantKind, scale: f64| accountant(kind).epsilon(&scaled(&plan, scale), delta);
    let search = Search { parameter: "noise scale", target: epsilon, range: NOISE, growth: 1.25 };
    let start = if kind == AccountantKind::Pld {
        0.95 * search.decreasing(|x| at(AccountantKind::Rdp, x), 1.0)?.0
    } else {
        1.0
    };
    search.decreasing(|scale| at(kind, scale), start)
}

/// A plan with every noise multiplier times `scale`.
fn scaled(plan: &[Event], scale: f64) -> Vec<Event> {
    plan.iter().map(|event| Event { noise_multiplier: scale * event.noise_multiplier, ..*event }).collect()
}

/// The highest sampling rate (to the tolerance) with epsilon at most `epsilon`.
pub fn calibrate_sampling_rate(
    kind: AccountantKind,
    epsilon: f64,
    delta: f64,
    noise_multiplier: f64,
    steps: u64,
) -> Result<Calibration, AccountingError> {
    require_target(epsilon, delta)?;
    let accountant = accountant(kind);
    let at = |q: f64| accountant.epsilon(&[Event::new(q, noise_multiplier, steps)], delta);
    let full = at(1.0)?;
    if full <= epsilon {
        return Ok(Calibration { sampling_rate: 1.0, noise_multiplier, steps, epsilon: full });
    }
    // Work with 1/q, in which epsilon decreases.
    let search = Search { parameter: "inverse sampling rate", target: epsilon, range: (1.0, 1e12), growth: 2.0 };
    let (inverse, epsilon) = search.decreasing(|inverse| at(1.0 / inverse), 100.0)?;
    Ok(Calibration { sampling_rate: 1.0 / inverse, noise_multiplier, steps, epsilon })
}

/// The largest number of steps with epsilon at most `epsilon`; an error if one step is too many.
pub fn calibrate_steps(
    kind: AccountantKind,
    epsilon: f64,
    delta: f64,
    sampling_rate: f64,
    noise_multiplier: f64,
) -> Result<Calibration, AccountingError> {
    require_target(epsilon, delta)?;
    let accountant = accountant(kind);
    let at = |steps: u64| accountant.epsilon(&[Event::new(sampling_rate, noise_multiplier, steps)], delta);
    let mut low = (1_u64, at(1)?);
    if low.1 > epsilon {
        let (hint, most) = ("raise the noise multiplier or lower the sampling rate", MOST_STEPS as f64);
        return Err(AccountingError::NoSolution { parameter: "steps", target: epsilon, low: 1.0, high: most, hint });
    }
    let mut high = None;
    while high.is_none_or(|high| high - low.0 > 1) {
        let guess = high.map_or(low.0.saturating_mul(4), |high| low.0 + (high - low.0) / 2);
        if guess > MOST_STEPS {
            break;
        }
        let found = at(guess)?;
        if found <= epsilon { low = (guess, found) } else { high = Some(guess) }
    }
    Ok(Calibration { sampling_rate, noise_multiplier, steps: low.0, epsilon: low.1 })
}

/// More steps than any run takes; a calibration of steps stops here.
const MOST_STEPS: u64 = 1 << 30;

fn require_target(epsilon: f64, delta: f64) -> Result<(), AccountingError> {
    require(epsilon > 0.0, "target epsilon", epsilon, "above 0 and finite")?;
    require_delta(delta)
}

/// Where to look first: RDP is fast and its answer lies slightly above that of PLD.
fn starting_noise(
    kind: AccountantKind,
    epsilon: f64,
    delta: f64,
    sampling_rate: f64,
    steps: u64,
) -> Result<f64, AccountingError> {
    if kind == AccountantKind::Pld {
        let found = calibrate_noise_multiplier(AccountantKind::Rdp, epsilon, delta, sampling_rate, steps)?;
        Ok(found.noise_multiplier * 0.95)
    } else {
        Ok(1.0)
    }
}

/// A root search in ln x for a decreasing epsilon(x) that keeps a proven point.
struct Search {
    parameter: &'static str,
    target: f64,
    range: (f64, f64),
    /// Factor by which the bracket grows.
    growth: f64,
}

/// ln x, epsilon and ln(epsilon / target) at a point.
#[derive(Clone, Copy)]
struct Point {
    log_x: f64,
    epsilon: f64,
    gap: f64,
}

impl Search {
    /// The x and its epsilon, at most the target, for which epsilon comes closest to the target.
    fn decreasing(
        &self,
        epsilon_at: impl Fn(f64) -> Result<f64, AccountingError>,
        start: f64,
    ) -> Result<(f64, f64), AccountingError> {
        let point = |log_x: f64| {
            let epsilon = epsilon_at(log_x.exp())?;
            Ok(Point { log_x, epsilon, gap: (epsilon / self.target).max(1e-12).ln() })
        };
        let (mut below, mut above) = self.bracket(&point, start.clamp(self.range.0, self.range.1))?;
        let tolerance = TOLERANCE * self.target.min(1.0);
        let mut stale = 0;
        for _ in 0..MOST_EVALUATIONS {
            if self.target - below.epsilon <= tolerance || below.log_x - above.log_x < 1e-13 {
                break;
            }
            // Aim at the middle of the tolerance by the secant; bisect when one end does not move.
            let aim = -0.5 * tolerance / self.target;
            let share = (above.gap - aim) / (above.gap - below.gap);
            let share = if stale >= 2 { 0.5 } else { share.clamp(1e-3, 1.0 - 1e-3) };
            let next = point(above.log_x + share * (below.log_x - above.log_x))?;
            let moved_below = next.epsilon <= self.target;
            stale = match (moved_below, stale) {
                _ if share == 0.5 => 0,
                (_, count) => count + 1,
            };
            if moved_below { below = next } else { above = next }
        }
        Ok((below.log_x.exp(), below.epsilon))
    }

    /// A point at or below the target and one above it.
    fn bracket(
        &self,
        point: &impl Fn(f64) -> Result<Point, AccountingError>,
        start: f64,
    ) -> Result<(Point, Point), AccountingError> {
        let mut here = point(start.ln())?;
        let mut growth = self.growth.ln();
        loop {
            let safe = here.epsilon <= self.target;
            let log_x = here.log_x + if safe { -growth } else { growth };
            if log_x < self.range.0.ln() || log_x > self.range.1.ln() {
                return Err(AccountingError::NoSolution {
                    parameter: self.parameter,
                    target: self.target,
                    low: self.range.0,
                    high: self.range.1,
                    hint: "change the target, the steps or the sampling rate",
                });
            }
            let next = point(log_x)?;
            match (safe, next.epsilon <= self.target) {
                (true, false) => return Ok((here, next)),
                (false, true) => return Ok((next, here)),
                _ => here = next,
            }
            growth *= 1.6;
        }
    }
}
