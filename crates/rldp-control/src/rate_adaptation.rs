//! A learning rate that follows how far the releases of a run agree with each other.
//!
//! The rule of the learning rate takes something off where noise is large, because it must fear that a step holds next to no signal
//! ([`RateAdaptation`] gets the factors that would give all of it back, and take off more). Whether that is so depends on the text: where
//! everybody's gradients point one way, a step of much noise holds signal all the same. No single step of a run can tell, but their sum can. Let
//! w_t be the release of step t in deviations of its noise, d numbers of deviation 1. Were there nothing but noise, the squared length of the
//! **path** W_m = Σ_(t≤m) w_t would be m·d, give or take m·√(2d); a gradient that keeps its direction adds to it with m². So
//!
//! ```text
//! agreement = (‖W_m‖² / m − d) / √(2d)
//! ```
//!
//! has mean 0 and deviation 1 where gradients are zero, hardly more where they have no direction in common (energy s²/B of a step spread over √(2d)),
//! and grows with m where they agree. Comparing the length of such a path with that of a
//! random walk is how evolution strategies find their step size (cumulative step-size adaptation, Hansen & Ostermeier, Evolutionary Computation
//! 9(2), 2001); here noise is known to the digit, so that the comparison is a test.
//!
//! From the first agreement on the rate follows it: the least that the rule allows, and an octave more for every deviation beyond the second, up to
//! all that the rule took off.
//!
//! Once most of what there is to learn is learned, releases hold next to nothing each, and agreement falls with 1/m although nothing speaks against the
//! way that was taken. So what was seen since 15 % of the steps is given up more slowly, with 1/∛m:
//!
//! ```text
//! evidence = max_(0.15 T≤k≤m) A_k ∛(k/m), and no less than A_m
//! ```
//!
//! What agreed before that and no longer does was learned at once (which words are common, say) and asks for no large rate.
//!
//! Agreement below 0 takes off no more than the rule does: gradients work against the noise that was carried in at the best rate as well (`docs/results/few.md`).

use rldp_privacy::Observable;
use serde::{Deserialize, Serialize};

/// From this part of the steps on, or from the third of them, where that is later.
const FIRST: f64 = 0.04;
/// After this part the rate is left to its schedule: what is still to come moves little.
const LAST: f64 = 0.5;
/// Agreement of so many deviations may be chance: it reaches one in every sixth run whose gradients have no direction in common.
const CHANCE: f64 = 2.0;
/// What is seen from this part of the steps on is kept for a while.
const KEPT_FROM: f64 = 0.15;
/// Growth of ln(gain) with every deviation beyond that.
const GROWTH: f64 = std::f64::consts::LN_2;

/// The factor on the learning rate. Deterministic post-processing of released values: it costs no privacy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateAdaptation {
    /// ln of the gain's lower end; 0 in what the release before this one saved, whose gains began there.
    #[serde(default)]
    least: f64,
    /// ln of what the rule took off: the gain's upper end.
    most: f64,
    /// ln of the gain.
    log_gain: f64,
    /// The largest product of agreement and the third root of the part of the steps that it was seen after, at least 0; since [`KEPT_FROM`].
    #[serde(default)]
    kept: f64,
}

impl RateAdaptation {
    /// Begins at a gain of 1, and follows agreement between `least`, at most 1, and `most`, at least 1.
    pub fn new((least, most): (f64, f64)) -> Self {
        Self { least: least.ln().min(0.0), most: most.ln().max(0.0), log_gain: 0.0, kept: 0.0 }
    }

    /// Takes note of the agreement after a part `fraction` of the steps.
    pub fn observe(&mut self, agreement: Observable, fraction: f64) {
        if (FIRST..=LAST).contains(&fraction) {
            let now = agreement.value();
            if fraction >= KEPT_FROM {
                self.kept = self.kept.max(now * fraction.cbrt());
            }
            let evidence = now.max(self.kept / fraction.cbrt());
            self.log_gain = (self.least + GROWTH * (evidence - CHANCE)).clamp(self.least, self.most);
        }
    }

    /// The factor on the learning rate.
    pub fn gain(&self) -> f64 {
        self.log_gain.exp()
    }

    /// Whether its numbers are possible ones.
    pub fn is_sound(&self) -> bool {
        (0.0..f64::INFINITY).contains(&self.kept)
            && self.least.is_finite()
            && self.most.is_finite()
            && (self.least..=self.most).contains(&self.log_gain)
    }

    /// Goes on with the gain of a sound one that an earlier process saved, within its own ends.
    pub fn restore(&mut self, saved: Self) {
        self.log_gain = saved.log_gain.clamp(self.least, self.most);
        self.kept = saved.kept;
    }
}

#[cfg(test)]
mod tests {
    use rldp_privacy::Public;

    use super::*;

    fn after(agreements: &[(f64, f64)]) -> f64 {
        let mut adaptation = RateAdaptation::new((0.5, 2.0));
        for (agreement, fraction) in agreements {
            adaptation.observe(Public::declare(*agreement).into(), *fraction);
        }
        assert!(adaptation.is_sound());
        adaptation.gain()
    }

    #[test]
    fn the_gain_follows_agreement_between_its_ends() {
        assert_eq!(after(&[]), 1.0);
        assert_eq!(after(&[(2.0, 0.2)]), 0.5);
        assert!((after(&[(2.5, 0.2)]) - 0.5_f64.sqrt()).abs() < 1e-12);
        assert!((after(&[(40.0, 0.2)]) - 2.0).abs() < 1e-12);
        assert_eq!(after(&[(-5.0, 0.2)]), 0.5);
    }

    #[test]
    fn what_was_seen_is_given_up_with_the_third_root_of_the_steps() {
        assert!((after(&[(4.0, 0.15)]) - 2.0).abs() < 1e-12);
        assert!((after(&[(4.0, 0.2), (2.0, 0.4)]) - 2.0_f64.powf(4.0 / 2.0_f64.cbrt() - 3.0)).abs() < 1e-12);
        assert!((after(&[(3.0, 0.15), (1.0, 0.5)]) - 2.0_f64.powf(3.0 * 0.3_f64.cbrt() - 3.0)).abs() < 1e-12);
        assert!((after(&[(3.0, 0.15), (2.5, 0.5)]) - 0.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_agreed_at_the_very_first_is_not_kept() {
        assert!((after(&[(8.0, 0.14)]) - 2.0).abs() < 1e-12);
        assert_eq!(after(&[(8.0, 0.14), (2.0, 0.2)]), 0.5);
    }

    #[test]
    fn the_last_word_of_the_first_half_stands() {
        assert_eq!(after(&[(9.0, 0.03)]), 1.0);
        assert!(after(&[(9.0, 0.4), (-9.0, 0.6)]) > 1.9);
        assert_eq!(after(&[(4.0, 0.1), (-9.0, 0.5)]), 0.5);
        assert!(after(&[(9.0, 0.4), (0.0, 0.5)]) > 1.9);
    }

    #[test]
    fn a_rule_that_took_nothing_off_gets_nothing_back() {
        let mut adaptation = RateAdaptation::new((1.0, 1.0));
        adaptation.observe(Public::declare(50.0).into(), 0.2);
        assert_eq!(adaptation.gain(), 1.0);
        let mut other = RateAdaptation::new((1.0, 2.0));
        other.observe(Public::declare(50.0).into(), 0.2);
        adaptation.restore(other);
        assert!(adaptation.gain() == 1.0 && adaptation.is_sound());
        assert!(!RateAdaptation { least: 0.0, most: 1.0, log_gain: f64::NAN, kept: 0.0 }.is_sound());
    }
}
