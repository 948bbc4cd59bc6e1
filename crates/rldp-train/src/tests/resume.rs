//! Resuming: what goes on, what is refused, and who may write a run folder.

#![allow(clippy::unwrap_used)]

use rldp_control::{ControllerKind, SacSettings, StateFormat};
use rldp_privacy::NoiseSource;
use serde_json::Value;

use crate::{
    Silent, TrainError, Trainer, files, resume,
    settings::TrainSettings,
    start,
    testing::{StopAfter, demo_inputs as inputs, demo_settings, metrics},
};

fn settings(folder: &std::path::Path) -> TrainSettings {
    let mut settings = demo_settings(folder, 12);
    settings.privacy.steps = 9;
    settings.privacy.batch_size = 12.0;
    settings.privacy.epsilon = 8.0;
    settings.privacy.unsafe_noise_seed = Some(0);
    settings.model.rank = 1;
    settings.control.controller = ControllerKind::Sac;
    settings.control.interval = 2;
    settings.control.sac = SacSettings { hidden_size: 4, batch_size: 1, ..SacSettings::default() };
    settings
}

/// Without noise and with everybody in the batch nothing is random but the public seed.
fn quiet(mut trainer: Trainer) -> Trainer {
    trainer.mechanism.noise = NoiseSource::unsafe_silent();
    trainer
}

fn without_resumes(settings: &TrainSettings) -> Vec<Value> {
    metrics(settings).into_iter().filter(|line| line["kind"] != "resume").collect()
}

/// Stopped in the midst of an interval, which the controller has to judge as a whole.
#[test]
fn a_resumed_run_goes_on_to_the_bit() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (whole, halved) = (settings(one.path()), settings(two.path()));
    let mut uninterrupted = quiet(start(whole.clone(), inputs(&whole)).unwrap());
    uninterrupted.run(&mut Silent).unwrap();
    let outcome = quiet(start(halved.clone(), inputs(&halved)).unwrap()).run(&mut StopAfter(5)).unwrap();
    assert_eq!((outcome.steps, outcome.finished), (5, false));
    let mut second = quiet(resume(halved.clone(), inputs(&halved)).unwrap());
    second.run(&mut Silent).unwrap();
    assert_eq!(without_resumes(&whole), without_resumes(&halved));
    assert!(uninterrupted.learner.adapter.parameters() == second.learner.adapter.parameters(), "the adapters differ");
    let state = |trainer: &Trainer| trainer.steering.controller.state(StateFormat::Json).unwrap();
    assert!(state(&uninterrupted) == state(&second), "the controllers differ");
}

/// Before the first decision too: what has earned no trust has none afterwards.
#[test]
fn a_policy_that_starts_from_nothing_stays_one_that_did() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.control.controller = ControllerKind::SetScratch;
    start(settings.clone(), inputs(&settings)).unwrap().run(&mut StopAfter(1)).unwrap();
    resume(settings.clone(), inputs(&settings)).unwrap().run(&mut Silent).unwrap();
    let decisions = metrics(&settings).into_iter().filter(|line| line["kind"] == "control");
    let trust: Vec<f64> = decisions.map(|line| line["controller"]["run_trust"].as_f64().unwrap()).collect();
    assert!(trust.len() == 5 && trust[0] == 0.0, "{trust:?}");
}

/// A run that is killed before its first checkpoint keeps no line of metrics but what it says of itself.
#[test]
fn runs_without_a_guarantee_say_so_after_a_resume() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    drop(start(settings.clone(), inputs(&settings)).unwrap());
    for _ in 0..2 {
        drop(resume(settings.clone(), inputs(&settings)).unwrap());
        assert_eq!(metrics(&settings).iter().filter(|line| line["kind"] == "label").count(), 1);
    }
}

#[test]
fn a_second_process_is_kept_out_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let held = start(settings.clone(), inputs(&settings)).unwrap();
    let ledger = || fs_err::read(settings.output.out.join(files::LEDGER)).unwrap();
    let before = ledger();
    for second in [resume(settings.clone(), inputs(&settings)), start(settings.clone(), inputs(&settings))] {
        let error = second.err().unwrap().to_string();
        assert!(error.contains("another process") || error.contains("already holds a run"), "{error}");
    }
    assert_eq!(ledger(), before);
    drop(held);
    resume(settings.clone(), inputs(&settings)).unwrap();
}

#[test]
fn changed_public_settings_are_recorded_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    start(settings.clone(), inputs(&settings)).unwrap().run(&mut StopAfter(2)).unwrap();
    (settings.optimizer.learning_rate, settings.control.rate_adaptation) = (Some(0.25), Some(false));
    resume(settings.clone(), inputs(&settings)).unwrap().run(&mut StopAfter(1)).unwrap();
    let run = &settings.output.out;
    let config: TrainSettings = toml::from_str(&fs_err::read_to_string(run.join(files::CONFIG)).unwrap()).unwrap();
    assert_eq!(config, settings);
    let text = fs_err::read_to_string(run.join(files::METRICS)).unwrap();
    let resumed: Value = serde_json::from_str(text.lines().find(|line| line.contains("\"resume\"")).unwrap()).unwrap();
    assert_eq!(resumed["changed"][0]["key"], "learning_rate");
    assert_eq!(resumed["changed"][0]["now"], "0.25");
    // The next resume changes nothing and says so.
    resume(settings.clone(), inputs(&settings)).unwrap();
    let text = fs_err::read_to_string(run.join(files::METRICS)).unwrap();
    assert!(text.lines().last().unwrap().contains("\"changed\":[]"), "{text}");
}

/// A folder that cannot be written: for most users by its mode, for root only where the system says so.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_named_before_anything_is_spent() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    for out in ["/proc/rldp-run", "/sys/rldp-run"] {
        settings.output.out = out.into();
        let error = start(settings.clone(), inputs(&settings)).err().unwrap();
        assert!(matches!(error, TrainError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(out) && error.to_string().contains("cannot be written"), "{error}");
    }
    settings.output.out = folder.path().join("train.csv");
    let error = start(settings.clone(), inputs(&settings)).err().unwrap().to_string();
    assert!(error.contains("is a file"), "{error}");
}

/// The saved state is bound to its ledger by the hash of the last line, in which every setting of the claim is.
#[test]
fn the_checkpoint_of_another_run_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, mut second) = (settings(one.path()), settings(two.path()));
    second.privacy.epsilon = 9.0;
    for settings in [&first, &second] {
        start(settings.clone(), inputs(settings)).unwrap().run(&mut StopAfter(2)).unwrap();
    }
    let file = crate::checkpoint::FILE;
    fs_err::copy(first.output.out.join(file), second.output.out.join(file)).unwrap();
    let error = resume(second.clone(), inputs(&second)).err().unwrap().to_string();
    assert!(error.contains("not the one that the checkpoint was written after"), "{error}");
}
