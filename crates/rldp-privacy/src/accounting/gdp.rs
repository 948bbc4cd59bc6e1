//! Gaussian differential privacy: exact for compositions of plain Gaussian mechanisms (arXiv 1905.02383).

use std::f64::consts::{PI, SQRT_2};

use super::accountant::{Accountant, AccountantKind, common_scope};
use super::error::{AccountingError, require_delta, require_epsilon};
use super::event::{Adaptivity, Adjacency, Event, merge};

/// The exact accountant of full batches: mu² = sum of steps / z².
#[derive(Clone, Copy, Debug, Default)]
pub struct GdpAccountant;

impl GdpAccountant {
    fn mu(self, events: &[Event]) -> Result<f64, AccountingError> {
        let mut mu_squared = 0.0;
        for event in merge(events)? {
            self.supports(&event, Adjacency::AddRemove, Adaptivity::Committed)?;
            mu_squared += event.steps as f64 / event.noise_multiplier.powi(2);
        }
        Ok(mu_squared.sqrt())
    }
}

impl Accountant for GdpAccountant {
    fn kind(&self) -> AccountantKind {
        AccountantKind::Gdp
    }

    fn name(&self) -> &'static str {
        "Gaussian DP (exact, full batches)"
    }

    fn supports(&self, event: &Event, adjacency: Adjacency, adaptivity: Adaptivity) -> Result<(), AccountingError> {
        common_scope(self.kind(), event, adjacency, adaptivity)?;
        if event.sampling_rate < 1.0 {
            let reason = format!(
                "the sampling rate is {}, and under subsampling Gaussian DP is a limit theorem, not a bound; use pld",
                event.sampling_rate
            );
            return Err(AccountingError::OutOfScope { accountant: self.kind(), reason });
        }
        Ok(())
    }

    fn epsilon(&self, events: &[Event], delta: f64) -> Result<f64, AccountingError> {
        require_delta(delta)?;
        Ok(gaussian_epsilon(self.mu(events)?, delta))
    }

    fn delta(&self, events: &[Event], epsilon: f64) -> Result<f64, AccountingError> {
        require_epsilon(epsilon)?;
        Ok(gaussian_delta(self.mu(events)?, epsilon))
    }
}

/// Delta of mu-GDP at `epsilon`: Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ), rounded up (arXiv 1805.06530, Theorem 8).
pub fn gaussian_delta(mu: f64, epsilon: f64) -> f64 {
    let upper = epsilon / mu - mu / 2.0;
    let lower = epsilon / mu + mu / 2.0;
    let (scale, plus, minus) = if upper > 2.0 {
        // e^ε Φ(−lower) = φ(upper) Mills(lower): one density factors out, and large epsilons do not overflow.
        (density(upper), mills(upper), mills(lower))
    } else {
        // Far out the tail has few digits left, or none, for e^ε to multiply.
        let minus = if lower > 2.0 { density(upper) * mills(lower) } else { (epsilon + normal_tail(lower).ln()).exp() };
        (1.0, normal_tail(upper), minus)
    };
    // Eight units in the last place for each of the two terms, and what the exponent's rounding does to the density.
    let rounding = f64::EPSILON * (8.0 + 2.0 * upper * upper + 2.0 * epsilon.abs()) * (plus + minus);
    (scale * (plus - minus + rounding)).clamp(0.0, 1.0)
}

/// The smallest epsilon with `gaussian_delta(mu, epsilon) <= delta`, by bisection to the last bits, rounded up.
pub fn gaussian_epsilon(mu: f64, delta: f64) -> f64 {
    if gaussian_delta(mu, 0.0) <= delta {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, mu * mu / 2.0 + mu);
    while gaussian_delta(mu, high) > delta {
        low = high;
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if gaussian_delta(mu, middle) > delta { low = middle } else { high = middle }
    }
    high
}

/// φ(x).
fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// 1 − Φ(x).
fn normal_tail(x: f64) -> f64 {
    0.5 * libm::erfc(x / SQRT_2)
}

/// The Mills ratio for x > 2, by the continued fraction 1/(x + 1/(x + 2/(x + …))).
fn mills(x: f64) -> f64 {
    let mut tail = x;
    for k in (1..=200).rev() {
        tail = x + f64::from(k) / tail;
    }
    1.0 / tail
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Φ(−lower) is subnormal here; to 40 digits delta is 0.0218640…
    #[test]
    fn delta_is_no_smaller_where_the_far_tail_has_no_digits_left() {
        let delta = gaussian_delta(36.47, 737.605_75);
        assert!((0.021_864..0.021_866).contains(&delta), "{delta}");
    }
}
