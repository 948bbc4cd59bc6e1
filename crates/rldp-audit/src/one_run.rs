//! Lower bounds on privacy parameters from one run with many canaries.
//!
//! Each of m canaries was included by its own fair coin. From the run's output alone the auditor guesses r of the coins
//! (r fixed in advance, the rest abstained) and counts V correct ones. Privacy bounds how large V can be; a larger V
//! refutes the claim.

use rldp_privacy::accounting::gaussian_epsilon;
use statrs::{
    distribution::{ContinuousCDF as _, Normal},
    function::{beta::beta_reg, gamma::ln_gamma},
};

use crate::error::{AuditError, require};

/// Relative room for what floating-point numbers lose; always taken against the auditor.
const ROUNDING: f64 = 1e-9;
/// Bounds above are not looked for: no number of guesses that fits into memory could prove them.
const LARGEST_EPSILON: f64 = 40.0;
/// The same for mu.
const LARGEST_MU: f64 = 20.0;

/// What the auditor saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// m, canaries with independent fair coins.
    pub canaries: usize,
    /// r, guesses.
    pub guesses: usize,
    /// V, correct guesses.
    pub correct: usize,
}

impl Counts {
    /// Refuses counts that cannot be.
    pub fn validate(&self) -> Result<(), AuditError> {
        let Self { canaries, guesses, correct } = *self;
        let remedy = "give more canaries or fewer guesses";
        require(guesses > 0, "the number of guesses", guesses as f64, "at least 1", remedy)?;
        let bound = format!("at most the number of canaries, {canaries}");
        require(guesses <= canaries, "the number of guesses", guesses as f64, bound, remedy)?;
        let bound = format!("at most the number of guesses, {guesses}");
        require(correct <= guesses, "the number of correct guesses", correct as f64, bound, remedy)
    }
}

/// Bound on the chance of at least V correct guesses under (ε, δ)-DP.
///
/// **Theorem** (Steinke, Nasr, Jagielski, arXiv 2305.08846, Theorem 5.2, fair coins). Let a mechanism be (ε, δ)-DP under
/// adding or removing one canary, and let W be binomial of r trials with chance e^ε/(1 + e^ε). For every auditor that
/// sees its output only and guesses at most r of the m coins, and every v,
///
/// P\[V ≥ v\] ≤ P\[W ≥ v\] + 2·m·δ·max_{1≤i≤m} P\[v − i ≤ W < v\] / i.
///
/// For i > v the numerator no longer grows, so the maximum is over i ≤ v. **Assumed:** coins are fair, independent and
/// secret; r was fixed before the output was seen; guesses depend on nothing but output and the canaries' texts.
pub fn p_value(counts: Counts, epsilon: f64, delta: f64) -> f64 {
    let Counts { canaries, guesses, correct } = counts;
    if correct == 0 {
        return 1.0;
    }
    let (r, v) = (guesses as f64, correct as f64);
    let chance = 1.0 / (1.0 + (-epsilon).exp());
    let tail = beta_reg(v, r - v + 1.0, chance);
    let p = tail + 2.0 * canaries as f64 * delta * steepest(r, v, epsilon, chance);
    (p * (1.0 + ROUNDING)).min(1.0)
}

/// max_i P\[v − i ≤ W < v\] / i, over i from 1 to v.
fn steepest(r: f64, v: f64, epsilon: f64, chance: f64) -> f64 {
    // Probabilities in logarithms: far above the mode they would underflow, and their ratios with them.
    let mut k = v - 1.0;
    let choose = ln_gamma(r + 1.0) - ln_gamma(k + 1.0) - ln_gamma(r - k + 1.0);
    let mut log_mass = choose + k * chance.ln() + (r - k) * (-epsilon + chance.ln());
    let (mut sum, mut steepest, mut i) = (0.0, 0.0_f64, 1.0);
    while k >= 0.0 {
        sum += log_mass.exp();
        steepest = steepest.max(sum / i);
        // Later terms are at most 1 / i.
        if steepest * i >= 1.0 {
            break;
        }
        log_mass += (k / (r - k + 1.0)).ln() - epsilon;
        k -= 1.0;
        i += 1.0;
    }
    steepest
}

/// The largest ε such that every smaller one is refuted at `significance` by [`p_value`]: with probability at least
/// 1 − significance the mechanism's own ε at `delta` is not below it.
///
/// That the ε at which the search ends depends on V costs nothing: under (ε₀, δ)-DP the theorem bounds P\[V ≥ v\] by the
/// p-value at every ε ≥ ε₀, hence by the least of them, and V is refuted by the least with at most its probability.
///
/// # Errors
/// When the counts cannot be, or a probability is out of range.
pub fn epsilon_lower_bound(counts: Counts, delta: f64, significance: f64) -> Result<f64, AuditError> {
    counts.validate()?;
    require((0.0..1.0).contains(&delta), "delta", delta, "at least 0 and below 1", "give the claim's delta")?;
    require_significance(significance)?;
    Ok(largest(LARGEST_EPSILON, |epsilon| p_value(counts, epsilon, delta) <= significance))
}

