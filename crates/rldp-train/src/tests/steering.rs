//! What a controller asks for is what happens, and what it is rewarded for is what it did.

#![allow(clippy::unwrap_used)]

use rldp_control::ControllerKind;
use rldp_data::demo;

use crate::{
    Silent,
    settings::{RegimeKind, TrainSettings},
    testing::{demo_settings, demo_trainer, metrics},
};

fn settings(folder: &std::path::Path, steps: u64) -> TrainSettings {
    let mut settings = demo_settings(folder, 12);
    (settings.privacy.steps, settings.privacy.batch_size, settings.privacy.epsilon) = (steps, 4.0, 8.0);
    (settings.model.rank, settings.data.max_length) = (1, 16);
    settings
}

/// Value `field` of the lines of a kind.
fn lines(settings: &TrainSettings, kind: &str, field: &str) -> Vec<Option<f64>> {
    metrics(settings).iter().filter(|line| line["kind"] == kind).map(|line| line[field].as_f64()).collect()
}

/// With five cards of four steps each: who asks for more and more noise has less of it in the first half, who asks for less has more. (The cards at
/// both ends lie beyond what these two ask for, so that the last steps are left with some of them.)
#[test]
fn a_deck_is_played_in_the_order_that_is_asked_for() {
    let halves = |controller| {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path(), 20);
        (settings.privacy.regime, settings.privacy.noise_bands) = (RegimeKind::Deck, None);
        settings.privacy.statistics_share = 0.0;
        (settings.control.controller, settings.control.interval) = (controller, 2);
        demo_trainer(&settings).run(&mut Silent).unwrap();
        let played: Vec<f64> = lines(&settings, "step", "noise_multiplier").into_iter().flatten().collect();
        assert_eq!(played.len(), 20);
        (played[..10].iter().sum::<f64>(), played[10..].iter().sum::<f64>())
    };
    let (first, second) = halves(ControllerKind::NoiseRising);
    assert!(first < second, "rising: {first} and {second}");
    let (first, second) = halves(ControllerKind::NoiseFalling);
    assert!(second < first, "falling: {first} and {second}");
}

/// Rewards by public records are what an interval did to their loss, over its percents of the budget: one third of it each.
#[test]
fn a_probe_rewards_the_interval_that_it_follows() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), 6);
    settings.data.eval = Some(folder.path().join("eval.csv"));
    demo::write_notes(settings.data.eval.as_ref().unwrap(), 4, 3).unwrap();
    (settings.control.controller, settings.control.public_probe) = (ControllerKind::Random, true);
    (settings.control.interval, settings.output.eval_every) = (2, 5);
    demo_trainer(&settings).run(&mut Silent).unwrap();
    let found = metrics(&settings);
    let loss = |step: u64| {
        let line = found.iter().find(|line| line["kind"] == "eval" && line["step"] == step);
        line.and_then(|line| line["nll"].as_f64()).unwrap()
    };
    let rewards = lines(&settings, "control", "reward");
    assert_eq!((rewards.len(), rewards[0]), (3, None));
    for (reward, step) in rewards[1..].iter().zip([4, 6]) {
        let expected = (loss(step - 2) - loss(step)) / (100.0 / 3.0);
        assert!((reward.unwrap() / expected - 1.0).abs() < 1e-9, "step {step}: {reward:?}, not {expected}");
    }
}
