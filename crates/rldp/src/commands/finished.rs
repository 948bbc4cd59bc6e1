//! A run that closed and is resumed all the same.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use rldp_privacy::is_closed;
use rldp_train::files;

use super::{print_line, report};
use crate::{cli::TrainArguments, progress::note};

/// What is said of it.
pub(super) const WORDS: &str = "this run has taken all its steps; nothing is left to do, and nothing is spent";

/// Whether the run in `folder` closed, and nobody asks for other settings: its ledger then gets no further line, which would part it from a
/// signature and from runs that go on from it.
pub(super) fn left_alone(arguments: &TrainArguments, folder: &Path) -> bool {
    let mut given = arguments.settings.0.clone();
    given.forget("out");
    let closed = || is_closed(&fs::read_to_string(folder.join(files::LEDGER)).unwrap_or_default());
    arguments.config.is_none() && given.sets_nothing() && closed()
}

/// Says so, and writes the report, which a killed process may have left out.
pub(super) fn tell(folder: &Path) -> Result<()> {
    note("finished", WORDS);
    report::write_for(&[folder.to_owned()], &folder.join(files::REPORT))?;
    Ok(print_line(&folder.display().to_string())?)
}
