//! The learning rate that follows how far releases agree, in the loop.

#![allow(clippy::unwrap_used)]

use tempfile::TempDir;

use crate::{
    Silent, files, resume,
    settings::{OptimizerKind, TrainSettings},
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
    assert!(gains_of_whole[..5].iter().all(|gain| (gain - 1.0).abs() < 1e-9), "{gains_of_whole:?}");
    let kept = gains_of_whole[39];
    assert!(kept > 1.2, "{gains_of_whole:?}");
    assert!(gains_of_whole[20..].iter().all(|gain| (gain - kept).abs() < 1e-9), "{gains_of_whole:?}");

    start(halved.clone(), demo_inputs(&halved)).unwrap().run(&mut StopAfter(25)).unwrap();
    let before = gains(&halved)[24];
    let mut again = halved.clone();
    again.control.rate_adaptation = None;
    resume(again, demo_inputs(&halved)).unwrap().run(&mut Silent).unwrap();
    assert!(before > 1.0 && (gains(&halved)[39] - before).abs() < 1e-9, "{:?}", gains(&halved));
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
    let mut both = noisy(&folder);
    both.control.rate_search = true;
    assert!(both.validate().unwrap_err().to_string().contains("--rate-adaptation"));
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
