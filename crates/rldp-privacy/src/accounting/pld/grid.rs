//! The loss grid and the tails: how fine, and how far.
//!
//! The connect-the-dots discretisation (arXiv 2207.04380) with spacing h raises the second moment of one step's loss by
//! at most about h²/6 on average, so it raises a composed epsilon by a fraction of about h²/(12 s²), where s is the
//! standard deviation of the loss. The spacing is therefore tied to s: [`RESOLUTION`] 0.04 gives 1.3e-4. It does
//! not depend on the number of steps, because both the error and epsilon add up over them.

use super::super::error::AccountingError;
use super::super::event::Event;
use super::super::log_moment::Ratio;
use super::step::MOST_ATOMS;

/// Grid spacing over the standard deviation of one step's loss.
pub(super) const RESOLUTION: f64 = 0.04;
/// All spacings are multiples of this one or whole fractions of it, so that grids nest: a coarser grid's distribution
/// dominates a finer one's, and results can be compared with tables computed at 1e-5 and 1e-4.
const UNIT: f64 = 1e-5;
/// Grid spacing over the standard deviation of the sum's loss, where steps are composed by their densities.
const RESOLUTION_OF_SUM: f64 = 0.01;
/// Most points of the grid of such a sum.
const MOST_OF_SUM: usize = 1 << 21;
/// Tail mass left out of all steps together, as a fraction of the delta that is computed; added to it in full.
const TAIL_SHARE: f64 = 1e-9;
/// Losses beyond this do not fit into `f64` as ratios.
pub(super) const LARGEST_LOSS: f64 = 600.0;

/// The grid of one composition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Spacing of losses.
    pub(super) spacing: f64,
    /// Most points of a window, and of a step.
    pub(super) most: usize,
    /// Steps are integrated over x within this many standard deviations of both means.
    pub(super) reach: f64,
}

impl Grid {
    /// The grid for merged events and the smallest delta that matters.
    pub(super) fn new(events: &[Event], resolution: f64, smallest_delta: f64) -> Self {
        let steps: f64 = events.iter().map(|event| event.steps as f64).sum();
        let variance: f64 = events.iter().map(|event| event.steps as f64 * loss_variance(event)).sum::<f64>() / steps;
        // A normal tail beyond k standard deviations is below exp(−k²/2)/2.
        let reach = (2.0 * (steps / (smallest_delta.max(1e-290) * TAIL_SHARE)).ln()).sqrt();
        Self { spacing: nested(resolution * variance.sqrt()), most: MOST_ATOMS, reach }
    }

    /// The grid of a sum whose steps are never put on it.
    pub(super) fn of_sum(events: &[Event], smallest_delta: f64) -> Self {
        let variance: f64 = events.iter().map(|event| event.steps as f64 * loss_variance(event)).sum();
        let spacing = RESOLUTION_OF_SUM * variance.sqrt();
        Self { spacing, most: MOST_OF_SUM, ..Self::new(events, RESOLUTION, smallest_delta) }
    }

    /// Checks that a step's likelihood ratios fit.
    pub(super) fn check(&self, event: &Event) -> Result<(), AccountingError> {
        let z = event.noise_multiplier;
        let largest = (0.5 + self.reach * z) / (z * z);
        if largest <= LARGEST_LOSS {
            return Ok(());
        }
        Err(AccountingError::Parameter {
            name: "noise multiplier for the pld accountant",
            value: z,
            bound: "about 0.04 or more (smaller ones: rdp)",
        })
    }
}

/// The largest spacing not above `spacing` that is a multiple or a whole fraction of [`UNIT`].
fn nested(spacing: f64) -> f64 {
    let multiple = spacing / UNIT;
    if multiple >= 1.0 { multiple.floor() * UNIT } else { UNIT / (1.0 / multiple).ceil() }
}

/// Twice the smaller Kullback–Leibler divergence of one step: the variance of its loss, wherever that is nearly normal,
/// and a robust stand-in where rare large losses dominate the variance.
pub(super) fn loss_variance(event: &Event) -> f64 {
    let Event { sampling_rate: q, noise_multiplier: z, .. } = *event;
    if q == 1.0 {
        return 1.0 / (z * z);
    }
    let ratio = Ratio::new(q, z);
    let spacing = (0.25 * z).min(0.4 * z * z);
    let nodes = |center: f64| {
        let half = (10.0 * z / spacing).ceil() as i64;
        (-half..=half).map(move |i| center + i as f64 * spacing)
    };
    let normal = |x: f64| (-x * x / (2.0 * z * z)).exp();
    // KL(N ‖ mixture) = E_N[u − ln(1 + u)]; the mean of u is 0, and the integrand is not negative.
    let against: f64 = nodes(0.0).map(|x| normal(x) * surplus(ratio.at(x))).sum();
    // KL(mixture ‖ N) = E_N[(1 + u) ln(1 + u) − u]: again not negative; the range spans both bumps.
    let low = -10.0 * z;
    let count = ((1.0 - 2.0 * low) / spacing).ceil() as i64;
    let towards: f64 = (0..=count).map(|i| low + i as f64 * spacing).map(|x| normal(x) * convex(ratio.at(x))).sum();
    let normalizer = spacing / (z * (2.0 * std::f64::consts::PI).sqrt());
    2.0 * normalizer * against.min(towards)
}

/// u − ln(1 + u) ≥ 0.
fn surplus((u, log_ratio): (f64, f64)) -> f64 {
    if u.abs() < 1e-3 { u * u * (0.5 - u * (1.0 / 3.0 - u / 4.0)) } else { u - log_ratio }
}

/// (1 + u) ln(1 + u) − u ≥ 0.
fn convex((u, log_ratio): (f64, f64)) -> f64 {
    if u.abs() < 1e-3 { u * u * (0.5 - u * (1.0 / 6.0 - u / 12.0)) } else { (1.0 + u) * log_ratio - u }
}
