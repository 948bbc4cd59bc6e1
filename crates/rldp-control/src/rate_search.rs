//! A search for the learning rate inside the one private run, from released gradients alone.
//!
//! Noise of different steps is independent, so the inner product of two consecutive releases estimates that of the true
//! gradients without bias, and the energy of one release less its known noise energy estimates the gradient's. Their ratio,
//! the **persistence** ρ, says what the step in between did to the gradient: near 1 the step was too short to matter, near 0
//! it used the direction up, below 0 it overshot. On high-dimensional adapters ρ is sharp even when every coordinate drowns
//! in noise, because both sums run over all P parameters: its deviation is about √P against a signal of P times the
//! signal-to-noise ratio.
//!
//! The search starts a tenth below the given rate and grows while ρ is positive. The first rate that overshoots and the one
//! before it enclose the rate that uses a direction up in one step; the best rate of a decaying schedule lies a little above.
//! There the search ends and the schedule goes on alone.

use rldp_privacy::Observable;
use serde::{Deserialize, Serialize};

/// The search starts at this factor of the given learning rate.
const FIRST_GAIN: f64 = 0.1;
/// Largest growth of ln(rate) a step while searching.
const GROWTH: f64 = 1.0;
/// A decision needs this many deviations of gradient energy.
const EVIDENCE: f64 = 5.0;
/// Fraction of the steps after which a search without evidence gives up, and the given rate stands.
const PATIENCE: f64 = 0.125;
/// Fraction of the steps after which the search ends wherever it is.
const LAST: f64 = 0.5;
/// ln of the factor from where ρ changes its sign to the peak of a decaying schedule, from runs on public data: `docs/results`.
const LEAP: f64 = 0.35;

/// What two consecutive releases say, whitened by the noise: sums over all pairs in units of the noise's variance.
#[derive(Clone, Copy, Debug)]
pub struct Consecutive {
    /// Σ (‖g_i‖² / s_i² − d_i) of the later release: its energy less that of its noise.
    pub energy: Observable,
    /// Σ ⟨g_i, g'_i⟩ / (s_i s'_i).
    pub product: Observable,
    /// Deviation of the product's noise, √P for pure noise.
    pub deviation: Observable,
}

/// Sums of evidence since the last decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Evidence {
    energy: f64,
    product: f64,
    variance: f64,
}

impl Evidence {
    fn add(&mut self, seen: &Consecutive) {
        self.energy += seen.energy.value();
        self.product += seen.product.value();
        self.variance += seen.deviation.value().powi(2);
    }

    /// ρ once the energy stands out of its noise, shrunk by one deviation.
    fn persistence(&self) -> Option<f64> {
        let deviation = self.variance.sqrt();
        (self.energy >= EVIDENCE * deviation).then(|| self.product / (self.energy + deviation))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Phase {
    /// Growing; the last ln(gain) at which ρ was positive.
    Search(Option<f64>),
    /// Left to the schedule.
    Rest,
}

/// The search. Deterministic post-processing of released values: it costs no privacy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateSearch {
    log_gain: f64,
    phase: Phase,
    evidence: Evidence,
}

impl Default for RateSearch {
    fn default() -> Self {
        Self { log_gain: FIRST_GAIN.ln(), phase: Phase::Search(None), evidence: Evidence::default() }
    }
}

impl RateSearch {
    /// Factor on the given learning rate for the next update.
    pub fn gain(&self) -> f64 {
        self.log_gain.exp()
    }

    /// Learns from the latest two releases, between which the adapter moved at the present gain. `step_fraction` is the
    /// public fraction of the steps that are done.
    pub fn observe(&mut self, seen: &Consecutive, step_fraction: f64) {
        if self.phase == Phase::Rest {
            return;
        }
        self.evidence.add(seen);
        if let Some(persistence) = self.evidence.persistence() {
            self.evidence = Evidence::default();
            self.decide(persistence);
        }
        match self.phase {
            Phase::Search(None) if step_fraction >= PATIENCE => (self.log_gain, self.phase) = (0.0, Phase::Rest),
            Phase::Search(_) if step_fraction >= LAST => self.phase = Phase::Rest,
            _ => {}
        }
    }

    fn decide(&mut self, persistence: f64) {
        let Phase::Search(last) = self.phase else { return };
        if persistence > 0.0 {
            self.phase = Phase::Search(Some(self.log_gain));
            self.log_gain += GROWTH * persistence.min(1.0);
        } else {
            // The geometric mean of the last two rates; without a first, one growth step back.
            let between = last.map_or(self.log_gain - GROWTH, |before| 0.5 * (before + self.log_gain));
            (self.log_gain, self.phase) = (between + LEAP, Phase::Rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;
    use rand_distr::StandardNormal;
    use rldp_privacy::Public;

    use super::*;

    fn seen(value: f64) -> Observable {
        Public::declare(value).into()
    }

    /// Gradient descent on ½ h ‖x‖² in 4,000 dimensions with noise on every gradient, at the searched rate. Returns the rate
    /// in force after `steps`, over the one that minimises the loss in one step, 1/h.
    fn found(given: f64, signal: f64, steps: usize, seed: u64) -> f64 {
        let (dimensions, curvature) = (4000, 2.0);
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut x = vec![signal / curvature; dimensions];
        let mut search = RateSearch::default();
        let mut previous: Option<Vec<f64>> = None;
        for step in 0..steps {
            let g: Vec<f64> = x.iter().map(|x| curvature * x + rng.sample::<f64, _>(StandardNormal)).collect();
            if let Some(previous) = &previous {
                let energy = g.iter().map(|g| g * g - 1.0).sum::<f64>();
                let product = g.iter().zip(previous).map(|(a, b)| a * b).sum::<f64>();
                let deviation = (dimensions as f64).sqrt();
                let signal = Consecutive { energy: seen(energy), product: seen(product), deviation: seen(deviation) };
                search.observe(&signal, step as f64 / 100.0);
            }
            let rate = given * search.gain();
            x.iter_mut().zip(&g).for_each(|(x, g)| *x -= rate * g);
            previous = Some(g);
        }
        given * search.gain() * curvature
    }

    #[test]
    fn finds_the_rate_from_starts_far_below_and_above() {
        for seed in 0..10 {
            for given in [0.05, 0.5, 5.0] {
                let over = found(given, 1.0, 14, seed);
                assert!((0.2..3.0).contains(&over), "from {given}, seed {seed}: {over} times the best rate");
            }
        }
    }

    #[test]
    fn without_evidence_the_given_rate_stands() {
        for seed in 0..10 {
            let over = found(0.005, 0.0, 20, seed);
            assert!((over / (0.005 * 2.0) - 1.0).abs() < 1e-9, "seed {seed}: {over}");
        }
    }

    #[test]
    fn state_survives_saving() {
        let mut search = RateSearch::default();
        let signal = Consecutive { energy: seen(100.0), product: seen(60.0), deviation: seen(10.0) };
        search.observe(&signal, 0.01);
        assert!(search.gain() > FIRST_GAIN);
        let text = serde_json::to_string(&search).unwrap();
        assert_eq!(serde_json::from_str::<RateSearch>(&text).unwrap(), search);
    }
}
