//! A search for the learning rate inside the one private run, from released gradients alone.
//!
//! Noise of different steps is independent, so the inner product of two consecutive releases estimates that of the true
//! gradients without bias, and the energy of one release less its known noise energy estimates the gradient's. Their ratio,
//! the **persistence** ρ, says what the step in between did to the gradient: near 1 the step was too short to matter, near 0
//! it used the direction up, below 0 it overshot. On high-dimensional adapters ρ is sharp even when every coordinate drowns
//! in noise, because both sums run over all P parameters: its deviation is about √P against a signal of P times the
//! signal-to-noise ratio.
//!
//! The search has an **anchor**, a rate that is believed in before anything is seen. It starts at a tenth
//! of it and grows while ρ is positive: far above the best rate ρ is near 0 again and
//! says nothing. The first rate that overshoots and the one before it enclose the rate that uses a direction up in one step;
//! the best rate of a decaying schedule lies a little above, how far depends on data and length. So the estimate is good to
//! a factor of about 2, and the anchor stands when it lies that near; otherwise the nearer end of that range is taken,
//! and the schedule goes on alone. A step that overshot is taken again at the new rate: the release it was made of is known, so nothing but the
//! release after it is lost.

use rldp_privacy::Observable;
use serde::{Deserialize, Serialize};

/// The search starts at this factor of the anchor.
const FIRST_GAIN: f64 = 0.1;
/// Largest growth of ln(rate) a step while searching.
const GROWTH: f64 = 1.0;
/// A decision needs this many deviations of gradient energy.
const EVIDENCE: f64 = 5.0;
/// Fraction of the steps after which a search without evidence gives up, and the anchor stands.
const PATIENCE: f64 = 0.125;
/// Fraction of the steps after which the search ends wherever it is.
const LAST: f64 = 0.5;
/// ln of the factor from where ρ changes its sign to the peak of a decaying schedule, from runs on public data: `docs/results`.
const LEAP: f64 = 0.35;
/// ln of the factor within which the estimate can be trusted, from the same runs.
const TRUST: f64 = 0.7;

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

impl Consecutive {
    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            energy: self.energy.combine(other.energy, |a, b| a + b),
            product: self.product.combine(other.product, |a, b| a + b),
            deviation: self.deviation.combine(other.deviation, f64::hypot),
        }
    }

    /// The energy in deviations of its noise.
    pub fn evidence(&self) -> Observable {
        self.energy.combine(self.deviation, |energy, deviation| energy / deviation)
    }

    /// ρ, shrunk by one deviation; 0 where the energy drowns in its noise.
    pub fn persistence(&self) -> Observable {
        let size = self.energy.combine(self.deviation, |energy, deviation| energy.max(0.0) + deviation);
        self.product.combine(size, |product, size| product / size)
    }
}

/// What the search says about the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on from it.
    Go,
    /// It overshot: take it again, at the present gain.
    Redo,
}

/// Sums since the last decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Evidence {
    steps: u32,
    energy: f64,
    product: f64,
    variance: f64,
}

impl Evidence {
    fn add(&mut self, seen: &Consecutive) {
        self.steps += 1;
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
    anchor: f64,
    log_gain: f64,
    phase: Phase,
    evidence: Evidence,
}

impl RateSearch {
    /// `anchor` is ln of the rate that is believed in over the given one; 0 when that is the given one.
    pub fn new(anchor: f64) -> Self {
        Self { anchor, log_gain: anchor + FIRST_GAIN.ln(), phase: Phase::Search(None), evidence: Evidence::default() }
    }

    /// Factor on the given learning rate for the next update.
    pub fn gain(&self) -> f64 {
        self.log_gain.exp()
    }

    /// Whether the rate is still searched for.
    pub fn searches(&self) -> bool {
        self.phase != Phase::Rest
    }

    /// Learns from the latest two releases, between which the adapter moved at the present gain. `step_fraction` is the
    /// public fraction of the steps that are done.
    pub fn observe(&mut self, seen: &Consecutive, step_fraction: f64) -> Verdict {
        let Phase::Search(last) = self.phase else { return Verdict::Go };
        self.evidence.add(seen);
        let verdict = match self.evidence.persistence() {
            Some(persistence) => self.decide(persistence, last),
            None => Verdict::Go,
        };
        match self.phase {
            Phase::Search(None) if step_fraction >= PATIENCE => {
                (self.log_gain, self.phase) = (self.anchor, Phase::Rest);
            }
            Phase::Search(_) if step_fraction >= LAST => self.phase = Phase::Rest,
            _ => {}
        }
        verdict
    }

