//! A warm-up on public text: what it costs, what it leaves, and what is refused.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use rldp_data::{TextTokenizer, demo};
use rldp_model::ModelFiles;
use rldp_privacy::{NoiseSource, PublicFile};

use crate::{
    Progress, Silent, StepView, Trainer,
    evaluate::Evaluation,
    files, load_records, resume,
    settings::TrainSettings,
    start,
    testing::{StopAfter, demo_inputs as inputs, demo_settings, metrics},
};

/// Wants to stop before the first step.
struct Impatient;

impl Progress for Impatient {
    fn step(&mut self, _view: &StepView) {}
    fn evaluated(&mut self, _step: u64, _evaluation: &Evaluation) {}
    fn should_stop(&self) -> bool {
        true
    }
}

/// Twelve private patients, and a file of notes of forty others.
fn settings(folder: &Path) -> TrainSettings {
    let mut settings = demo_settings(folder, 12);
    settings.privacy.steps = 6;
    settings.privacy.batch_size = 12.0;
    settings.privacy.epsilon = 8.0;
    settings.privacy.unsafe_noise_seed = Some(0);
    settings.model.rank = 1;
    settings.data.public = vec![folder.join("public.csv")];
    demo::write_notes(&settings.data.public[0], 77, 40).unwrap();
    settings
}

/// Without noise and with everybody in the batch nothing is random but the public seed.
fn quiet(mut trainer: Trainer) -> Trainer {
    trainer.mechanism.noise = NoiseSource::unsafe_silent();
    trainer
}

fn ledger_lines(settings: &TrainSettings) -> usize {
    fs_err::read_to_string(settings.output.out.join(files::LEDGER)).unwrap().lines().count()
}

#[test]
fn a_warm_up_moves_the_adapter_before_the_first_charge_and_costs_nothing() {
    let (folder, cold) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = settings(folder.path());
    let mut trainer = start(settings.clone(), inputs(&settings)).unwrap();
    let before = trainer.learner.adapter.parameters().to_vec();
    assert!(trainer.warm_up(&mut Silent).unwrap());
    assert!(trainer.learner.adapter.parameters() != before, "the adapter did not move");
    assert_eq!((trainer.mechanism.spender.steps_charged(), ledger_lines(&settings)), (0, 1));
    let record = metrics(&settings).pop().unwrap();
    assert_eq!(record["kind"], "warm_up");
    let nll = |key: &str| record[key].as_f64().unwrap();
    assert!(nll("nll") < nll("nll_before"), "{record}");
    let warm = trainer.learner.adapter.parameters().to_vec();
    assert!(trainer.warm_up(&mut Silent).unwrap());
    assert!(
        trainer.learner.adapter.parameters() == warm && trainer.learner.first_parameters == warm,
        "it was made twice"
    );

    let text = fs_err::read(&settings.data.public[0]).unwrap();
    let file = PublicFile::of(&text, text.split(|byte| *byte == b'\n').count() - 2);
    let claim = trainer.mechanism.spender.claim().clone();
    assert_eq!(claim.public_text, std::slice::from_ref(&file));
    // What noise the run has does not depend on it.
    let mut without = demo_settings(cold.path(), 12);
    (without.privacy, without.model) = (settings.privacy.clone(), settings.model.clone());
    let plain = start(without.clone(), inputs(&without)).unwrap();
    assert_eq!(plain.mechanism.spender.claim().regime, claim.regime);
    assert!(plain.mechanism.spender.claim().public_text.is_empty());

    assert!(trainer.run(&mut Silent).unwrap().finished);
    assert_eq!(ledger_lines(&settings), 1 + 6 + 1);
    let manifest = fs_err::read_to_string(settings.output.out.join(files::MANIFEST)).unwrap();
    assert!(manifest.contains(&file.sha256) && manifest.contains("declared_by"), "{manifest}");
    assert!(settings.output.out.join(files::PUBLIC).join("adapter_model.safetensors").exists());
}

#[test]
fn the_statement_names_what_was_taken_for_public() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.privacy.unsafe_noise_seed = None;
    let statement = start(settings.clone(), inputs(&settings)).unwrap().statement();
    let file = PublicFile::of(&fs_err::read(&settings.data.public[0]).unwrap(), 0);
    assert!(statement.contains(&file.sha256) && statement.contains("declared public"), "{statement}");
}

#[test]
fn a_resumed_run_keeps_its_warm_up_to_the_bit() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (whole, halved) = (settings(one.path()), settings(two.path()));
    let mut uninterrupted = quiet(start(whole.clone(), inputs(&whole)).unwrap());
    uninterrupted.run(&mut Silent).unwrap();
    // Stopped in the warm-up, which is made again, and stopped between two steps.
    let outcome = quiet(start(halved.clone(), inputs(&halved)).unwrap()).run(&mut Impatient).unwrap();
    assert_eq!((outcome.steps, outcome.finished), (0, false));
    let outcome = quiet(resume(halved.clone(), inputs(&halved)).unwrap()).run(&mut StopAfter(3)).unwrap();
    assert_eq!((outcome.steps, outcome.finished), (3, false));
    let mut second = quiet(resume(halved.clone(), inputs(&halved)).unwrap());
    assert!(second.learner.first_parameters == uninterrupted.learner.first_parameters, "steps began elsewhere");
    second.run(&mut Silent).unwrap();
    assert!(uninterrupted.learner.adapter.parameters() == second.learner.adapter.parameters(), "the adapters differ");
}

fn refused(settings: &TrainSettings) -> String {
    let config = ModelFiles::from_bytes(demo::MODEL_CONFIG, demo::WEIGHTS).unwrap().config;
    let tokenizer = TextTokenizer::from_bytes(demo::TOKENIZER.as_bytes()).unwrap();
    load_records(settings, &tokenizer, &config).err().unwrap().to_string()
}

#[test]
fn private_records_and_too_few_are_no_public_text() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    let text = fs_err::read_to_string(&settings.data.train.paths()[0]).unwrap();
    let shared: PathBuf = folder.path().join("shared.csv");
    fs_err::write(&shared, text.lines().take(2).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    settings.data.public.push(shared);
    let error = refused(&settings);
    assert!(error.contains("records of it also stand among those of --train"), "{error}");
    let note = text.lines().nth(1).unwrap().split(',').next_back().unwrap().trim_matches('"').to_owned();
    assert!(!error.contains(&note), "a record is shown");

    demo::write_notes(&settings.data.public[0], 77, 3).unwrap();
    settings.data.public.truncate(1);
    assert!(refused(&settings).contains("needs 20"), "{}", refused(&settings));
    settings.data.public[0] = "-".into();
    assert!(refused(&settings).contains("no standard input"), "{}", refused(&settings));
}

#[test]
fn the_files_are_part_of_the_promise() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    start(settings.clone(), inputs(&settings)).unwrap().run(&mut StopAfter(2)).unwrap();
    demo::write_notes(&settings.data.public[0], 78, 40).unwrap();
    let error = resume(settings.clone(), inputs(&settings)).err().unwrap().to_string();
    assert!(error.contains("public_text"), "{error}");
    settings.data.public.clear();
    let error = resume(settings.clone(), inputs(&settings)).err().unwrap().to_string();
    assert!(error.contains("data.public"), "{error}");
}
