//! `rldp report`: the HTML report of one or several runs.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use rldp_lab::{
    RunFolder,
    export::{write_history, write_tensorboard},
    report::{Verdict, write},
};

use super::{print_line, privacy::verify_run};
use crate::{cli::ReportArguments, exit::Wrong};

pub(crate) fn run(arguments: &ReportArguments) -> Result<ExitCode> {
    write_for(&arguments.runs, &arguments.out)?;
    for path in &arguments.runs {
        let run = RunFolder::open(path).map_err(Wrong::input)?;
        if let Some(folder) = &arguments.tensorboard {
            write_tensorboard(&run, folder)?;
        }
        if let Some(folder) = &arguments.history {
            write_history(&run, folder)?;
        }
    }
    print_line(&format!("{}", arguments.out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads, verifies and draws `runs`.
pub(crate) fn write_for(runs: &[PathBuf], out: &Path) -> Result<()> {
    let mut read = Vec::with_capacity(runs.len());
    for path in runs {
        let run = RunFolder::open(path).map_err(Wrong::input)?;
        let found = verify_run(path)?;
        let line = |check: &rldp_privacy::Check| {
            format!("{} {}: {}", if check.passed { "passed" } else { "FAILED" }, check.name, check.detail)
        };
        let checks = found.checks.iter().map(line).collect();
        read.push((run, Verdict { holds: found.holds, checks }));
    }
    Ok(write(&read, out).map_err(Wrong::input)?)
}
