//! What several runs on the same units cost together.

use serde::Serialize;

use crate::{
    accounting::{Accountant as _, Event, PldAccountant, events_under},
    claim::{Claim, Guarantee},
    error::PrivacyError,
    noise::{ideal_delta, noise_delta},
    regime::Regime,
};

/// Epsilon and delta of several runs together, towards whoever sees what all of them released.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Joint {
    /// How many runs.
    pub runs: usize,
    /// Epsilon of all; infinite when one of them promises nothing.
    pub epsilon: f64,
    /// Delta of all: the sum of theirs.
    pub delta: f64,
    /// The sum of their epsilons, which holds whatever chose their settings.
    pub basic_epsilon: f64,
}

/// The runs of `claims` together, at the sum of their deltas.
///
/// **Guarantee.** Runs whose noise was fixed before their first step, or as a deck, are composed by privacy loss distributions; those
/// behind a filter, whose noise follows from releases, enter by the basic rule: their (ε, δ) are added. The first holds when no
/// run's noise, rate or number of steps was chosen by what an earlier run released; the sum in [`Joint::basic_epsilon`] holds
/// always. All runs must be about the same units under the same adjacency.
///
/// # Errors
/// When claims are of different units or neighbours, or an accountant refuses.
pub fn joint(claims: &[&Claim]) -> Result<Joint, PrivacyError> {
    if let Some(other) = claims.iter().find(|claim| claim.unit != claims[0].unit) {
        return Err(PrivacyError::Claim(format!(
            "runs about units of `{}` and of `{}` have no epsilon in common",
            claims[0].unit, other.unit
        )));
    }
    if let Some(other) = claims.iter().find(|claim| claim.adjacency != claims[0].adjacency) {
        return Err(PrivacyError::Claim(format!(
            "runs whose neighbours are {:?} and {:?} have no epsilon in common; give --units for all runs or for none, or keep a book for each kind",
            claims[0].adjacency, other.adjacency
        )));
    }
    // From zero, as the empty sum of floating-point numbers is negative.
    let delta = claims.iter().fold(0.0, |sum, claim| sum + claim.delta);
    let basic_epsilon = claims.iter().fold(0.0, |sum, claim| sum + epsilon_of(claim));
    let epsilon = if claims.len() < 2 { basic_epsilon } else { joint_epsilon(claims, delta)?.min(basic_epsilon) };
    Ok(Joint { runs: claims.len(), epsilon, delta, basic_epsilon })
}

/// Epsilon of a run's own promise.
fn epsilon_of(claim: &Claim) -> f64 {
    if claim.guarantee == Guarantee::Holds { claim.target_epsilon } else { f64::INFINITY }
}

/// The smallest epsilon of all runs together at `delta`, by privacy loss distributions where they apply.
pub(crate) fn joint_epsilon(claims: &[&Claim], delta: f64) -> Result<f64, PrivacyError> {
    let basic: f64 = claims.iter().map(|claim| epsilon_of(claim)).sum();
    if !basic.is_finite() {
        return Ok(f64::INFINITY);
    }
    let (mut events, mut filtered, mut reserve, mut left) = (Vec::new(), 0.0, 0.0, delta);
    for claim in claims {
        match &claim.regime {
            Regime::Committed { segments, .. } => {
                events.extend(events_under(claim.adjacency, &first(segments, claim.rounds(claim.steps)))?);
            }
            Regime::Deck { cards, .. } => events.extend(events_under(claim.adjacency, cards)?),
            Regime::Adaptive { .. } => {
                filtered += claim.target_epsilon;
                left -= claim.delta;
                continue;
            }
            Regime::NonPrivate => return Ok(f64::INFINITY),
        }
        // At the largest epsilon that all can have together, which is more than enough.
        match noise_delta(basic, delta, claim.noise_coordinates, claim.steps) {
            Ok(needed) => reserve += needed,
            Err(_) => return Ok(f64::INFINITY),
        }
    }
    if events.is_empty() {
        return Ok(if left >= 0.0 { filtered } else { f64::INFINITY });
    }
    let ideal = ideal_delta(left, reserve);
    if ideal.is_nan() || ideal <= 0.0 {
        return Ok(f64::INFINITY);
    }
    Ok(filtered + PldAccountant::default().epsilon(&events, ideal)?)
}

/// The first `steps` of a plan.
fn first(plan: &[Event], steps: u64) -> Vec<Event> {
    let mut left = steps;
    let taken = plan.iter().map(|event| {
        let steps = event.steps.min(left);
        left -= steps;
        Event { steps, ..*event }
    });
    taken.filter(|event| event.steps > 0).collect()
}
