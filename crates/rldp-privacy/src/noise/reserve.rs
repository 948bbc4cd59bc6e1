//! What the sampler's distance from the Gaussian costs.

use super::TV_PER_COORDINATE;
use crate::error::PrivacyError;

/// The largest part of delta that may go to the sampler's distance.
const LARGEST_PART: f64 = 0.1;

/// The part of `delta` that pays for `steps` releases of `coordinates` draws each not being exactly Gaussian:
/// (1 + e^ε)·n·τ for n draws in all, each within τ = [`TV_PER_COORDINATE`]; rounded up.
///
/// **Guarantee.** If the run with exact Gaussian noise is (ε, δ₀)-DP, with P and Q its outputs on neighbours, then the
/// run as it is has outputs P' and Q' within nτ of them in total variation, whatever earlier outputs later steps depend
/// on, and P'(A) ≤ P(A) + nτ ≤ e^ε·Q(A) + δ₀ + nτ ≤ e^ε·Q'(A) + δ₀ + (1 + e^ε)nτ.
///
/// # Errors
/// When that exceeds a tenth of delta.
pub fn noise_delta(epsilon: f64, delta: f64, coordinates: u64, steps: u64) -> Result<f64, PrivacyError> {
    let draws = coordinates as f64 * steps as f64;
    let reserve = (1.0 + epsilon.exp()) * draws * TV_PER_COORDINATE * (1.0 + 1e-12);
    if reserve <= LARGEST_PART * delta {
        return Ok(reserve);
    }
    Err(PrivacyError::Claim(format!(
        "the distance of {draws:e} noise draws from the exact Gaussian costs delta {reserve:e} at epsilon {epsilon}, but \
         may cost at most a tenth of delta {delta:e}; lower epsilon, the steps or the adapter's rank, or raise delta"
    )))
}

/// The delta at which exact Gaussian noise must prove epsilon: `delta` less its reserve, rounded down.
pub fn ideal_delta(delta: f64, reserve: f64) -> f64 {
    (delta - reserve).next_down()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_small_where_it_is_granted_and_refused_with_advice_elsewhere() {
        // A large run: 10^7 parameters, 10^5 steps, epsilon 8.
        let reserve = noise_delta(8.0, 1e-6, 10_000_000, 100_000).unwrap();
        assert!(reserve > 0.0 && reserve < 1e-15, "{reserve:e}");
        assert!(ideal_delta(1e-6, reserve) < 1e-6);
        let refused = noise_delta(60.0, 1e-6, 10_000_000, 100_000).unwrap_err().to_string();
        assert!(refused.contains("lower epsilon"), "{refused}");
        assert!(noise_delta(1000.0, 1e-6, 1, 1).is_err());
    }
}
