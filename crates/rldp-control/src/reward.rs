//! Reward: improvement of a released or public utility for the budget it took.

use rldp_privacy::{Observable, Released, TakenOver};

/// Turns a sequence of utilities into rewards.
#[derive(Clone, Copy, Debug, Default)]
pub struct RewardTracker {
    last: Option<(Observable, Observable)>,
}

/// A utility does not move more than this in one interval, in nats; beyond it is noise.
const LARGEST_CHANGE: f64 = 2.0;

impl RewardTracker {
    /// Goes on after the interval that ended with `last` = (utility, spent), as an earlier process of the run saw it.
    pub fn resumed(last: Option<(f64, f64)>, proof: TakenOver) -> Self {
        let seen = |value| Observable::from(Released::restore(value, proof));
        Self { last: last.map(|(utility, spent)| (seen(utility), seen(spent))) }
    }

    /// (utility, spent) of the last interval, to be saved.
    pub fn last(&self) -> Option<(f64, f64)> {
        self.last.map(|(utility, spent)| (utility.value(), spent.value()))
    }

    /// The reward of the interval that ends with `utility` (for instance the negative released mean loss, in nats) after
    /// `spent` of the budget (a fraction): Δutility per percent of budget. `None` for the first interval.
    ///
    /// Both arguments are observable, so the reward is post-processing and free.
    pub fn observe(&mut self, utility: Observable, spent: Observable) -> Option<Observable> {
        let last = self.last.replace((utility, spent));
        let (before, spent_before) = last?;
        let change = utility.combine(before, |now, before| (now - before).clamp(-LARGEST_CHANGE, LARGEST_CHANGE));
        let percent = spent.combine(spent_before, |now, before| 100.0 * (now - before).max(1e-4));
        Some(change.combine(percent, |change, percent| change / percent))
    }
}

#[cfg(test)]
mod tests {
    use rldp_privacy::Public;

    use super::*;

    #[test]
    fn reward_is_improvement_per_percent_of_budget() {
        let seen = |value: f64| Observable::from(Public::declare(value));
        let mut tracker = RewardTracker::default();
        assert!(tracker.observe(seen(-3.0), seen(0.1)).is_none());
        let reward = tracker.observe(seen(-2.5), seen(0.15)).unwrap().value();
        assert!((reward - 0.1).abs() < 1e-12, "{reward}");
        let wild = tracker.observe(seen(100.0), seen(0.16)).unwrap().value();
        assert!((wild - 2.0).abs() < 1e-9, "{wild}");
    }
}
