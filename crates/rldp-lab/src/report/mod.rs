//! The report: one HTML file that needs nothing else, for one run or for several side by side.

mod axis;
mod boxes;
mod compare;
mod comparison_table;
mod curves;
mod figure;
mod heat;
mod legend;
mod officer;
mod page;
mod roc;
mod sensitivity;
mod summary;

use std::path::Path;

use rldp_privacy::decimals::{at_most, at_most_scientific};

use crate::{error::LabError, run::RunFolder};

pub use compare::write_comparison;
pub use roc::{RocFigure, write_audit};

/// Whether a run's ledger was replayed, and what that found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether every check passed.
    pub holds: bool,
    /// Whether the run closed.
    pub closed: bool,
    /// The claim in words, as the ledger has it.
    pub statement: String,
    /// Hash of the ledger's last line.
    pub head: Option<String>,
    /// One line for each check.
    pub checks: Vec<String>,
}

/// What several runs on the same units spend together.
#[derive(Clone, Copy, Debug)]
pub struct Together {
    /// How many runs.
    pub runs: usize,
    /// Epsilon of all at `delta`, when no run's settings were chosen by what another released.
    pub epsilon: f64,
    /// The sum of their deltas.
    pub delta: f64,
    /// The sum of their epsilons, which holds in any case.
    pub basic_epsilon: f64,
}

impl Together {
    /// In one sentence.
    pub(crate) fn words(&self) -> String {
        let Self { runs, epsilon, delta, basic_epsilon } = self;
        format!(
            "Whoever sees all {runs} of these runs, where they are about the same people, sees ε = {} at δ = {}, if no \
             run's settings were chosen by what another released, and ε = {} in any case.",
            at_most(*epsilon, 4),
            at_most_scientific(*delta, 3),
            at_most(*basic_epsilon, 4)
        )
    }
}

/// What an audit found, for a copy of the report that is not released.
#[derive(Clone, Debug)]
pub struct Audited {
    /// One line for each figure.
    pub lines: Vec<String>,
}

/// The report of `runs`, with each run's verdict; of several runs with what they spend together. It is a function of the run folders
/// alone, but for an audit.
///
/// # Errors
/// When a figure cannot be drawn.
pub fn html(
    runs: &[(RunFolder, Verdict)],
    together: Option<&Together>,
    audited: Option<&Audited>,
) -> Result<String, LabError> {
    let mut figures = curves::shared(runs)?;
    for (run, _) in runs {
        figures.push((format!("Adapters of {}", run.title()), curves::adapters(run)?));
    }
    Ok(page::page(runs, together, audited, &figures))
}

/// Writes a page.
///
/// # Errors
/// When the file cannot be written.
pub fn write(out: &Path, html: &str) -> Result<(), LabError> {
    replace(out, html)
}

/// Replaces a page in one move, so that nobody reads half of one.
fn replace(out: &Path, html: &str) -> Result<(), LabError> {
    let temporary = out.with_extension("partial");
    let written = fs_err::write(&temporary, html).and_then(|()| fs_err::rename(&temporary, out));
    if written.is_err() {
        // Only the first error says why.
        let _ = fs_err::remove_file(&temporary);
    }
    Ok(written?)
}
