//! What finished runs left: `results.jsonl`, `failed.jsonl`, `manifest.json`.

use std::{collections::HashMap, io::Write as _, path::Path};

use anyhow::Result;
use fs_err as fs;
use rldp_lab::{
    RunFolder,
    compare::{Entry, RunResult},
};
use rldp_train::{
    files, machine, started,
    storage::{Disk, replace as write_atomically},
};
use serde_json::{Value, json};

use super::{
    grid::Planned,
    state::{Layout, State},
};
use crate::{commands::privacy::verify_run, exit::Wrong};

const RESULTS: &str = "results.jsonl";
const FAILED: &str = "failed.jsonl";
const MANIFEST: &str = "manifest.json";

/// Results as they come. A finished run is verified once, when its line is written.
pub(super) struct Results {
    layout: Layout,
    entries: Vec<Entry>,
    /// (run, last message).
    pub(super) failed: Vec<(String, String)>,
}

impl Results {
    /// Takes over what stands there, and nothing of runs that are not in the plan or not finished.
    pub(super) fn open(layout: &Layout, plan: &[Planned]) -> Result<Self> {
        let known = read(&layout.file(RESULTS));
        let mut results = Self { layout: layout.clone(), entries: Vec::new(), failed: Vec::new() };
        let mut text = String::new();
        for run in plan {
            let Some(mut result) = known.get(&run.name).cloned() else { continue };
            // The rules of tuning may have changed since.
            result.roles.clone_from(&run.roles);
            if State::of(&run.settings.output.out)? != State::Finished {
                continue;
            }
            text.push_str(&serde_json::to_string(&result)?);
            text.push('\n');
            results.entries.push(Entry { curve: curve(&RunFolder::open(&run.settings.output.out)?), result });
        }
        replace(&layout.file(RESULTS), &text)?;
        replace(&layout.file(FAILED), "")?;
        Ok(results)
    }

    /// Whether a run has its line.
    pub(super) fn has(&self, run: &str) -> bool {
        self.entries.iter().any(|entry| entry.result.run == run)
    }

    /// Adds a finished run. One that cannot be read counts as failed.
    pub(super) fn add(&mut self, run: &Planned) -> Result<Option<&RunResult>> {
        match entry(run) {
            Err(error) => {
                self.fail(run, &format!("it finished, but: {error:#}"))?;
                Ok(None)
            }
            Ok(entry) => {
                append(&self.layout.file(RESULTS), &serde_json::to_value(&entry.result)?)?;
                self.entries.push(entry);
                Ok(self.entries.last().map(|entry| &entry.result))
            }
        }
    }

    /// Records a failed run.
    pub(super) fn fail(&mut self, run: &Planned, message: &str) -> Result<()> {
        append(&self.layout.file(FAILED), &json!({ "run": run.name, "method": run.method, "message": message }))?;
        self.failed.push((run.name.clone(), message.to_owned()));
        Ok(())
    }

    /// Everything finished, in the plan's order.
    pub(super) fn in_order_of(mut self, plan: &[Planned]) -> (Vec<Entry>, Vec<(String, String)>) {
        let place: HashMap<&str, usize> = plan.iter().enumerate().map(|(at, run)| (run.name.as_str(), at)).collect();
        self.entries.sort_by_key(|entry| place.get(entry.result.run.as_str()).copied());
        (self.entries, self.failed)
    }
}

/// Lines that were written whole.
fn read(path: &Path) -> HashMap<String, RunResult> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<RunResult>(line).ok());
    lines.map(|result| (result.run.clone(), result)).collect()
}

fn entry(run: &Planned) -> Result<Entry> {
    let folder = &run.settings.output.out;
    let read = RunFolder::open(folder).map_err(Wrong::input)?;
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let result = RunResult {
        run: run.name.clone(),
        method: run.method.clone(),
        model: run.model.clone(),
        dataset: run.dataset.clone(),
        axes: run.axes.clone(),
        seed: run.settings.seed,
        perplexity_before: read.evals.iter().find(|line| line.step == 0.0).and_then(|line| finite(line.perplexity)),
        perplexity_after: read.evals.last().and_then(|line| finite(line.perplexity)),
        steps: read.steps.last().map_or(0, |line| line.step as u64),
        epsilon: run.settings.privacy.epsilon,
        epsilon_spent: read.steps.last().map_or(0.0, |line| line.epsilon_spent),
        verified: verify_run(folder, None)?.holds,
        guarantee: read.without_guarantee().is_none(),
        roles: run.roles.clone(),
        seconds: seconds(folder),
    };
    Ok(Entry { curve: curve(&read), result })
}

fn curve(run: &RunFolder) -> Vec<(f64, f64)> {
    run.evals.iter().map(|line| (line.step, line.perplexity)).collect()
}

/// Wall-clock time over all sessions of a run.
fn seconds(folder: &Path) -> f64 {
    let text = fs::read_to_string(folder.join(files::TIMING)).unwrap_or_default();
    let elapsed = |line| serde_json::from_str::<Value>(line).ok()?["elapsed_secs"].as_f64();
    text.lines().rev().find_map(elapsed).unwrap_or(0.0)
}

fn append(path: &Path, line: &Value) -> Result<()> {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(file.sync_data()?)
}

/// Replaces a file in one move, so that a kill leaves the old one or the new one.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    Ok(write_atomically(&Disk, path, &[text.as_bytes()])?)
}

/// Adds this session, with its machine and versions, to the comparison's manifest.
pub(super) fn write_manifest(layout: &Layout, session: Value) -> Result<()> {
    let path = layout.file(MANIFEST);
    let old = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let mut sessions = old.and_then(|old| old["sessions"].as_array().cloned()).unwrap_or_default();
    let mut session = session;
    session["rldp_version"] = json!(env!("CARGO_PKG_VERSION"));
    session["commit"] = json!(option_env!("RLDP_COMMIT"));
    session["started"] = json!(started());
    session["machine"] = machine();
    sessions.push(session);
    replace(&path, &format!("{}\n", serde_json::to_string_pretty(&json!({ "sessions": sessions }))?))
}
