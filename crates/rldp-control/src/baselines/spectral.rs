//! Threshold control by the spectrum of the weights, after Partohaghighi et al., arXiv 2602.10584.
//!
//! **How far this is theirs.** The abstract gives the loop: probe now and then a weight matrix that training has already
//! released, estimate how heavy the tail of its spectrum is, smooth that over time, and feed it to a bounded controller
//! that moves the threshold multiplicatively in the log domain, which is post-processing. It gives neither estimator,
//! setpoint, gain nor sign. Here they are: Hill's estimator on the eigenvalues of (B·A)ᵀ(B·A), the update of every
//! adapter pair; the mean of ln α over pairs, smoothed by 0.8; setpoint α = 4, the middle of the range 2 to 6 that
//! heavy-tailed self-regularisation theory calls well-trained; and a fall of C where the tail is lighter than that, since
//! a light tail is the mark of weights that are mostly noise. No number of the paper is claimed to be reproduced.

use rldp_privacy::Observable;

use crate::{
    action::{Action, ActionBounds},
    controller::Controller,
    error::ControlError,
    observation::Observation,
    state::{StateFormat, read_state, write_state},
};

/// α of a spectrum that is neither noise nor collapsed.
const SETPOINT: f64 = 4.0;
/// Weight of the past in the smoothed ln α.
const SMOOTHING: f64 = 0.8;
/// Change of ln C for each unit of ln α off the setpoint.
const GAIN: f64 = 0.2;

/// ln C ← ln C − clamp(0.2 (ln ᾱ − ln 4)), for all pairs together.
#[derive(Debug)]
pub struct SpectralController {
    bound: f64,
    smoothed: Option<f64>,
}

impl SpectralController {
    /// Moves of ln C stay within `bounds`.
    pub fn new(bounds: ActionBounds) -> Self {
        Self { bound: bounds.clip, smoothed: None }
    }
}

impl Controller for SpectralController {
    fn name(&self) -> &'static str {
        "spectral"
    }

    fn act(&mut self, observation: &Observation, _reward: Option<Observable>, _done: bool) -> Action {
        let pairs = observation.pairs.len();
        let tails = observation.pairs.iter().map(|pair| pair.spectral_tail.value());
        let logs: Vec<f64> = tails.filter(|tail| *tail > 0.0 && tail.is_finite()).map(f64::ln).collect();
        if !logs.is_empty() {
            let now = logs.iter().sum::<f64>() / logs.len() as f64;
            self.smoothed = Some(self.smoothed.map_or(now, |past| SMOOTHING * past + (1.0 - SMOOTHING) * now));
        }
        let off = self.smoothed.map_or(0.0, |log_tail| log_tail - SETPOINT.ln());
        let log_delta = -(GAIN * off).clamp(-self.bound, self.bound);
        Action { clip_log_delta: vec![log_delta; pairs], ..Action::idle(pairs) }
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, self.name(), &self.smoothed)
    }

    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        self.smoothed = read_state(format, bytes, self.name())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rldp_privacy::Public;

    use super::*;
    use crate::observation::testing::observation;

    fn seen(tail: f64) -> Observation {
        let mut seen = observation(2);
        for pair in &mut seen.pairs {
            pair.spectral_tail = Public::declare(tail).into();
        }
        seen
    }

    #[test]
    fn light_tails_lower_the_threshold_smoothly_and_within_bounds() {
        let mut controller = SpectralController::new(ActionBounds::default());
        assert_eq!(controller.act(&seen(0.0), None, false), Action::idle(2), "there is no spectrum yet");
        let at_setpoint = controller.act(&seen(4.0), None, false);
        assert!(at_setpoint.clip_log_delta[0].abs() < 1e-15);
        let lighter = controller.act(&seen(8.0), None, false).clip_log_delta[0];
        assert!((lighter + 0.2 * 0.2 * 2_f64.ln()).abs() < 1e-12, "{lighter}");
        for _ in 0..100 {
            controller.act(&seen(1e6), None, false);
        }
        assert_eq!(controller.act(&seen(1e6), None, false).clip_log_delta, [-0.1; 2]);
        let mut heavy = SpectralController::new(ActionBounds::default());
        assert!(heavy.act(&seen(2.0), None, false).clip_log_delta[1] > 0.0);
    }
}
