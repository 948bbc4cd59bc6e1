//! Several Rényi orders at once, and the odometer that falls out of it.
//!
//! **Theorem.** Let filters 1..m (each an order α_k and a budget B_k that proves (ε_k, δ_k), see `filter`) watch one
//! interaction, fixed before its first step. A step is taken as long as at least one filter is *kept*: its
//! divergence of all steps so far, this one included, is within B_k. Then, with ε = max ε_k, the interaction is
//! (ε, Σ δ_k)-DP. Moreover, let A_k be the event that k is the kept filter of least ε at the end. Every event E has
//! P(E) ≤ Σ_k e^{ε_k} Q(E ∩ A_k) + Σ_k δ_k: the reading ε_k may be quoted afterwards, for the joint delta.
//!
//! *Proof.* Which filters are kept is a function of the transcript (costs depend on public parameters only), so the A_k
//! partition all transcripts: the first step is refused unless some filter keeps it, and without steps all are kept. Let
//! I_k be the same interaction halted by filter k alone; by the theorem of `filter` it is (α_k, B_k)-RDP, hence
//! (ε_k, δ_k)-DP. On A_k filter k never halts, so both interactions have the same transcripts with the same
//! probabilities there: P(E ∩ A_k) = P_{I_k}(E ∩ A_k) ≤ e^{ε_k} Q_{I_k}(E ∩ A_k) + δ_k = e^{ε_k} Q(E ∩ A_k) + δ_k.
//! Sum over k. ∎
//!
//! The argument needs nothing of Rényi divergence but that each halted interaction is (ε_k, δ_k)-DP. Without the split
//! of delta the rule would be wrong: no theorem covers the smallest epsilon over orders of realised sums. The vocabulary
//! of filters and odometers is that of Rogers et al. (arXiv 1605.08294); Lécuyer (arXiv 2103.01379) builds Rényi odometers
//! by the same kind of union.

use serde::{Deserialize, Serialize};

use super::accountant::AccountantKind;
use super::calibrate::calibrate_steps;
use super::error::{AccountingError, require, require_delta};
use super::event::Event;
use super::filter::{FilterSpec, Refusal, RenyiFilter};

/// Filters that share one delta, settled before the first step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnionSpec {
    filters: Vec<FilterSpec>,
}

impl UnionSpec {
    /// A union of given filters; at least one.
    pub fn new(filters: Vec<FilterSpec>) -> Result<Self, AccountingError> {
        let union = Self { filters };
        union.verify()?;
        Ok(union)
    }

    /// The union for a target, with one order for each `(planned noise multiplier, share of delta)`.
    ///
    /// Shares are positive and sum to at most 1. A plan whose order allows no loss at its delta is an error.
    pub fn plan(
        epsilon: f64,
        delta: f64,
        sampling_rate: f64,
        plans: &[(f64, f64)],
        steps: u64,
    ) -> Result<Self, AccountingError> {
        require_delta(delta)?;
        let total: f64 = plans.iter().map(|plan| plan.1).sum();
        require(total <= 1.0 + 1e-12, "sum of the shares of delta", total, "at most 1")?;
        let filter = |&(noise, share): &(f64, f64)| {
            require(share > 0.0, "share of delta", share, "above 0")?;
            FilterSpec::plan(epsilon, delta * share * (1.0 - 1e-12), sampling_rate, noise, steps)
        };
        Self::new(plans.iter().map(filter).collect::<Result<_, _>>()?)
    }

    /// An odometer: a ladder of epsilons that share `delta` evenly, each at the order that suits the steps at the
    /// planned noise which it affords.
    pub fn ladder(
        epsilons: &[f64],
        delta: f64,
        sampling_rate: f64,
        planned_noise_multiplier: f64,
    ) -> Result<Self, AccountingError> {
        require_delta(delta)?;
        let each = delta / epsilons.len() as f64 * (1.0 - 1e-12);
        let rung = |&epsilon: &f64| {
            let afforded = calibrate_steps(AccountantKind::Rdp, epsilon, each, sampling_rate, planned_noise_multiplier);
            let steps = match afforded {
                Ok(afforded) => afforded.steps,
                Err(AccountingError::NoSolution { .. }) => 1,
                Err(error) => return Err(error),
            };
            FilterSpec::plan(epsilon, each, sampling_rate, planned_noise_multiplier, steps)
        };
        Self::new(epsilons.iter().map(rung).collect::<Result<_, _>>()?)
    }

    /// The filters.
    pub fn filters(&self) -> &[FilterSpec] {
        &self.filters
    }

    /// The epsilon that the union guarantees: the largest of its filters.
    pub fn epsilon(&self) -> f64 {
        self.filters.iter().map(|filter| filter.epsilon).fold(0.0, f64::max)
    }

    /// The delta that goes with it: the sum, rounded up.
    pub fn delta(&self) -> f64 {
        self.filters.iter().map(|filter| filter.delta).sum::<f64>() * (1.0 + 1e-13)
    }

    /// Checks every filter and the joint delta: what a reader of a recorded specification must do first.
    pub fn verify(&self) -> Result<(), AccountingError> {
        if self.filters.is_empty() {
            return Err(AccountingError::NoEvents);
        }
        self.filters.iter().try_for_each(FilterSpec::verify)?;
        require_delta(self.delta())
    }
}

/// A running union. A refusal is final.
#[derive(Clone, Debug)]
pub struct FilterUnion {
    spec: UnionSpec,
    filters: Vec<RenyiFilter>,
    refused: bool,
}

impl FilterUnion {
    /// A union with nothing spent.
    pub fn new(spec: UnionSpec) -> Self {
        let filters = spec.filters.iter().map(|filter| RenyiFilter::new(*filter)).collect();
        Self { spec, filters, refused: false }
    }

    /// What the union enforces.
    pub fn spec(&self) -> &UnionSpec {
        &self.spec
    }

    /// Charges an event if some filter keeps it; otherwise refuses it and everything after it. Call before noise is
    /// drawn.
    pub fn try_charge(&mut self, event: &Event) -> Result<(), Refusal> {
        let before = self.filters.clone();
        let mut last = None;
        for filter in self.filters.iter_mut().filter(|filter| !filter.is_closed()) {
            last = filter.try_charge(event).err().or(last);
        }
        if !self.refused && self.filters.iter().any(|filter| !filter.is_closed()) {
            return Ok(());
        }
        // The refused step was not taken: whoever kept the steps before still keeps them.
        self.filters = before;
        self.refused = true;
        Err(last.unwrap_or_else(|| self.standing_refusal()))
    }

    /// What a step after the refused one is told.
    fn standing_refusal(&self) -> Refusal {
        let kept = self.filters.iter().find(|filter| !filter.is_closed()).unwrap_or(&self.filters[0]);
        let FilterSpec { order, budget, .. } = *kept.spec();
        Refusal { order, cost: f64::INFINITY, spent: kept.spent(), budget }
    }

    /// Whether a step was refused.
    pub fn is_closed(&self) -> bool {
        self.refused
    }

    /// The odometer's reading: the least epsilon among kept filters. It may be quoted when the run ends, together with
    /// [`UnionSpec::delta`], in the sense of the module's theorem.
    pub fn kept_epsilon(&self) -> f64 {
        let kept = self.filters.iter().filter(|filter| !filter.is_closed());
        kept.map(|filter| filter.spec().epsilon).fold(f64::INFINITY, f64::min)
    }
}
