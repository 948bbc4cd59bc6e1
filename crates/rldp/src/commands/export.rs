//! `rldp export`: what may leave of a run, and nothing else.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Result, anyhow};
use fs_err as fs;
use rldp_lab::{
    RunFolder,
    export::{CARD, model_card},
};
use rldp_privacy::{Bound, Verification};
use rldp_train::files;

use super::{
    print_line,
    privacy::{SEAL, SIGNATURE, verify_run},
};
use crate::{base, cli::ExportArguments, exit::Wrong};

/// Beside what the ledger binds.
const MORE: [&str; 4] = [files::LEDGER, files::REPORT, SEAL, SIGNATURE];

pub(crate) fn run(arguments: &ExportArguments) -> Result<ExitCode> {
    let ExportArguments { run, out } = arguments;
    let found = verify_run(run, None)?;
    refuse(&found, run)?;
    if out.exists() && (!out.is_dir() || fs::read_dir(out)?.next().is_some()) {
        anyhow::bail!(Wrong::input(anyhow!("{} exists and is not empty; choose another --out", out.display())));
    }
    let Bound::Closed(digests) = &found.bound else {
        anyhow::bail!(Wrong::input(anyhow!("{} binds no files", run.display())))
    };
    let names = digests.keys().filter(|name| !name.starts_with(base::PREFIX)).cloned();
    let more = MORE.iter().filter(|name| run.join(name).exists()).map(ToString::to_string);
    let mut written = Vec::new();
    for name in names.chain(more) {
        let to = out.join(&name);
        fs::create_dir_all(to.parent().unwrap_or(out))?;
        // Contents alone: neither times nor modes of the run folder go along.
        fs::write(&to, fs::read(run.join(&name)).map_err(Wrong::input)?)?;
        written.push(to);
    }
    let card = out.join(files::ADAPTER).join(CARD);
    fs::write(&card, card_of(run, &found)?)?;
    written.push(card);
    same_times(out, &written, RunFolder::open(run).map_err(Wrong::input)?.fact("started").as_str())?;
    print_line(&format!("{}", out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The model card of a run.
pub(crate) fn card_of(run: &Path, found: &Verification) -> Result<String> {
    let folder = RunFolder::open(run).map_err(Wrong::input)?;
    Ok(model_card(&folder, &found.statement, found.head.as_deref().unwrap_or_default()))
}

/// What does not verify may not leave.
fn refuse(found: &Verification, run: &Path) -> Result<()> {
    let run = run.display();
    if let Some(check) = found.checks.iter().find(|check| !check.passed) {
        anyhow::bail!(Wrong::input(anyhow!(
            "{run} does not verify, so nothing of it is exported ({}: {})",
            check.name,
            check.detail
        )));
    }
    if !found.closed {
        anyhow::bail!(Wrong::input(anyhow!(
            "{run} has not closed, so nothing of it is exported; finish it with `rldp train --resume {run}`"
        )));
    }
    Ok(())
}

/// Gives files and folders the time at which the run began, which stands in its manifest: when they were written says how long the run
/// took.
fn same_times(out: &Path, written: &[PathBuf], started: &str) -> Result<()> {
    let time = humantime::parse_rfc3339(started).unwrap_or(SystemTime::UNIX_EPOCH);
    let folders = [files::ADAPTER, files::POLICY, files::PUBLIC].map(|folder| out.join(folder));
    for path in written.iter().map(PathBuf::as_path).chain(folders.iter().map(PathBuf::as_path)).chain([out]) {
        if !path.exists() {
            continue;
        }

        let mut options = std::fs::OpenOptions::new();
        // A folder cannot be opened for writing, and needs not.
        let file = options.read(true).write(!path.is_dir()).open(path)?;
        file.set_times(std::fs::FileTimes::new().set_modified(time).set_accessed(time))?;
    }
    Ok(())
}
