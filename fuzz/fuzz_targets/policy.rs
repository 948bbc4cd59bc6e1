//! A saved policy, from anybody: it is refused, or it acts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_control::{ControllerKind, GlobalObservation, Observation, PairObservation, SacSettings, controller};
use rldp_privacy::{Observable, Public};

fn seen(value: f64) -> Observable {
    Public::declare(value).into()
}

fn observation() -> Observation {
    let x = seen(0.25);
    Observation {
        global: GlobalObservation {
            step_fraction: x,
            budget_fraction: x,
            snr: x,
            loss: x,
            loss_change: x,
            log_noise_multiplier: x,
            last_reward: x,
            noise_energy: x,
        },
        pairs: vec![PairObservation {
            snr: x,
            momentum_cosine: x,
            previous_cosine: x,
            drift: x,
            clip_fraction: x,
            log_clip_norm: x,
            log_share: x,
            spectral_tail: x,
        }],
        norms: None,
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(state) = serde_json::from_slice(data) else { return };
    let small = SacSettings { hidden_size: 2, batch_size: 1, replay_capacity: 2, ..SacSettings::default() };
    for kind in ControllerKind::ALL {
        let mut controller = controller(kind, 1, &small, 3).expect("small settings are in range");
        if controller.restore(&state).is_ok() {
            for _ in 0..3 {
                controller.act(&observation(), Some(seen(0.1)), false);
            }
            let _ = controller.state();
        }
    }
});
