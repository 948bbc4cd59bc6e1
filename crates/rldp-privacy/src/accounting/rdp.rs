//! Rényi differential privacy of the Poisson-subsampled Gaussian, exact at every order.

use super::accountant::{Accountant, AccountantKind, common_scope};
use super::conversion::{tight_epsilon, tight_log_delta};
use super::error::{AccountingError, require, require_delta, require_epsilon};
use super::event::{Adaptivity, Adjacency, Event, merge};
use super::log_moment::log_moment;
use super::search::minimize;

/// Range of θ = α − 1 that is searched.
///
/// The best order solves θ K'(θ) − K(θ) = ln(1/δ), K(θ) = θρ(1 + θ). The lower end serves compositions with epsilons
/// beyond 1e6, the upper end single steps with epsilons below 1e-3; beyond either the result stays valid and is merely
/// not the smallest.
const THETAS: (f64, f64) = (1e-4, 1e5);
/// Where the walk over ln θ starts, its step, and the width to which golden section narrows the bracket: an error of
/// 1e-5 in ln θ moves epsilon by less than a relative 1e-9, since its derivative vanishes at the best order.
const START: f64 = 2.0;
const STEP: f64 = 0.8;
const TOLERANCE: f64 = 1e-5;
/// Relative rounding room of [`rdp`].
const ROUNDING: f64 = 1e-12;

/// Rényi divergence at `order` > 1 of one step, under add/remove adjacency, rounded up.
///
/// The mixture against the plain Gaussian is the larger of the two directions (arXiv 1908.10530, Theorem 5).
pub fn rdp(sampling_rate: f64, noise_multiplier: f64, order: f64) -> Result<f64, AccountingError> {
    Event::new(sampling_rate, noise_multiplier, 1).validate()?;
    require(order > 1.0, "Rényi order", order, "above 1 and finite")?;
    Ok(log_moment(sampling_rate, noise_multiplier, order) / (order - 1.0) * (1.0 + ROUNDING))
}

/// Rényi divergence at order 1 + θ of merged events, rounded up.
pub(super) fn total_rdp(events: &[Event], theta: f64) -> f64 {
    let sum: f64 = events
        .iter()
        .map(|event| event.steps as f64 * log_moment(event.sampling_rate, event.noise_multiplier, 1.0 + theta))
        .sum();
    sum / theta * (1.0 + ROUNDING)
}

/// The RDP accountant: the order is optimised over a continuum, none is dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct RdpAccountant;

impl RdpAccountant {
    /// Epsilon and the order that gives it.
    pub fn epsilon_and_order(&self, events: &[Event], delta: f64) -> Result<(f64, f64), AccountingError> {
        require_delta(delta)?;
        let events = merge(events)?;
        Ok(best_order(|theta| tight_epsilon(1.0 + theta, total_rdp(&events, theta), delta)))
    }
}

/// Minimises `epsilon(θ)` over orders; returns the (non-negative) minimum and its order 1 + θ.
pub(super) fn best_order(epsilon: impl Fn(f64) -> f64) -> (f64, f64) {
    let range = (THETAS.0.ln(), THETAS.1.ln());
    let (log_theta, value) = minimize(|x| epsilon(x.exp()), range, START, STEP, TOLERANCE);
    (value.max(0.0), 1.0 + log_theta.exp())
}

impl Accountant for RdpAccountant {
    fn kind(&self) -> AccountantKind {
        AccountantKind::Rdp
    }

    fn name(&self) -> &'static str {
        "Rényi DP (exact orders, tight conversion)"
    }

    fn supports(&self, event: &Event, adjacency: Adjacency, adaptivity: Adaptivity) -> Result<(), AccountingError> {
        common_scope(self.kind(), event, adjacency, adaptivity)
    }

    fn epsilon(&self, events: &[Event], delta: f64) -> Result<f64, AccountingError> {
        Ok(self.epsilon_and_order(events, delta)?.0)
    }

    fn delta(&self, events: &[Event], epsilon: f64) -> Result<f64, AccountingError> {
        require_epsilon(epsilon)?;
        let events = merge(events)?;
        // ln delta is convex in θ, but not in ln θ; quasi-convexity is all the search needs.
        let range = (THETAS.0.ln(), THETAS.1.ln());
        let log_delta = |x: f64| tight_log_delta(1.0 + x.exp(), total_rdp(&events, x.exp()), epsilon);
        Ok(minimize(log_delta, range, START, STEP, TOLERANCE).1.exp().min(1.0))
    }
}
