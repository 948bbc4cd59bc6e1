//! DC-SGD (Wei et al., arXiv 2503.22988): the threshold is read off a paid histogram of gradient norms.

use rldp_privacy::Observable;

use crate::{
    action::Action,
    controller::Controller,
    error::ControlError,
    observation::{NormHistogram, Observation},
    state::{StateFormat, read_state, write_state},
};

/// p of DC-SGD-P.
const PERCENTILE: f64 = 0.5;

/// How the next threshold is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DcSgdRule {
    /// DC-SGD-P: where the accumulated mass first exceeds p = 0.5.
    Percentile,
    /// DC-SGD-E: the least expected squared error, noise + bias: s² d (C/C_now)² + E\[max(‖g‖ − C, 0)²\], over the
    /// histogram's bin ends.
    Error,
}

/// Sets one threshold for the whole gradient after every interval; the paper does so after every step (`interval = 1`).
///
/// Bins are logarithmic, from 1/64 to 64 times the first threshold, since thresholds may wander that far. Negative noisy
/// counts count as zero. Before anything is released nothing moves.
#[derive(Debug)]
pub struct DcSgdController {
    rule: DcSgdRule,
}

impl DcSgdController {
    /// By `rule`.
    pub fn new(rule: DcSgdRule) -> Self {
        Self { rule }
    }

    /// The next threshold over the first one. `now` is the present one over the first, `noise` the energy of the noise in
    /// the mean gradient at the present one, in units of the first threshold squared.
    fn threshold(&self, histogram: &NormHistogram, now: f64, noise: f64) -> Option<f64> {
        let mass: Vec<f64> = histogram.fractions.iter().map(|fraction| fraction.value().max(0.0)).collect();
        let total: f64 = mass.iter().sum();
        if total <= 0.0 {
            return None;
        }
        match self.rule {
            DcSgdRule::Percentile => {
                let mut below = 0.0;
                let reached = mass.iter().position(|mass| {
                    below += mass;
                    below > PERCENTILE * total
                });
                Some(histogram.uppers[reached?])
            }
            DcSgdRule::Error => {
                let bias = |clip: f64| {
                    let cut = histogram.middles.iter().map(|norm| (norm - clip).max(0.0).powi(2));
                    cut.zip(&mass).map(|(cut, mass)| cut * mass / total).sum::<f64>()
                };
                let error = |clip: f64| noise * (clip / now).powi(2) + bias(clip);
                histogram.uppers.iter().copied().min_by(|a, b| error(*a).total_cmp(&error(*b)))
            }
        }
    }
}

impl Controller for DcSgdController {
    fn name(&self) -> &'static str {
        match self.rule {
            DcSgdRule::Percentile => "dc-sgd-p",
            DcSgdRule::Error => "dc-sgd-e",
        }
    }

    fn act(&mut self, observation: &Observation, _reward: Option<Observable>, _done: bool) -> Action {
        let pairs = observation.pairs.len();
        let Some(histogram) = &observation.norms else { return Action::idle(pairs) };
        let log_now = observation.pairs.iter().map(|pair| pair.log_clip_norm.value()).sum::<f64>() / pairs as f64;
        let noise = observation.global.noise_energy.value() / histogram.unit.powi(2);
        let next = self.threshold(histogram, log_now.exp(), noise);
        let log_delta = next.map_or(0.0, |next| next.ln() - log_now);
        Action { clip_log_delta: vec![log_delta; pairs], ..Action::idle(pairs) }
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, self.name(), &())
    }

    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        read_state::<()>(format, bytes, self.name())
    }
}

#[cfg(test)]
mod tests {
    use rldp_privacy::Public;

    use super::*;
    use crate::observation::testing::observation;

    fn histogram(fractions: [f64; 4]) -> NormHistogram {
        NormHistogram {
            middles: vec![0.25, 0.75, 1.5, 3.0],
            uppers: vec![0.5, 1.0, 2.0, 4.0],
            unit: 0.1,
            fractions: fractions.map(|fraction| Public::declare(fraction).into()).to_vec(),
        }
    }

    #[test]
    fn the_percentile_rule_takes_the_bin_where_mass_exceeds_a_half() {
        let rule = DcSgdController::new(DcSgdRule::Percentile);
        assert_eq!(rule.threshold(&histogram([0.2, 0.2, 0.5, 0.1]), 1.0, 1.0), Some(2.0));
        // Negative noisy counts are none.
        assert_eq!(rule.threshold(&histogram([-0.4, 0.6, 0.1, 0.3]), 1.0, 1.0), Some(1.0));
        assert_eq!(rule.threshold(&histogram([-0.1, 0.0, -0.2, 0.0]), 1.0, 1.0), None);
    }

    /// Noise 1 at C = 1 and half the units at 0.75, half at 3: the errors at 0.5, 1, 2, 4 are
    /// 0.25 + (0.0625 + 6.25)/2 = 3.406, 1 + 4/2 = 3, 4 + 1/2 = 4.5 and 16.
    #[test]
    fn the_error_rule_weighs_noise_against_bias() {
        let rule = DcSgdController::new(DcSgdRule::Error);
        let norms = histogram([0.0, 0.5, 0.0, 0.5]);
        assert_eq!(rule.threshold(&norms, 1.0, 1.0), Some(1.0));
        // The same noise at C = 2 is four times the noise at C = 1.
        assert_eq!(rule.threshold(&norms, 2.0, 4.0), Some(1.0));
        assert_eq!(rule.threshold(&norms, 1.0, 1e-6), Some(4.0));
        assert_eq!(rule.threshold(&norms, 1.0, 1e3), Some(0.5));
    }

    #[test]
    fn the_action_leads_to_the_threshold_whatever_it_is_now() {
        let mut rule = DcSgdController::new(DcSgdRule::Percentile);
        let mut seen = observation(3);
        assert_eq!(rule.act(&seen, None, false), Action::idle(3));
        seen.norms = Some(histogram([0.0, 0.0, 1.0, 0.0]));
        for pair in &mut seen.pairs {
            pair.log_clip_norm = Public::declare(0.25_f64.ln()).into();
        }
        let action = rule.act(&seen, None, false);
        assert!((action.clip_log_delta[2].exp() * 0.25 - 2.0).abs() < 1e-12, "{action:?}");
    }
}
