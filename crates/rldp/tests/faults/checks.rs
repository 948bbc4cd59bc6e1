//! What must hold after a crash, and what at the end.

use std::{collections::HashSet, path::Path};

use rldp_privacy::{charged_steps, verify};
use rldp_train::{checkpoint, files};
use serde_json::Value;

use crate::world::{Place, STEPS, model};

/// What the witness saw: draws by step, and the fingerprints of what was released.
struct Seen {
    drawn: Vec<u64>,
    released: Vec<(u64, String)>,
}

fn seen(place: &Place) -> Seen {
    let text = std::fs::read_to_string(place.witness()).unwrap_or_default();
    let mut seen = Seen { drawn: Vec::new(), released: Vec::new() };
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["drawn", step] => seen.drawn.push(step.parse().unwrap()),
            ["released", step, print] => seen.released.push((step.parse().unwrap(), print.to_owned())),
            _ => panic!("the witness says {line}"),
        }
    }
    seen
}

/// The ledger's whole lines.
pub(crate) fn ledger(run: &Path) -> String {
    let text = std::fs::read_to_string(run.join(files::LEDGER)).unwrap_or_default();
    text[..text.rfind('\n').map_or(0, |end| end + 1)].to_owned()
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join(files::METRICS)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn fail(condition: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Err(what()) } else { Ok(()) }
}

/// After a crash, before anything is mended: the ledger is ahead of all that was drawn, saved and released.
pub(crate) fn after_crash(place: &Place) -> Result<(), String> {
    let run = place.run();
    let text = ledger(&run);
    let charged = charged_steps(&text).map_err(|error| error.to_string())?;
    draws_are_paid_once(&seen(place), charged)?;
    if let Some(saved) = checkpoint::load(&run).map_err(|error| error.to_string())? {
        saved.ledger.check(&text).map_err(|error| error.to_string())?;
        fail(saved.steps_charged > charged, || "the ledger is behind the checkpoint".into())?;
    }
    let ahead = metrics(&run).iter().filter_map(|line| line["step"].as_u64()).max().unwrap_or(0) > charged;
    fail(ahead, || "the ledger is behind the metrics".into())?;
    let adapter = run.join(files::ADAPTER);
    if adapter.join("adapter_config.json").exists() {
        rldp_model::peft::load(&adapter, &model().config).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn draws_are_paid_once(seen: &Seen, charged: u64) -> Result<(), String> {
    let mut steps = HashSet::new();
    for step in &seen.drawn {
        fail(*step == 0 || *step > charged, || format!("step {step} was drawn, but {charged} steps are charged"))?;
        fail(!steps.insert(step), || format!("step {step} was drawn twice"))?;
    }
    let mut prints = HashSet::new();
    for (step, print) in &seen.released {
        fail(!prints.insert(print), || format!("step {step} released noise that was released before"))?;
    }
    Ok(())
}

/// At the end: everything is there, and the claim holds.
pub(crate) fn finished(place: &Place) -> Result<(), String> {
    after_crash(place)?;
    let run = place.run();
    let found = verify(&ledger(&run));
    let holds = found.checks.iter().all(|check| check.passed || (place.seeded && check.name == "guarantee"));
    fail(!holds, || format!("the ledger does not verify: {:?}", found.checks))?;
    fail(found.steps != STEPS, || format!("{} steps are charged of {STEPS}", found.steps))?;
    fail(!run.join(files::ADAPTER).join("adapter_model.safetensors").exists(), || "there is no adapter".into())?;
    let lines = metrics(&run);
    let steps: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "step").collect();
    let number = |line: &Value, key: &str| line[key].as_f64().filter(|value| value.is_finite());
    for pair in steps.windows(2) {
        let rises = |key| number(pair[0], key) <= number(pair[1], key);
        let later = number(pair[0], "step") < number(pair[1], "step");
        fail(!(later && rises("epsilon_spent")), || format!("metrics out of order: {} {}", pair[0], pair[1]))?;
    }
    for line in steps {
        let whole = ["loss", "snr", "update_norm", "learning_rate"].iter().all(|key| number(line, key).is_some());
        let within = number(line, "epsilon_spent").is_some_and(|epsilon| epsilon > 0.0 && epsilon <= 4.0);
        fail(!(whole && within), || format!("a metric is missing or wild: {line}"))?;
    }
    let mut evaluated = HashSet::new();
    let twice = lines.iter().filter(|line| line["kind"] == "eval").any(|line| !evaluated.insert(line["step"].as_u64()));
    fail(twice, || "a step was evaluated twice".into())?;
    let names = std::fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let left: Vec<String> = names.filter(|name| name.ends_with(".partial")).collect();
    fail(!left.is_empty(), || format!("half-written files were left: {left:?}"))
}

/// The check of the command itself, on the finished folder.
pub(crate) fn verified_by_command(place: &Place) {
    // The run has no tokenizer and no records on disk; its folder is all that the command needs.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rldp"));
    let output = command.args(["privacy", "verify"]).arg(place.run()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
