//! Rules that learn nothing: the bar that a learned controller has to pass.

use rldp_privacy::Observable;

use crate::{
    action::{Action, ActionBounds},
    baselines::QuantileController,
    controller::Controller,
    error::ControlError,
    observation::Observation,
    state::{StateFormat, read_state, write_state},
};

/// Weight of the newest interval in a pair's estimated signal.
const NEWEST: f64 = 0.3;
/// Beyond it an estimate is no signal.
const LARGEST_SIGNAL: f64 = 1e9;
/// ln of the factor by which a scheduled noise multiplier is above its middle at one end of the run, and below at the other.
const NOISE_SWING: f64 = 0.2;

/// Shares proportional to the root of each pair's estimated signal energy per coordinate, which is a private estimate from
/// released gradients: (‖g‖² − d s²) / d.
///
/// With noise s_i ∝ C_i / √w_i the estimate in fixed units is snr_i C_i² / w_i. It is averaged over intervals and bounded
/// below at a tenth of the mean, because noise makes it negative at times.
#[derive(Debug, Default)]
pub struct SnrShares {
    signal: Vec<f64>,
}

impl Controller for SnrShares {
    fn name(&self) -> &'static str {
        "snr-shares"
    }

    fn act(&mut self, observation: &Observation, _reward: Option<Observable>, _done: bool) -> Action {
        let pairs = &observation.pairs;
        let seen = pairs.iter().map(|pair| {
            let signal = pair.snr.value() * (2.0 * pair.log_clip_norm.value() - pair.log_share.value()).exp();
            bounded(signal, LARGEST_SIGNAL)
        });
        follow(&mut self.signal, seen);
        let mean = self.signal.iter().map(|signal| signal.max(0.0)).sum::<f64>() / pairs.len().max(1) as f64;
        if mean <= 0.0 {
            return Action::idle(pairs.len());
        }
        let goals: Vec<f64> = self.signal.iter().map(|signal| 0.5 * signal.max(0.1 * mean).ln()).collect();
        toward(&goals, observation)
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, self.name(), &self.signal)
    }

    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        self.signal = read_state(format, bytes, self.name())?;
        Ok(())
    }
}

/// Thresholds follow the median of the norms by a paid count; shares follow the thresholds.
///
/// At fixed thresholds and equally large pairs the noise energy Σ s_i² = z² Σ C_i² / w_i is least for w_i ∝ C_i.
#[derive(Debug)]
pub struct MseSplit;

impl Controller for MseSplit {
    fn name(&self) -> &'static str {
        "mse-split"
    }

    fn act(&mut self, observation: &Observation, reward: Option<Observable>, done: bool) -> Action {
        let thresholds = QuantileController.act(observation, reward, done).clip_log_delta;
        let pairs = observation.pairs.iter().zip(&thresholds);
        let goals: Vec<f64> = pairs.map(|(pair, delta)| pair.log_clip_norm.value() + delta).collect();
        Action { clip_log_delta: thresholds, ..toward(&goals, observation) }
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, self.name(), &())
    }

    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        read_state::<()>(format, bytes, self.name())
    }
}

/// Step sizes follow the Wiener gain ŝ/(1 + ŝ) of each pair, the filter of least mean squared error for a pair whose release
/// has signal-to-noise ratio ŝ.
///
/// ŝ is the released estimate, averaged over intervals as [`SnrShares`] does and bounded below at a tenth of its mean. Gains
/// are taken over their geometric mean: their common level is the learning rate's business. A gain multiplies a step that the
/// optimizer has already brought to the scale of the noise.
#[derive(Debug, Default)]
pub struct WienerSteps {
    snr: Vec<f64>,
}

impl Controller for WienerSteps {
    fn name(&self) -> &'static str {
        "wiener"
    }

    fn act(&mut self, observation: &Observation, _reward: Option<Observable>, _done: bool) -> Action {
        let pairs = &observation.pairs;
        follow(&mut self.snr, pairs.iter().map(|pair| bounded(pair.snr.value(), LARGEST_SIGNAL)));
        let mean = self.snr.iter().map(|snr| snr.max(0.0)).sum::<f64>() / pairs.len().max(1) as f64;
        if mean <= 0.0 {
            return Action::idle(pairs.len());
        }
        let gain = |snr: &f64| {
            let snr = snr.max(0.1 * mean);
            (snr / (1.0 + snr)).ln()
        };
        let goals: Vec<f64> = self.snr.iter().map(gain).collect();
        let now = pairs.iter().map(|pair| pair.log_step_gain.value());
        Action {
            step_log_delta: moves(&goals, &now.collect::<Vec<_>>(), ActionBounds::default().step),
            ..Action::idle(pairs.len())
        }
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, self.name(), &self.snr)
    }

    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        self.snr = read_state(format, bytes, self.name())?;
        Ok(())
    }
}

/// A noise multiplier that rises, or falls, geometrically over the run. It needs a regime in which noise may move: with a
/// deck it plays the cards in that order at no price.
#[derive(Debug)]
pub struct NoiseSchedule {
    rising: bool,
}

impl NoiseSchedule {
    /// Rising or falling.
    pub fn new(rising: bool) -> Self {
        Self { rising }
    }
}

