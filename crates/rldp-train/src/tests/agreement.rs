//! The learning rate that follows how far releases agree, in the loop.

#![allow(clippy::unwrap_used)]

use tempfile::TempDir;

use crate::{
    Silent, files, resume,
    settings::{ClippingKind, GeometryKind, Given, OptimizerKind, TrainSettings, Trainable},
    start,
    testing::{StopAfter, demo_inputs, demo_settings, metrics},
};

/// 24 patients, nearly all of them in every step, at so much noise that the rule takes half off its rate; steps are so short that gradients
/// stay what they are.
fn noisy(folder: &TempDir) -> TrainSettings {
    let mut settings = demo_settings(folder.path(), 24);
    settings.optimizer.learning_rate = Some(1e-4);
    settings.control.rate_adaptation = Some(true);
    settings.privacy.steps = 40;
    settings.privacy.batch_size = 20.0;
    settings.privacy.epsilon = 40.0;
    settings.privacy.unsafe_noise_seed = Some(5);
    settings
}

/// Rate of every step over what the rule and its schedule say.
fn gains(settings: &TrainSettings) -> Vec<f64> {
    let steps: Vec<_> = metrics(settings).into_iter().filter(|line| line["kind"] == "step").collect();
    let peak = steps[0]["learning_rate"].as_f64().unwrap();
    let planned = |step: usize| peak * (1.0 - step as f64 / 40.0);
    steps.iter().enumerate().map(|(step, line)| line["learning_rate"].as_f64().unwrap() / planned(step)).collect()
}

#[test]
fn releases_that_agree_give_the_rate_back_and_a_resumed_run_keeps_it() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (whole, halved) = (noisy(&one), noisy(&two));
    start(whole.clone(), demo_inputs(&whole)).unwrap().run(&mut Silent).unwrap();
    let gains_of_whole = gains(&whole);
    // Two releases have no agreement.
    assert!(gains_of_whole[..2].iter().all(|gain| (gain - 1.0).abs() < 1e-9), "{gains_of_whole:?}");
    let kept = gains_of_whole[39];
    assert!(kept > 1.2, "{gains_of_whole:?}");
    assert!(gains_of_whole[20..].iter().all(|gain| (gain - kept).abs() < 1e-9), "{gains_of_whole:?}");

    start(halved.clone(), demo_inputs(&halved)).unwrap().run(&mut StopAfter(12)).unwrap();
    let before = gains(&halved)[11];
    let mut again = halved.clone();
    again.control.rate_adaptation = None;
    resume(again, demo_inputs(&halved)).unwrap().run(&mut Silent).unwrap();
    assert!(before > 1.0 && gains(&halved)[39] > 0.999 * before, "{:?}", gains(&halved));
    // Without what the first process saw, two steps would have no agreement.
    assert!(agreements(&halved)[12].is_some_and(|now| now > 1.0), "{:?}", agreements(&halved));
}

/// What stands in the metrics of every step.
fn agreements(settings: &TrainSettings) -> Vec<Option<f64>> {
    let steps = metrics(settings).into_iter().filter(|line| line["kind"] == "step");
    steps.map(|line| line["agreement"].as_f64()).collect()
}

#[test]
fn what_is_not_trained_has_no_part_and_a_geometry_has_no_agreement() {
    let seen = |change: fn(&mut TrainSettings)| {
        let folder = TempDir::new().unwrap();
        let mut settings = noisy(&folder);
        settings.privacy.steps = 5;
        change(&mut settings);
        settings.validate().unwrap();
        start(settings.clone(), demo_inputs(&settings)).unwrap().run(&mut StopAfter(3)).unwrap();
        resume(settings.clone(), demo_inputs(&settings)).unwrap().run(&mut Silent).unwrap();
        agreements(&settings).iter().map(Option::is_some).collect::<Vec<_>>()
    };
    assert_eq!(seen(|settings| settings.model.trainable = Trainable::B), [false, false, true, true, true]);
    let geometry = |settings: &mut TrainSettings| {
        (settings.privacy.geometry, settings.privacy.clipping) = (GeometryKind::Adaclip, ClippingKind::Flat);
        settings.control.rate_adaptation = None;
    };
    assert_eq!(seen(geometry), [false; 5]);
}

/// A rate that somebody gave stays what it is; the rule's follows, unless it is searched for or nobody wants it to.
#[test]
fn who_gives_no_rate_gets_one_that_follows() {
    let folder = TempDir::new().unwrap();
    let follows = |change: fn(&mut TrainSettings)| {
        let mut settings = noisy(&folder);
        (settings.optimizer.learning_rate, settings.control.rate_adaptation) = (None, None);
        change(&mut settings);
        settings.validate().unwrap();
        settings.adapts_rate()
    };
    assert!(follows(|_| ()));
    assert!(!follows(|settings| settings.optimizer.learning_rate = Some(0.01)));
    assert!(!follows(|settings| settings.control.rate_adaptation = Some(false)));
    assert!(!follows(|settings| settings.control.rate_search = true));
    assert!(!follows(|settings| settings.optimizer.optimizer = OptimizerKind::Sgd));
    assert!(!follows(|settings| settings.control.controller = rldp_control::ControllerKind::Set));
    let mut both = noisy(&folder);
    both.control.rate_search = true;
    assert!(both.validate().unwrap_err().to_string().contains("--rate-adaptation"));
}

/// A run's own file has the rule's rate beside the word that it may follow; who gives another rate over it means that rate.
#[test]
fn a_rate_given_over_a_file_is_meant() {
    let file = Given::default().with("learning_rate", 0.01).with("rate_adaptation", true);
    let over = |flags: Given| {
        let mut given = file.clone();
        given.overlay(flags);
        given.has("rate_adaptation")
    };
    assert!(over(Given::default().with("steps", 9)));
    assert!(!over(Given::default().with("learning_rate", 0.02)));
    assert!(!over(Given::default().with("rate_search", true)));
    assert!(over(Given::default().with("learning_rate", 0.02).with("rate_adaptation", true)));
}

/// The same for a process that is started by the library.
#[test]
fn another_rate_ends_the_adaptation() {
    let folder = TempDir::new().unwrap();
    let mut settings = noisy(&folder);
    start(settings.clone(), demo_inputs(&settings)).unwrap().run(&mut StopAfter(2)).unwrap();
    (settings.control.rate_adaptation, settings.optimizer.learning_rate) = (None, None);
    assert!(resume(settings.clone(), demo_inputs(&settings)).unwrap().learner.rate_adaptation.is_some());
    settings.optimizer.learning_rate = Some(2e-4);
    assert!(resume(settings.clone(), demo_inputs(&settings)).unwrap().learner.rate_adaptation.is_none());
}

/// What was chosen stands in the run's settings, so that a later process does the same.
#[test]
fn what_is_chosen_is_written_down() {
    let folder = TempDir::new().unwrap();
    let mut settings = noisy(&folder);
    (settings.optimizer.learning_rate, settings.control.rate_adaptation) = (None, None);
    drop(start(settings.clone(), demo_inputs(&settings)).unwrap());
    let written = fs_err::read_to_string(settings.output.out.join(files::CONFIG)).unwrap();
    let written = TrainSettings::from_toml(&written).unwrap();
    assert!(written.control.rate_adaptation == Some(true) && written.optimizer.learning_rate.is_some());
}
