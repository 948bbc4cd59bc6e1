//! The report: one HTML file that needs nothing else, for one run or for several side by side.

mod axis;
mod boxes;
mod compare;
mod figure;
mod officer;
mod page;
mod roc;
mod sensitivity;

use std::path::Path;

use self::{
    axis::Axis,
    figure::{Series, heat_map, lines, lines_on},
};
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
            "Whoever sees all {runs} of these runs, where they are about the same people, sees ε = {epsilon:.4} at δ = {delta:.3e}, if no \
             run's settings were chosen by what another released, and ε = {basic_epsilon:.4} in any case."
        )
    }
}

/// What an audit found, for a copy of the report that is not released.
#[derive(Clone, Debug)]
pub struct Audited {
    /// One line for each figure.
    pub lines: Vec<String>,
}

/// Up to this many adapters are drawn as lines; more become a heat map.
const MOST_LINES: usize = 7;

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
    let mut figures = shared_figures(runs)?;
    for (run, _) in runs {
        figures.push((format!("Adapters of {}", run.title()), adapter_figures(run)?));
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
    fs_err::write(&temporary, html)?;
    Ok(fs_err::rename(&temporary, out)?)
}

/// Figures in which all runs are drawn together, under their headings.
fn shared_figures(runs: &[(RunFolder, Verdict)]) -> Result<Vec<(String, Vec<String>)>, LabError> {
    let several = runs.len() > 1;
    let each = |points: &dyn Fn(&RunFolder) -> Vec<(f64, f64)>| -> Vec<Series> {
        let name = |run: &RunFolder| if several { run.title() } else { String::new() };
        runs.iter().map(|(run, _)| Series::line(name(run), points(run))).collect()
    };
    let steps = |value: fn(&crate::run::StepLine) -> f64| {
        move |run: &RunFolder| {
            let points = run.steps.iter().map(|line| (line.step, value(line)));
            points.filter(|(_, value)| value.is_finite()).collect::<Vec<_>>()
        }
    };
    let utility = vec![
        lines_on(
            Axis::Logarithmic,
            "Perplexity on the public file",
            "perplexity",
            &each(&|run| {
                let finite = run.evals.iter().filter(|line| line.perplexity.is_finite());
                finite.map(|line| (line.step, line.perplexity)).collect()
            }),
        )?,
        lines("Released training loss, ± noise", "nats a token", &loss_series(runs))?,
    ];
    let budget = vec![
        lines("Budget spent (upper bound)", "epsilon", &each(&steps(|line| line.epsilon_spent)))?,
        lines("Noise multiplier", "z", &each(&steps(|line| line.noise_multiplier)))?,
        lines("Signal-to-noise of the released gradient", "energy ratio", &each(&steps(|line| line.snr)))?,
    ];
    let telemetry = |key: &'static str| {
        move |run: &RunFolder| {
            let lines = run.controls.iter();
            lines.filter_map(|line| Some((line.step, line.controller.get(key)?.as_f64()?))).collect::<Vec<_>>()
        }
    };
    let control = vec![
        lines("Learning rate", "rate", &each(&steps(|line| line.learning_rate)))?,
        lines(
            "Reward of an interval",
            "nats per percent of budget",
            &each(&|run| run.controls.iter().filter_map(|line| Some((line.step, line.reward?))).collect()),
        )?,
        lines("Entropy of the policy", "nats a dimension", &each(&telemetry("entropy")))?,
        lines("Critic loss", "squared error", &each(&telemetry("critic_loss")))?,
    ];
    Ok(vec![("Utility".into(), utility), ("Budget".into(), budget), ("Controller".into(), control)])
}

fn loss_series(runs: &[(RunFolder, Verdict)]) -> Vec<Series> {
    let several = runs.len() > 1;
    let series = |run: &RunFolder| {
        let released = || run.steps.iter().filter(|line| line.loss.is_some());
        Series {
            name: if several { run.title() } else { String::new() },
            points: released().map(|line| (line.step, line.loss.unwrap_or_default())).collect(),
            band: Some(released().map(|line| line.loss_std.unwrap_or_default()).collect()),
        }
    };
    runs.iter().map(|(run, _)| series(run)).collect()
}

fn adapter_figures(run: &RunFolder) -> Result<Vec<String>, LabError> {
    let names = run.pairs();
    let columns: Vec<f64> = run.controls.iter().map(|line| line.step).collect();
    let figure = |title: &str, label: &str, value: &dyn Fn(&crate::run::ControlLine) -> Option<Vec<f64>>| {
        let table: Vec<Vec<f64>> = run.controls.iter().filter_map(value).collect();
        if table.len() != columns.len() {
            return Ok(String::new());
        }
        let of = |k: usize| table.iter().map(|row| row.get(k).copied().unwrap_or(f64::NAN)).collect::<Vec<f64>>();
        if names.len() <= MOST_LINES {
            let series: Vec<Series> = (0..names.len())
                .map(|k| Series::line(names[k].clone(), columns.iter().copied().zip(of(k)).collect()))
                .collect();
            return lines(title, label, &series);
        }
        Ok(heat_map(title, &names, &columns, &(0..names.len()).map(of).collect::<Vec<_>>()))
    };
    Ok(vec![
        figure("Clip norm of each adapter", "C", &|line| Some(line.clip_norms.clone()))?,
        figure("Noise of each adapter", "standard deviation", &|line| Some(line.noise_std.clone()))?,
        figure("Share of the budget", "w", &|line| Some(line.shares.clone()))?,
        figure("Signal-to-noise of each adapter", "energy ratio", &|line| line.snr.clone())?,
    ])
}
