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
    let reserve = price(epsilon, draws);
    if reserve <= LARGEST_PART * delta {
        return Ok(reserve);
    }
    let way_out = match largest_epsilon(delta, coordinates, steps) {
        Some(largest) => {
            format!("the largest epsilon here is {largest}; lower epsilon, the steps or the adapter's rank")
        }
        None => "no epsilon is small enough here; lower the steps or the adapter's rank".to_owned(),
    };
    Err(PrivacyError::Claim(format!(
        "the distance of {draws:e} noise draws from the exact Gaussian costs delta {reserve:e} at epsilon {epsilon}, but \
         may cost at most a tenth of delta {delta:e}; {way_out}, or raise delta"
    )))
}

/// The largest epsilon, in tenths, at which [`noise_delta`] grants the reserve; `None` when even epsilon 0.1 is too much.
pub fn largest_epsilon(delta: f64, coordinates: u64, steps: u64) -> Option<f64> {
    let draws = coordinates as f64 * steps as f64;
    let granted = |tenths: f64| price(tenths / 10.0, draws) <= LARGEST_PART * delta;
    // The bound solved for epsilon, and a step down where rounding put it a tenth too high.
    let solved = (10.0 * (LARGEST_PART * delta / price(0.0, draws) * 2.0 - 1.0).ln()).floor();
    [solved, solved - 1.0].into_iter().find(|tenths| *tenths >= 1.0 && granted(*tenths)).map(|tenths| tenths / 10.0)
}

fn price(epsilon: f64, draws: f64) -> f64 {
    (1.0 + epsilon.exp()) * draws * TV_PER_COORDINATE * (1.0 + 1e-12)
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

    #[test]
    fn a_refusal_names_the_largest_epsilon_and_it_is_granted() {
        for (delta, coordinates, steps) in
            [(1e-6, 10_000_000, 100_000), (1e-6, 600_000, 500), (1e-12, 7, 1), (0.01, 1, 1)]
        {
            let largest = largest_epsilon(delta, coordinates, steps).unwrap();
            assert!(noise_delta(largest, delta, coordinates, steps).is_ok(), "{largest}");
            let refused = noise_delta(largest + 0.1, delta, coordinates, steps).unwrap_err().to_string();
            assert!(refused.contains(&format!("the largest epsilon here is {largest};")), "{refused}");
        }
        assert_eq!(largest_epsilon(1e-40, 10_000_000, 100_000), None);
    }
}