impl Controller for NoiseSchedule {
    fn name(&self) -> &'static str {
        if self.rising { "noise-rising" } else { "noise-falling" }
    }

    fn act(&mut self, observation: &Observation, _reward: Option<Observable>, _done: bool) -> Action {
        let along = 2.0 * observation.global.step_fraction.value() - 1.0;
        let goal = if self.rising { NOISE_SWING * along } else { -NOISE_SWING * along };
        let delta = goal - observation.global.log_noise_multiplier.value();
        Action {
            noise_log_delta: bounded(delta, ActionBounds::default().noise),
            ..Action::idle(observation.pairs.len())
        }
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, self.name(), &())
    }

    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        read_state::<()>(format, bytes, self.name())
    }
}

/// Moves ln w toward `goals` (K), which are known up to a common constant.
fn toward(goals: &[f64], observation: &Observation) -> Action {
    let now: Vec<f64> = observation.pairs.iter().map(|pair| pair.log_share.value()).collect();
    Action { share_log_delta: moves(goals, &now, ActionBounds::default().share), ..Action::idle(goals.len()) }
}

/// Bounded moves (K) from `now` (K) to `goals` (K), both less their means.
fn moves(goals: &[f64], now: &[f64], limit: f64) -> Vec<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (goal_mean, now_mean) = (mean(goals), mean(now));
    goals.iter().zip(now).map(|(goal, now)| bounded((goal - goal_mean) - (now - now_mean), limit)).collect()
}

/// Takes the newest interval into averages (K); the first one, or one of another size, begins them.
fn follow(average: &mut Vec<f64>, seen: impl ExactSizeIterator<Item = f64>) {
    if average.len() == seen.len() {
        average.iter_mut().zip(seen).for_each(|(old, new)| *old += NEWEST * (new - *old));
    } else {
        *average = seen.collect();
    }
}

/// Within ±`limit`; what is no number moves nothing.
fn bounded(value: f64, limit: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-limit, limit) }
}

#[cfg(test)]
mod tests {
    use rldp_privacy::Public;

    use super::*;
    use crate::observation::testing::observation;

    fn seen(value: f64) -> Observable {
        Public::declare(value).into()
    }

    /// Plays a rule against pairs of fixed signal until it rests; the log shares.
    fn rest(rule: &mut dyn Controller, signal: [f64; 3], log_clip: [f64; 3]) -> Vec<f64> {
        let mut shares = [0.0_f64; 3];
        for _ in 0..60 {
            let mut now = observation(3);
            for (k, pair) in now.pairs.iter_mut().enumerate() {
                pair.snr = seen(signal[k] * (shares[k] - 2.0 * log_clip[k]).exp());
                pair.log_share = seen(shares[k]);
                pair.log_clip_norm = seen(log_clip[k]);
                pair.clip_fraction = seen(0.5);
            }
            let action = rule.act(&now, None, false);
            shares.iter_mut().zip(&action.share_log_delta).for_each(|(share, delta)| *share += delta);
        }
        shares.to_vec()
    }

    #[test]
    fn shares_rest_at_the_root_of_the_signal() {
        let shares = rest(&mut SnrShares::default(), [0.4, 1.6, 0.9], [0.0, 0.3, -0.2]);
        assert!((shares[1] - shares[0] - 2.0_f64.ln()).abs() < 1e-6, "{shares:?}");
        assert!((shares[2] - shares[0] - 1.5_f64.ln()).abs() < 1e-6, "{shares:?}");
    }

    #[test]
    fn shares_of_least_noise_energy_follow_the_thresholds() {
        let shares = rest(&mut MseSplit, [1.0; 3], [0.0, 0.5, -0.25]);
        assert!(
            (shares[1] - shares[0] - 0.5).abs() < 1e-9 && (shares[2] - shares[0] + 0.25).abs() < 1e-9,
            "{shares:?}"
        );
    }

    #[test]
    fn step_sizes_rest_at_the_wiener_gains() {
        let mut rule = WienerSteps::default();
        let mut gains = [0.0_f64; 3];
        for _ in 0..60 {
            let mut now = observation(3);
            for (k, pair) in now.pairs.iter_mut().enumerate() {
                pair.snr = seen([0.5, 1.0, 3.0][k]);
                pair.log_step_gain = seen(gains[k]);
            }
            let action = rule.act(&now, None, false);
            gains.iter_mut().zip(&action.step_log_delta).for_each(|(gain, delta)| *gain += delta);
        }
        // 1/3, 1/2 and 3/4.
        let ratios = [(gains[1] - gains[0]).exp(), (gains[2] - gains[1]).exp()];
        assert!(ratios.iter().all(|ratio| (ratio - 1.5).abs() < 1e-6), "{ratios:?}");
        assert!(gains.iter().sum::<f64>().abs() < 1e-9);
    }

    #[test]
    fn noise_rises_or_falls_to_the_end() {
        for (rising, sign) in [(true, 1.0), (false, -1.0)] {
            let mut rule = NoiseSchedule::new(rising);
            let mut log_noise = 0.0;
            for step in 0..=20 {
                let mut now = observation(2);
                now.global.step_fraction = seen(f64::from(step) / 20.0);
                now.global.log_noise_multiplier = seen(log_noise);
                log_noise += rule.act(&now, None, false).noise_log_delta;
            }
            assert!((log_noise - sign * NOISE_SWING).abs() < 1e-12, "{log_noise}");
        }
    }
}
