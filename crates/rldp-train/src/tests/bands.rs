//! Noise with bands in the loop: who takes part, what is claimed, what the controller sees, and a run that is resumed.

#![allow(clippy::unwrap_used)]

use rldp_privacy::{Secrecy, verify};
use tempfile::TempDir;

use crate::{
    Silent, Trainer, files,
    plan::{Plan, plan},
    resume,
    settings::{GeometryKind, OptimizerKind, RegimeKind, TrainSettings},
    start,
    steering::observer::Observer,
    testing::{StopAfter, demo_inputs, demo_settings, demo_trainer, settings},
};

/// A run of `steps` steps of four bands on 24 demo patients.
fn banded(folder: &TempDir, steps: u64) -> TrainSettings {
    let mut settings = demo_settings(folder.path(), 24);
    settings.privacy.noise_bands = Some(4);
    settings.privacy.steps = steps;
    settings.privacy.batch_size = 4.0;
    settings.model.rank = 2;
    settings
}

fn planned(change: impl Fn(&mut TrainSettings)) -> Plan {
    let mut settings = settings();
    (settings.privacy.steps, settings.privacy.batch_size) = (60, 128.0);
    settings.privacy.noise_bands = None;
    change(&mut settings);
    settings.validate().unwrap();
    plan(&settings, 20_000.0, 4, 4000).unwrap()
}

#[test]
fn bands_are_chosen_where_they_leave_less_noise() {
    let chosen = planned(|_| ());
    assert!(chosen.claim.noise_bands >= 4, "{:?}", chosen.claim);
    chosen.claim.validate().unwrap();
    assert_eq!(chosen.claim.rounds(60), 60_u64.div_ceil(chosen.claim.noise_bands));
    let one: [fn(&mut TrainSettings); 6] = [
        |settings| settings.privacy.regime = RegimeKind::Deck,
        |settings| settings.privacy.other_steps = 60,
        |settings| settings.privacy.geometry = GeometryKind::Geoclip,
        |settings| settings.optimizer.optimizer = OptimizerKind::AdamBc,
        // Too few steps, or too many units in each.
        |settings| settings.privacy.steps = 10,
        |settings| settings.privacy.batch_size = 15_000.0,
    ];
    for (case, change) in one.iter().enumerate() {
        assert_eq!(planned(change).claim.noise_bands, 1, "case {case}");
    }
}

#[test]
fn bands_that_cannot_be_are_refused_by_name() {
    let refused = |change: fn(&mut TrainSettings)| {
        let mut settings = settings();
        settings.privacy.noise_bands = Some(4);
        change(&mut settings);
        let error = settings.validate().map_or_else(
            |error| error.to_string(),
            |()| plan(&settings, 50.0, 4, 4000).map(drop).unwrap_err().to_string(),
        );
        assert!(error.contains("bands"), "{error}");
    };
    refused(|settings| settings.privacy.regime = RegimeKind::Adaptive);
    refused(|settings| settings.optimizer.optimizer = OptimizerKind::AdamBc);
    refused(|settings| settings.privacy.noise_bands = Some(0));
    refused(|settings| settings.privacy.noise_bands = Some(17));
    // 20 of 50 units a step leave no room for four classes.
    refused(|_| ());
}

/// A committed plan for one round too few is no proof.
#[test]
fn a_claim_pays_for_every_round() {
    let chosen = planned(|settings| settings.privacy.noise_bands = Some(4));
    let mut longer = chosen.claim.clone();
    longer.steps += 1;
    assert!(longer.validate().is_err());
    let mut fewer_bands = chosen.claim;
    fewer_bands.noise_bands = 2;
    assert!(fewer_bands.validate().is_err());
}

/// With everybody in the batch when it is their turn, four steps are all units, each once, in every round anew.
#[test]
fn each_unit_has_one_turn_a_round() {
    let folder = TempDir::new().unwrap();
    let mut settings = banded(&folder, 8);
    let units = demo_inputs(&settings).units.len();
    settings.privacy.batch_size = units as f64 / 4.0;
    let mut trainer = demo_trainer(&settings);
    let mut batches = Vec::new();
    for _ in 0..8 {
        trainer.mechanism.spender.charge(trainer.mechanism.now.noise_multiplier, Secrecy::Secret).unwrap().unwrap();
        batches.push(trainer.mechanism.sampled().indices().to_vec());
    }
    let mut round = batches[..4].concat();
    round.sort_unstable();
    assert_eq!(round, (0..units).collect::<Vec<_>>());
    assert_eq!(batches[..4], batches[4..]);
}

