//! The Gaussian filter: full batches under a budget of mu-squared.
//!
//! Theorem (Smith and Thakurta, arXiv 2210.17520; Koskela et al., arXiv 2209.15596). If every step, whatever it was
//! chosen by, is μ_t-GDP given the past, and a step that would lift Σ μ_t² above μ² is not taken, then the interaction is
//! μ-GDP. Gaussian mechanisms compose to a totally ordered family, so nothing is lost against a committed plan.
//!
//! A step at q = 1 is 1/z-GDP. Below q = 1 a step is no better than (1/z)-GDP at small type I errors, and the
//! central-limit μ of arXiv 2602.06756 is an approximation without a bound: subsampled steps are refused here.

use serde::{Deserialize, Serialize};

use super::accountant::AccountantKind;
use super::error::{AccountingError, require, require_delta};
use super::event::Event;
use super::gdp::gaussian_delta;

/// A running filter for full batches. A refusal is final.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaussianFilter {
    epsilon: f64,
    delta: f64,
    /// The largest Σ 1/z².
    budget: f64,
    spent: f64,
    refused: bool,
}

impl GaussianFilter {
    /// The filter for a target; its μ is the largest that proves it.
    pub fn new(epsilon: f64, delta: f64) -> Result<Self, AccountingError> {
        require(epsilon > 0.0, "target epsilon", epsilon, "above 0 and finite")?;
        require_delta(delta)?;
        let (mut low, mut high) = (0.0, 1.0);
        while gaussian_delta(high, epsilon) <= delta {
            high *= 2.0;
        }
        while high - low > 1e-14 * high {
            let middle = 0.5 * (low + high);
            if gaussian_delta(middle, epsilon) <= delta { low = middle } else { high = middle }
        }
        Ok(Self { epsilon, delta, budget: low * low * (1.0 - f64::EPSILON), spent: 0.0, refused: false })
    }

    /// The guarantee: epsilon and delta.
    pub fn target(&self) -> (f64, f64) {
        (self.epsilon, self.delta)
    }

    /// The μ of everything the filter may let through.
    pub fn mu(&self) -> f64 {
        self.budget.sqrt()
    }

    /// Share of the budget that is spent.
    pub fn spent_fraction(&self) -> f64 {
        self.spent / self.budget
    }

    /// Whether a step was refused.
    pub fn is_closed(&self) -> bool {
        self.refused
    }

    /// Charges an event at q = 1; `false` refuses it and everything after it. Call before noise is drawn.
    ///
    /// # Errors
    /// When the event is subsampled or out of range, which spends nothing.
    pub fn try_charge(&mut self, event: &Event) -> Result<bool, AccountingError> {
        event.validate()?;
        if event.sampling_rate < 1.0 {
            let reason = "the Gaussian filter is proven for full batches only; use a noise deck or a Rényi filter";
            return Err(AccountingError::OutOfScope { accountant: AccountantKind::Gdp, reason: reason.to_owned() });
        }
        let cost = event.steps as f64 / event.noise_multiplier.powi(2);
        let after = (self.spent + cost * (1.0 + 4.0 * f64::EPSILON)) * (1.0 + f64::EPSILON);
        self.refused |= after > self.budget;
        if !self.refused {
            self.spent = after;
        }
        Ok(!self.refused)
    }
}
