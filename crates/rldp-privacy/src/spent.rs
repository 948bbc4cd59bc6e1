//! What the steps of a plan have cost so far, for progress.

use crate::{
    accounting::{Accountant as _, AccountantKind, Event, PldAccountant, accountant},
    claim::Claim,
    regime::Regime,
};

/// A plan is priced at this many places; between two of them the cost of the later one stands.
const PLACES: u64 = 16;

/// Grid of the prices before the last, in deviations of a step's loss.
const COARSE: f64 = 0.25;

/// Upper bounds on the epsilon of every prefix of a plan, by the claim's own accountant. A deck is priced as if its loudest
/// cards had been played first, which bounds every order.
///
/// A prefix costs no more than a longer one, so a step is priced as the next of a few places; each is computed once, when
/// the run gets there. The run's promise is always its target.
#[derive(Default)]
pub(crate) struct PrefixCosts {
    place: u64,
    epsilon: f64,
}

impl PrefixCosts {
    /// Epsilon of the first `steps` steps, at most the target; 0 before the first.
    pub(crate) fn at(&mut self, claim: &Claim, steps: u64) -> f64 {
        let (Regime::Committed { segments, accountant: kind } | Regime::Deck { cards: segments, accountant: kind }) =
            &claim.regime
        else {
            return claim.target_epsilon;
        };
        if steps == 0 {
            return 0.0;
        }
        let place = (steps * PLACES).div_ceil(claim.steps.max(1)).min(PLACES);
        if place != self.place {
            let prefix = prefix(segments, claim.rounds(place * claim.steps / PLACES));
            let epsilon = price(*kind, &prefix, claim, place == PLACES);
            (self.place, self.epsilon) = (place, epsilon.min(claim.target_epsilon));
        }
        self.epsilon
    }
}

/// Epsilon of a prefix; of all but the last on a coarse grid of losses, which is as sound, faster and at most 2 % more.
fn price(kind: AccountantKind, prefix: &[Event], claim: &Claim, last: bool) -> f64 {
    let delta = claim.ideal_delta();
    let found = if kind == AccountantKind::Pld && !last {
        PldAccountant::with_resolution(COARSE).and_then(|coarse| coarse.epsilon_under(claim.adjacency, prefix, delta))
    } else {
        accountant(kind).epsilon_under(claim.adjacency, prefix, delta)
    };
    found.unwrap_or(f64::INFINITY)
}

/// The first `steps` steps of a plan.
fn prefix(segments: &[Event], steps: u64) -> Vec<Event> {
    let mut left = steps;
    let taken = segments.iter().map(|event| {
        let steps = event.steps.min(left);
        left -= steps;
        Event { steps, ..*event }
    });
    taken.filter(|event| event.steps > 0).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// q = 0.0256 and z = 0.6: an early prefix is where the loss is least Gaussian, so the coarse grid the worst.
    #[test]
    fn a_coarse_price_is_an_upper_bound_and_close() {
        for steps in [2, 8, 30] {
            let prefix = [Event::new(0.0256, 0.6, steps)];
            let [fine, coarse] = [0.04, COARSE]
                .map(|grid| PldAccountant::with_resolution(grid).unwrap().epsilon(&prefix, 1e-5).unwrap());
            assert!(coarse >= fine && coarse < 1.02 * fine, "{steps} steps: {coarse} against {fine}");
        }
    }

    #[test]
    fn prefixes_take_segments_in_order() {
        let plan = [Event::new(0.1, 1.0, 5), Event::new(0.1, 2.0, 7)];
        assert_eq!(prefix(&plan, 3), [Event::new(0.1, 1.0, 3)]);
        assert_eq!(prefix(&plan, 6), [Event::new(0.1, 1.0, 5), Event::new(0.1, 2.0, 1)]);
        assert_eq!(prefix(&plan, 99), plan);
    }
}
