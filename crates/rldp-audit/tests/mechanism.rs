//! The mechanism under audit: the honest one survives and nearly all of its claim is proved; one with less noise is caught.

#![allow(clippy::unwrap_used)] // helpers of tests

use rldp_audit::{
    guesses::OneRunSettings,
    mechanism::{MechanismAudit, MechanismSettings, audit_mechanism, coins},
};
use rldp_privacy::NoiseSource;

fn audit(canaries: usize, guesses: usize, claimed: f64, actual: f64, seed: u64) -> MechanismAudit {
    let audit = OneRunSettings { delta: 1e-5, confidence: 0.95, guesses: Some(guesses), seed };
    let settings =
        MechanismSettings { canaries, claimed_noise_multiplier: claimed, actual_noise_multiplier: actual, audit };
    audit_mechanism(&settings, &mut coins(Some(seed)).unwrap(), &mut NoiseSource::unsafe_seeded(seed)).unwrap()
}

/// m = 20000, z = 1, r = 600 fixed beforehand: the stated setting at which 70 % of the claim is proved.
#[test]
fn an_honest_step_is_not_refuted_and_most_of_its_claim_is_proved() {
    let found = audit(20_000, 600, 1.0, 1.0, 1);
    assert!(!found.refuted && found.one_run.gdp_epsilon <= found.claimed_epsilon, "{found:?}");
    assert!(found.one_run.gdp_epsilon >= 0.7 * found.claimed_epsilon, "{found:?}");
    assert!(found.one_run.epsilon >= 0.4 * found.claimed_epsilon, "{found:?}");
}

/// Ten honest audits at 95 %: none is refuted, whatever the seed (each is with probability at most 10 %, and far less
/// here, since a single run proves about half of the claim).
#[test]
fn honest_steps_are_never_refuted() {
    for seed in 0..10 {
        let found = audit(1_000, 40, 1.5, 1.5, seed);
        assert!(!found.refuted, "{found:?}");
    }
}

#[test]
fn a_third_of_the_claimed_noise_is_caught() {
    let found = audit(2_000, 200, 2.0, 2.0 / 3.0, 3);
    assert!(found.refuted && found.one_run.gdp_epsilon > found.claimed_epsilon, "{found:?}");
}

#[test]
fn the_same_seed_gives_the_same_audit() {
    let print = |found: &MechanismAudit| format!("{found:?}");
    assert_eq!(print(&audit(300, 20, 1.0, 1.0, 9)), print(&audit(300, 20, 1.0, 1.0, 9)));
}