    fn decide(&mut self, persistence: f64, last: Option<f64>) -> Verdict {
        let Evidence { steps, .. } = std::mem::take(&mut self.evidence);
        if persistence > 0.0 {
            self.phase = Phase::Search(Some(self.log_gain));
            self.log_gain += GROWTH * persistence.min(1.0);
            return Verdict::Go;
        }
        // The geometric mean of the last two rates; without a first, one growth step back.
        let between = last.map_or(self.log_gain - GROWTH, |before| 0.5 * (before + self.log_gain));
        let found = between + LEAP;
        (self.log_gain, self.phase) = (self.anchor.clamp(found - TRUST, found + TRUST), Phase::Rest);
        // A longer stretch overshot too little to be worth losing.
        if steps == 1 { Verdict::Redo } else { Verdict::Go }
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
        let mut search = RateSearch::new(0.0);
        let mut last: Option<(Vec<f64>, Vec<f64>)> = None;
        for step in 0..steps {
            let mut g: Vec<f64> = x.iter().map(|x| curvature * x + rng.sample::<f64, _>(StandardNormal)).collect();
            if let Some((before, previous)) = last {
                let energy = g.iter().map(|g| g * g - 1.0).sum::<f64>();
                let product = g.iter().zip(&previous).map(|(a, b)| a * b).sum::<f64>();
                let deviation = (dimensions as f64).sqrt();
                let signal = Consecutive { energy: seen(energy), product: seen(product), deviation: seen(deviation) };
                if search.observe(&signal, step as f64 / 100.0) == Verdict::Redo {
                    (x, g) = (before, previous);
                }
            }
            last = Some((x.clone(), g.clone()));
            let rate = given * search.gain();
            x.iter_mut().zip(&g).for_each(|(x, g)| *x -= rate * g);
        }
        given * search.gain() * curvature
    }

    #[test]
    fn finds_the_rate_from_starts_far_below_and_above() {
        for seed in 0..10 {
            for given in [0.05, 0.5, 5.0] {
                let over = found(given, 1.0, 14, seed);
                // e^(LEAP + TRUST) is 2.9, and the crossing lies within a factor of 1.6.
                assert!((0.15..4.6).contains(&over), "from {given}, seed {seed}: {over} times the best rate");
            }
        }
    }

    /// Crossings near the anchor leave it, others end at the nearer end of what they allow; the step is taken again.
    #[test]
    fn an_overshooting_step_is_taken_again_and_a_near_enough_anchor_stands() {
        let seen = |product: f64| Consecutive { energy: seen(100.0), product: seen(product), deviation: seen(1.0) };
        let end = |anchor: f64, steps: usize| {
            let mut search = RateSearch::new(anchor);
            for _ in 0..steps {
                assert_eq!(search.observe(&seen(90.0), 0.01), Verdict::Go);
            }
            assert_eq!(search.observe(&seen(-50.0), 0.02), Verdict::Redo);
            assert!(!search.searches() && search.observe(&seen(-50.0), 0.03) == Verdict::Go);
            search.gain()
        };
        assert_eq!(end(0.0, 3), 1.0);
        assert!(end(0.0, 1) < 0.7 && end(0.0, 5) > 1.5, "{} and {}", end(0.0, 1), end(0.0, 5));
        // A given rate ten times too high, or too low, does not matter beside an anchor.
        for anchor in [0.1_f64, 10.0] {
            for steps in [1, 3, 5] {
                let (found, beside) = (end(anchor.ln(), steps), anchor * end(0.0, steps));
                assert!((found / beside - 1.0).abs() < 1e-12, "{found}, not {beside}");
            }
        }
    }

    #[test]
    fn without_evidence_the_anchor_stands() {
        for seed in 0..10 {
            let over = found(0.005, 0.0, 20, seed);
            assert!((over / (0.005 * 2.0) - 1.0).abs() < 1e-9, "seed {seed}: {over}");
        }
    }

    #[test]
    fn state_survives_saving() {
        let mut search = RateSearch::new(0.0);
        let signal = Consecutive { energy: seen(100.0), product: seen(60.0), deviation: seen(10.0) };
        assert_eq!(search.observe(&signal, 0.01), Verdict::Go);
        assert!(search.gain() > FIRST_GAIN && search.searches());
        let text = serde_json::to_string(&search).unwrap();
        assert_eq!(serde_json::from_str::<RateSearch>(&text).unwrap(), search);
    }
}
