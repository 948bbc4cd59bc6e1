//! Times decisions on one core: what a controller that learns takes for one decision, its updates included, in milliseconds;
//! median and largest of 40 decisions with a full batch in the replay, for the pairs of stories260k, GPT-2 small and SmolLM2-135M.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::time::Instant;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rldp_control::{ControllerKind, Observation, SacSettings, controller};
use rldp_privacy::Public;

const PAIRS: [usize; 3] = [35, 48, 210];
const WARM: usize = 24;
const TIMED: usize = 40;

fn main() {
    println!("controller, pairs, ms a decision (median, largest)");
    for kind in [ControllerKind::Sac, ControllerKind::Set, ControllerKind::SetScratch] {
        for pairs in PAIRS {
            let mut rng = ChaCha12Rng::seed_from_u64(1);
            let mut controller =
                controller(kind, pairs, 1, &SacSettings::default(), 1).expect("the defaults are in range");
            let mut seconds = Vec::new();
            for decision in 0..WARM + TIMED {
                // Numbers of no meaning, about as large as real ones.
                let seen = Observation::filled(pairs, || Public::declare(rng.random_range(-1.0..1.0)).into());
                let reward = Public::declare(rng.random_range(-0.1..0.1)).into();
                let start = Instant::now();
                let action = controller.act(&seen, Some(reward), false);
                let taken = start.elapsed().as_secs_f64();
                assert!(action.momentum_log_delta.is_finite());
                if decision >= WARM {
                    seconds.push(1e3 * taken);
                }
            }
            seconds.sort_by(f64::total_cmp);
            println!("{kind}, {pairs}, {:.1} {:.1}", seconds[TIMED / 2], seconds[TIMED - 1]);
        }
    }
}