/// Whether "the mechanism has trade-off function f" is refuted at level `significance`.
///
/// `inverse` is g(x) = inf{α : 1 − f(α) ≥ x}, the least type I error of a test of power x; rounded down.
///
/// **Theorem.** Let f be convex and bound the trade-off between the mechanism with and without any one canary, in both
/// directions. Let q_a = P\[V ≥ a\] and u_a = Σ_{b≥a} q_b. Then for every a ≥ 1
///
/// (r − a + 1)·q_{a−1} ≥ m·g((u_a + (a − 1)·q_a)/m) + u_a.
///
/// **Proof** (the idea is that of Mahloujifar, Melis and Chaudhuri, arXiv 2410.22235). Fix coins s and a canary j, and let
/// E be the outputs that make guess j correct and V ≥ a. Under s with coin j flipped, the same outputs make guess j
/// wrong and V one less. Hence P_s\[E\] ≤ (1 − f)(P_{s, j flipped}\[E\]). Average over uniform s and j: 1 − f is
/// concave, flipping keeps s uniform, and of the m canaries V are guessed right and r − V wrong. So
/// R_a/m ≤ (1 − f)(L_a/m), that is L_a ≥ m·g(R_a/m), with R_a = Σ_{i≥a} i·P\[V = i\] = u_a + (a − 1)·q_a and
/// L_a = Σ_{i≥a−1} (r − i)·P\[V = i\]. Summation by parts gives L_a = (r − a + 1)·q_{a−1} − u_a. ∎
///
/// **Consequence.** The right side grows in every q_b, b ≥ a. If P\[V ≥ v\] > β were true, starting from q_v = β and
/// q_b = 0 above v would therefore bound all lower q from below; if one of them exceeds 1, P\[V ≥ v\] ≤ β. Rejecting
/// when that happens at the observed V errs with probability at most β.
pub fn refutes_trade_off(counts: Counts, significance: f64, inverse: impl Fn(f64) -> f64) -> bool {
    let (m, r) = (counts.canaries as f64, counts.guesses as f64);
    let (mut q, mut u) = (significance, significance);
    for a in (1..=counts.correct).rev().map(|a| a as f64) {
        let right = u + (a - 1.0) * q;
        let least = (m * inverse((right / m).min(1.0)) + u) / (r - a + 1.0);
        q = q.max(least * (1.0 - ROUNDING));
        if q > 1.0 + ROUNDING {
            return true;
        }
        u += q;
    }
    false
}

/// A lower bound on μ, with confidence 1 − significance, for a mechanism of which nothing but μ-GDP is assumed: the
/// largest μ that [`refutes_trade_off`] refutes, with g(x) = Φ(Φ⁻¹(x) − μ).
///
/// For a Gaussian mechanism it is far tighter than [`epsilon_lower_bound`], which has to allow for every (ε, δ)
/// mechanism. It does not reach the truth however large m is: it has to allow for outputs of probability `significance`
/// on which guesses are better than elsewhere. For a mechanism that is not exactly Gaussian it bounds the least μ of which it is μ-GDP.
///
/// # Errors
/// When the counts cannot be, or the significance is out of range.
pub fn mu_lower_bound(counts: Counts, significance: f64) -> Result<f64, AuditError> {
    counts.validate()?;
    require_significance(significance)?;
    let normal = Normal::standard();
    let refuted = |mu: f64| {
        refutes_trade_off(counts, significance, |power| {
            if power >= 1.0 {
                return 1.0 - ROUNDING;
            }
            // Room for the quantile's error too.
            normal.cdf(normal.inverse_cdf(power) - mu - ROUNDING) * (1.0 - ROUNDING)
        })
    };
    Ok(largest(LARGEST_MU, refuted))
}

/// ε of μ-GDP at `delta`; 0 for μ = 0.
pub fn epsilon_of_mu(mu: f64, delta: f64) -> f64 {
    if mu > 0.0 && delta > 0.0 { gaussian_epsilon(mu, delta) } else { 0.0 }
}

fn require_significance(significance: f64) -> Result<(), AuditError> {
    let inside = significance > 0.0 && significance < 1.0;
    require(inside, "the significance", significance, "strictly between 0 and 1", "give a confidence such as 0.95")
}

/// The largest refuted value by bisection, rounded down; 0 when not even 0 is refuted.
fn largest(most: f64, refuted: impl Fn(f64) -> bool) -> f64 {
    if !refuted(0.0) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, most);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if refuted(middle) { low = middle } else { high = middle }
    }
    low
}
