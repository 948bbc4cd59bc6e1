//! A controller that learns from noise must not run away with a long run, and must still find what there is to find.

#![allow(clippy::unwrap_used)] // helpers of tests

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rand_distr::StandardNormal;
use rldp_control::{ActionBounds, ControllerKind, Observation, SacSettings, controller};
use rldp_privacy::Public;

const PAIRS: usize = 4;
const DECISIONS: u64 = 300;

/// ln of the learning-rate gain after a run in which every move of it earns `signal` of its bound beside noise of deviation 5.
fn wandered(kind: ControllerKind, signal: f64, seed: u64) -> f64 {
    let settings = SacSettings { batch_size: 16, hidden_size: 32, ..SacSettings::default() };
    let mut controller = controller(kind, PAIRS, DECISIONS, &settings, seed).unwrap();
    let bound = ActionBounds::over(DECISIONS).learning_rate;
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let (mut reward, mut place) = (None, 0.0);
    for decision in 1..=DECISIONS {
        let seen = Observation::filled(PAIRS, || Public::declare(rng.random_range(-1.0..1.0)).into());
        let action = controller.act(&seen, reward, decision == DECISIONS);
        place += action.learning_rate_log_gain;
        let noise: f64 = rng.sample(StandardNormal);
        reward = Some(Public::declare(signal * action.learning_rate_log_gain / bound + 5.0 * noise).into());
    }
    place
}

/// Moves that mean nothing are taken back: of 0.15 √(20/300) a decision the sum has a deviation of 0.02.
#[test]
fn noise_moves_a_long_run_no_farther_than_a_short_one() {
    for kind in [ControllerKind::Sac, ControllerKind::SetScratch] {
        for seed in 1..=3 {
            let place = wandered(kind, 0.0, seed);
            assert!(place.abs() < 0.2, "{kind}, seed {seed}: {place}");
        }
    }
}

#[test]
fn a_signal_as_large_as_the_noise_is_followed() {
    for kind in [ControllerKind::Sac, ControllerKind::SetScratch] {
        let place: f64 = (1..=3).map(|seed| wandered(kind, 20.0, seed)).sum::<f64>() / 3.0;
        assert!(place > 3.0, "{kind}: {place}");
    }
}
