//! The Rényi filter: adaptively chosen noise multipliers under a budget fixed before the first step.
//!
//! Theorem (Feldman and Zrnic, arXiv 2008.11193; Lécuyer, arXiv 2103.01379). Fix an order α and a budget ρ. If step t,
//! whatever it was chosen by, has Rényi divergence at most ρ_t at order α given the past, and a step that would lift
//! Σ ρ_t above ρ is not taken, then the whole interaction is (α, ρ)-RDP. The order must not depend on the outputs; it
//! is chosen from the public plan.

use serde::{Deserialize, Serialize};

use super::conversion::{lossless_budget, lossless_epsilon};
use super::error::{AccountingError, require, require_delta};
use super::event::{Event, merge};
use super::rdp::{best_order, rdp, total_rdp};

/// Relative room for a recorded budget to differ from the recomputed one; every budget stays below its bound by twice
/// as much.
const RECORDED: f64 = 1e-9;

/// Beyond what any plan chooses.
const LARGEST_ORDER: f64 = 1e6;

/// A fixed order and its budget: everything the filter enforces, settled before the first step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterSpec {
    /// The epsilon that the filter guarantees.
    pub epsilon: f64,
    /// The delta that goes with it.
    pub delta: f64,
    /// The Rényi order α, above 1.
    pub order: f64,
    /// The largest total Rényi divergence at that order.
    pub budget: f64,
}

impl FilterSpec {
    /// The filter for a target, with the order at which `steps` steps at the planned noise would cost least epsilon.
    ///
    /// The plan is public and binds nobody: the guarantee holds for every sequence of noise multipliers.
    pub fn plan(
        epsilon: f64,
        delta: f64,
        sampling_rate: f64,
        planned_noise_multiplier: f64,
        steps: u64,
    ) -> Result<Self, AccountingError> {
        require_delta(delta)?;
        let plan = merge(&[Event::new(sampling_rate, planned_noise_multiplier, steps)])?;
        let (_, order) = best_order(|theta| lossless_epsilon(1.0 + theta, total_rdp(&plan, theta), delta));
        Self::at_order(epsilon, delta, order)
    }

    /// The filter for a target at a given order.
    pub fn at_order(epsilon: f64, delta: f64, order: f64) -> Result<Self, AccountingError> {
        require(epsilon > 0.0, "target epsilon", epsilon, "above 0 and finite")?;
        require_delta(delta)?;
        require(order > 1.0 && order <= LARGEST_ORDER, "Rényi order", order, "above 1 and at most 1e6")?;
        let budget = lossless_budget(order, epsilon, delta) * (1.0 - 2.0 * RECORDED);
        if budget <= 0.0 {
            return Err(AccountingError::NoSolution {
                parameter: "Rényi budget",
                target: epsilon,
                low: 0.0,
                high: epsilon,
                hint: "at this order no loss at all is allowed; plan with the noise that the target needs",
            });
        }
        Ok(Self { epsilon, delta, order, budget })
    }

    /// Checks that the budget proves the target: what a reader of a recorded specification must do first.
    pub fn verify(&self) -> Result<(), AccountingError> {
        let honest = Self::at_order(self.epsilon, self.delta, self.order)?;
        require(
            self.budget > 0.0 && self.budget <= honest.budget * (1.0 + RECORDED),
            "Rényi budget",
            self.budget,
            "positive and at most what the order, epsilon and delta allow",
        )
    }
}

/// A step was refused: it would overspend, or the filter had refused before. Terminal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("refused: the step costs {cost} at order {order}, {spent} of {budget} is spent; the run is over")]
pub struct Refusal {
    /// The order.
    pub order: f64,
    /// Rényi divergence of the step.
    pub cost: f64,
    /// Spent before it.
    pub spent: f64,
    /// The budget.
    pub budget: f64,
}

/// A running filter. A refusal is final: no later step, however small, is let through.
#[derive(Clone, Debug)]
pub struct RenyiFilter {
    spec: FilterSpec,
    spent: f64,
    refused: bool,
}

impl RenyiFilter {
    /// A filter with nothing spent.
    pub fn new(spec: FilterSpec) -> Self {
        Self { spec, spent: 0.0, refused: false }
    }

    /// What the filter enforces.
    pub fn spec(&self) -> &FilterSpec {
        &self.spec
    }

    /// Rényi divergence of an event at the filter's order, rounded up.
    pub fn cost(&self, event: &Event) -> Result<f64, AccountingError> {
        Ok(rdp(event.sampling_rate, event.noise_multiplier, self.spec.order)? * event.steps as f64)
    }

    /// Charges an event, or refuses it and everything after it. Call before noise is drawn.
    pub fn try_charge(&mut self, event: &Event) -> Result<(), Refusal> {
        let cost = self.cost(event).unwrap_or(f64::INFINITY);
        // Rounded up: a sum of many small costs must not lose any of them.
        let after = (self.spent + cost) * (1.0 + f64::EPSILON);
        if self.refused || after > self.spec.budget || after.is_nan() {
            self.refused = true;
            return Err(Refusal { order: self.spec.order, cost, spent: self.spent, budget: self.spec.budget });
        }
        self.spent = after;
        Ok(())
    }

    /// Rényi divergence spent so far.
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// Rényi divergence left; 0 after a refusal.
    pub fn remaining(&self) -> f64 {
        if self.refused { 0.0 } else { (self.spec.budget - self.spent).max(0.0) }
    }

    /// Whether a step was refused.
    pub fn is_closed(&self) -> bool {
        self.refused
    }

    /// For progress display only: the epsilon that the spent divergence would have proven as a budget.
    ///
    /// A run may stop because this number is reached only if it was the budget from the start; the guarantee of a run
    /// is always the target.
    pub fn spent_epsilon(&self) -> f64 {
        lossless_epsilon(self.spec.order, self.spent, self.spec.delta)
    }
}
