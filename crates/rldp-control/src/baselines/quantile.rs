//! Quantile clipping (Andrew et al., arXiv 1905.03871): thresholds follow a quantile of the norms by a paid count.

use rldp_privacy::Observable;

use crate::{
    action::Action,
    controller::Controller,
    error::ControlError,
    observation::Observation,
    state::{StateFormat, read_state, write_state},
};

/// γ: the fraction of units that shall stay below their threshold; the paper's recommendation.
const TARGET: f64 = 0.5;
/// η_C: step of the geometric update; the paper's value.
const RATE: f64 = 0.2;

/// C ← C · exp(−η_C (b̄ − γ)), with b̄ the released fraction of units below the threshold: of each pair in pair-wise
/// clipping, of the whole in flat. The paper moves after every step, which is `interval = 1`.
///
/// The fraction is bounded to \[0, 1\] before use, which is post-processing; so one move is at most a factor e^0.1.
#[derive(Debug)]
pub struct QuantileController;

impl Controller for QuantileController {
    fn name(&self) -> &'static str {
        "quantile"
    }

    fn act(&mut self, observation: &Observation, _reward: Option<Observable>, _done: bool) -> Action {
        let moves = observation.pairs.iter().map(|pair| {
            let unclipped = 1.0 - pair.clip_fraction.value().clamp(0.0, 1.0);
            -RATE * (unclipped - TARGET)
        });
        Action { clip_log_delta: moves.collect(), ..Action::idle(observation.pairs.len()) }
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
    use super::*;
    use crate::observation::testing::observation;

    /// The threshold after each of five released fractions, by Opacus 1.6's `AdaClipDPOptimizer.update_max_grad_norm`
    /// (testdata/quantile.py).
    #[test]
    fn thresholds_follow_opacus() {
        let mut clip = 1.0_f64;
        for (clipped, want) in OPACUS {
            let mut seen = observation(2);
            for pair in &mut seen.pairs {
                pair.clip_fraction = rldp_privacy::Public::declare(clipped).into();
            }
            let action = QuantileController.act(&seen, None, false);
            assert_eq!(action.clip_log_delta[0], action.clip_log_delta[1]);
            clip *= action.clip_log_delta[0].exp();
            assert!((clip / want - 1.0).abs() < 1e-6, "{clip} against {want}");
        }
    }

    const OPACUS: [(f64, f64); 5] =
        [(1.0, 1.105_170_918), (0.75, 1.161_834_243), (0.5, 1.161_834_243), (0.1, 1.072_508_181), (0.0, 0.970_445_534)];
}