/// At half the rate of that, a unit is drawn in half of the rounds, and only ever when it is its turn. False alarm: 1e-9.
#[test]
fn a_unit_is_drawn_at_the_rate_of_its_round_and_in_its_turn_alone() {
    const ROUNDS: usize = 60;
    let folder = TempDir::new().unwrap();
    let mut settings = banded(&folder, 4 * ROUNDS as u64);
    let units = demo_inputs(&settings).units.len();
    settings.privacy.batch_size = units as f64 / 8.0;
    let mut trainer = demo_trainer(&settings);
    let mut turns = vec![None; units];
    let mut drawn = 0;
    for step in 0..4 * ROUNDS {
        trainer.mechanism.spender.charge(trainer.mechanism.now.noise_multiplier, Secrecy::Secret).unwrap().unwrap();
        for &unit in trainer.mechanism.sampled().indices() {
            assert_eq!(*turns[unit].get_or_insert(step % 4), step % 4, "unit {unit} was drawn in two turns");
            drawn += 1;
        }
    }
    let chances = (units * ROUNDS) as f64;
    let room = ((2.0_f64 / 1e-9).ln() / (2.0 * chances)).sqrt();
    let rate = f64::from(drawn) / chances;
    assert!((rate - 0.5).abs() < room, "{rate} of the rounds, not 0.5 ± {room}");
}

/// What noise has in common with that of the release before the last is not known to the observer.
#[test]
fn a_step_that_is_taken_again_leaves_nothing_to_compare_with() {
    let folder = TempDir::new().unwrap();
    let mut trainer = demo_trainer(&banded(&folder, 8));
    let (mut observer, momentum) = (Observer::default(), vec![0.0; trainer.learner.adapter.parameters().len()]);
    for (stands, compared) in [(true, false), (true, true), (false, true), (true, false), (true, true)] {
        let release = trainer.private_step().unwrap().unwrap();
        let layout = trainer.learner.adapter.layout();
        assert_eq!(observer.compare(layout, &release).is_some(), compared);
        observer.record(layout, &release, &momentum, None, stands);
    }
}

#[test]
fn a_run_with_bands_is_resumed_and_verifies() {
    let folder = TempDir::new().unwrap();
    let settings = banded(&folder, 10);
    let ledger = || fs_err::read_to_string(settings.output.out.join(files::LEDGER)).unwrap();
    start(settings.clone(), demo_inputs(&settings)).unwrap().run(&mut StopAfter(5)).unwrap();
    assert!(verify(&ledger()).holds, "{:?}", verify(&ledger()).checks);
    let mut unasked = settings.clone();
    unasked.privacy.noise_bands = None;
    let mut second = resume(unasked, demo_inputs(&settings)).unwrap();
    let release = second.private_step().unwrap().unwrap();
    assert_eq!(release.noise_correlation, 0.0, "noise that was lost with the first process cannot be taken back");
    assert!(second.run(&mut Silent).unwrap().finished);
    let found = verify(&ledger());
    assert!(found.holds, "{:?}", found.checks);
    assert_eq!(found.steps, 10);
    let charges = || ledger().lines().filter(|line| line.contains("\"charge\"")).map(str::to_owned).collect::<Vec<_>>();
    assert!(charges().iter().all(|line| line.contains("\"noise_bands\":4")), "{:?}", charges());
    assert!(found.statement.contains("correlated over 4 steps"), "{}", found.statement);
    let (recomputed, target) = (found.epsilon_recomputed.unwrap(), settings.privacy.epsilon);
    assert!(recomputed <= target && recomputed > 0.98 * target, "three rounds cost {recomputed} of {target}");
    drop(second);
    let mut other = settings.clone();
    other.privacy.noise_bands = Some(2);
    let error = resume(other, demo_inputs(&settings)).err().unwrap().to_string();
    assert!(error.contains("noise_bands"), "{error}");
}

/// Noise alone, correlated with itself: what consecutive releases say of each other is zero on average, and its deviation what it is
/// said to be. 24 steps; a deviation of 5 comes once in two million of each.
#[test]
fn correlated_noise_looks_like_no_signal() {
    let folder = TempDir::new().unwrap();
    let mut settings = banded(&folder, 25);
    settings.privacy.batch_size = 4e-8;
    let mut trainer: Trainer = demo_trainer(&settings);
    let mut products = Vec::new();
    for step in 1..=25 {
        let release = trainer.private_step().unwrap().unwrap();
        let layout = trainer.learner.adapter.layout();
        if let Some(seen) = trainer.steering.observer.compare(layout, &release) {
            let seen = seen.seen();
            let z = seen.product.value() / seen.deviation.value();
            assert!(z.abs() < 5.0 && seen.evidence().value().abs() < 8.0, "step {step}: {seen:?}");
            products.push(z);
        }
        let momentum = vec![0.0; trainer.learner.adapter.parameters().len()];
        trainer.steering.observer.record(layout, &release, &momentum, None, true);
    }
    let mean = products.iter().sum::<f64>() / 24.0;
    assert!(mean.abs() < 5.0 / 24.0_f64.sqrt(), "{mean}");
}
