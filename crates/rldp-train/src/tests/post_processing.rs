//! What a controller moves after the release, in the loop on the embedded demo model.

#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rldp_control::{Action, ControlError, Controller, FixedController, Observation, RateSearch, StateFormat};
use rldp_privacy::{Observable, verify};

use crate::{
    Silent, files,
    settings::TrainSettings,
    testing::{demo_inputs, demo_settings, demo_trainer},
};

/// Does the same at every decision, and counts those after which no interval follows.
struct Always(Action, Arc<AtomicUsize>);

impl Controller for Always {
    fn name(&self) -> &'static str {
        "always"
    }

    fn act(&mut self, _observation: &Observation, _reward: Option<Observable>, done: bool) -> Action {
        self.1.fetch_add(usize::from(done), Ordering::Relaxed);
        self.0.clone()
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        FixedController::new(1).state(format)
    }

    fn restore(&mut self, _format: StateFormat, _bytes: &[u8]) -> Result<(), ControlError> {
        Ok(())
    }
}

fn settings(folder: &std::path::Path) -> TrainSettings {
    let mut settings = demo_settings(folder, 12);
    settings.privacy.steps = 8;
    settings.privacy.batch_size = 6.0;
    settings.model.rank = 1;
    settings.control.interval = 1;
    settings
}

/// A controller that ends the run leaves a closed ledger, which claims the whole plan: when the run ended depended on what
/// was released, and no prefix's price holds at such a moment.
#[test]
fn a_controller_that_stops_closes_the_ledger_at_the_price_of_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut trainer = demo_trainer(&settings);
    let ends = Arc::new(AtomicUsize::new(0));
    let pairs = trainer.learner.adapter.layout().pairs().len();
    trainer.steering.controller = Box::new(Always(Action { stop_delta: 0.4, ..Action::idle(pairs) }, ends.clone()));
    let outcome = trainer.run(&mut Silent).unwrap();
    assert_eq!((outcome.steps, outcome.finished), (3, true));
    assert_eq!(ends.load(Ordering::Relaxed), 1, "the controller was not told that its move ended the run");
    drop(trainer);
    let ledger = || fs_err::read_to_string(settings.output.out.join(files::LEDGER)).unwrap();
    let text = ledger();
    let closed = verify(&text);
    assert!(closed.holds && closed.steps == 3, "{:?}", closed.checks);
    let open: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
    let prefix = verify(&open);
    assert!(prefix.holds && prefix.epsilon_recomputed < closed.epsilon_recomputed, "{:?}", prefix.epsilon_recomputed);
    let (found, target) = (closed.epsilon_recomputed.unwrap(), settings.privacy.epsilon);
    assert!(found <= target && found > 0.98 * target, "{found} of {target}");
}

#[test]
fn a_frozen_pair_stays_where_it_was_and_the_mean_of_iterates_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut trainer = demo_trainer(&settings);
    let pairs = trainer.learner.adapter.layout().pairs().to_vec();
    let mut action = Action { averaging_log_delta: 1.5, ..Action::idle(pairs.len()) };
    action.step_log_delta[0] = -9.0;
    trainer.steering.controller = Box::new(Always(action, Arc::default()));
    let release = trainer.private_step().unwrap().unwrap();
    trainer.update(&release, &mut Silent).unwrap();
    trainer.steer().unwrap();
    let (before, frozen) = (trainer.learner.adapter.parameters().to_vec(), pairs[0].range());
    for _ in 2..=4 {
        let release = trainer.private_step().unwrap().unwrap();
        trainer.update(&release, &mut Silent).unwrap();
    }
    let now = trainer.learner.adapter.parameters();
    assert_eq!(now[frozen.clone()], before[frozen]);
    assert_ne!(now[pairs[1].range()], before[pairs[1].range()]);
    let kept = trainer.learner.average.of(&trainer.learner.adapter).parameters().to_vec();
    assert_ne!(kept, now);
    trainer.finish().unwrap();
    let config = trainer.engine.config().clone();
    let saved = rldp_model::peft::load(&settings.output.out.join(files::ADAPTER), &config).unwrap();
    assert_eq!(saved.parameters(), kept);
    drop(trainer);
    let resumed = crate::resume(settings.clone(), demo_inputs(&settings)).unwrap();
    assert_eq!(resumed.learner.average.get().unwrap(), kept);
}

/// With much signal, a far too high rate overshoots at once. That step is undone, and made again from where it began.
#[test]
fn a_step_that_overshot_is_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = demo_settings(folder.path(), 150);
    settings.privacy.batch_size = 150.0;
    settings.privacy.steps = 12;
    settings.privacy.epsilon = 20.0;
    settings.privacy.clip_norm = 0.01;
    settings.privacy.unsafe_noise_seed = Some(0);
    settings.model.rank = 1;
    settings.optimizer.learning_rate = Some(3.0);
    let mut trainer = demo_trainer(&settings);
    // Nothing but the given rate is believed in.
    trainer.learner.rate_search = Some(RateSearch::new(0.0));
    let mut iterates = vec![trainer.learner.adapter.parameters().to_vec()];
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
    let mut again = 0;
    for step in 1..=6 {
        let release = trainer.private_step().unwrap().unwrap();
        let summary = trainer.update(&release, &mut Silent).unwrap();
        let now = trainer.learner.adapter.parameters().to_vec();
        let from = |back: usize| iterates.len().checked_sub(back).map(|at| distance(&now, &iterates[at]));
        let close = |found: Option<f64>| found.is_some_and(|found| (found / summary.update_norm - 1.0).abs() < 1e-3);
        if !close(from(1)) {
            assert!(close(from(2)), "step {step} leads from neither of the last two iterates");
            iterates.pop();
            again += 1;
        }
        iterates.push(now);
    }
    assert_eq!(again, 1, "the search ends at the first step that overshoots");
    assert!(!trainer.learner.rate_search.as_ref().unwrap().searches() && trainer.learner.last_step.is_none());
}
