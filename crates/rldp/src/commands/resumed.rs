//! A run that is resumed: which one, and what is said of one that closed. Its ledger gets no further line, which would part it from a signature
//! and from runs that go on from it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rldp_train::{files, storage::same_place};

use super::{print_line, report};
use crate::{cli::TrainArguments, exit::Wrong, progress::note};

/// What is said of a run that closed.
pub(super) const NOTHING_LEFT: &str = "this run has taken all its steps; nothing is left to do, and nothing is spent";

/// Says so, and writes the report, which a killed process may have left out.
pub(super) fn tell_finished(folder: &Path) -> Result<()> {
    note("finished", NOTHING_LEFT);
    report::write_for(&[folder.to_owned()], &folder.join(files::REPORT))?;
    Ok(print_line(&folder.display().to_string())?)
}

pub(super) fn run_to_resume(arguments: &TrainArguments) -> Result<Option<PathBuf>> {
    let Some(named) = &arguments.resume else { return Ok(None) };
    let out = arguments.settings.0.text("out").map(PathBuf::from);
    let folder = if named.as_os_str().is_empty() { out.clone() } else { Some(named.clone()) };
    if let Some(other) = out.filter(|out| !named.as_os_str().is_empty() && !same_place(out, named)) {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!(
            "--resume {} and --out {} are two folders; a run goes on in its own: leave --out out",
            named.display(),
            other.display()
        )));
    }
    let Some(folder) = folder else {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!("--resume needs the run folder: `rldp train --resume RUN`")));
    };
    if !folder.join(files::CONFIG).exists() {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{} holds no run to resume (no {})",
            folder.display(),
            files::CONFIG
        )));
    }
    Ok(Some(folder))
}
