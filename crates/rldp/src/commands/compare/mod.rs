//! `rldp compare`: a grid of runs, side by side, and which method is better.

mod board;
mod export;
mod grid;
#[cfg(test)]
mod grid_tests;
mod plan;
mod results;
mod schedule;
mod state;
mod tuning;

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
};

use anyhow::Result;
use clap::{Args, ValueEnum};
use fs_err as fs;
use rldp_lab::{
    compare,
    report::{Together, write_comparison},
};
use rldp_privacy::{Claim, claim_of, decimals::at_most};
use rldp_train::files;
use serde_json::json;

use self::{
    board::Board,
    export::Shape,
    grid::{Grid, Planned},
    results::{Results, replace, write_manifest},
    schedule::{Ended, Slots},
    state::{Layout, State, try_lock},
};
use super::{print_line, report, train::stop_flag};
use crate::{exit::Wrong, progress::note};

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// TOML file of methods, datasets, models and axes (docs/compare.md)
    pub(crate) grid: PathBuf,
    /// Folder for runs, results and the report; the same folder continues a comparison
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Runs at a time; each gets its part of the cores
    #[arg(long, default_value_t = 1)]
    pub(crate) slots: usize,
    /// Print the runs and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write an array job of these runs into the folder and stop; --slots tasks run at a time
    #[arg(long)]
    pub(crate) export: Option<Export>,
    /// Processes of each run, started by srun; with --export slurm
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ranks: u32,
}

/// Who runs an exported plan.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Export {
    Slurm,
    Kubernetes,
}

pub(crate) fn run(arguments: &CompareArguments) -> Result<ExitCode> {
    anyhow::ensure!(
        arguments.ranks == 1 || matches!(arguments.export, Some(Export::Slurm)),
        Wrong::usage(anyhow::anyhow!(
            "--ranks is {}, but only the job that --export slurm writes starts several processes a run; add it, or leave --ranks out",
            arguments.ranks
        ))
    );
    let grid = Grid::read(&arguments.grid)?;
    let threads = threads(arguments.slots, arguments.export.is_some())?;
    let runs = grid.expand(&arguments.out)?;
    if arguments.dry_run {
        plan::print(&runs, &grid.shape())?;
        return Ok(ExitCode::SUCCESS);
    }
    let layout = Layout::create(&arguments.out)?;
    let Some(_lock) = try_lock(&layout.file("lock"))? else {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{} is being written by another comparison; wait for it or stop it first",
            arguments.out.display()
        )));
    };
    for run in &runs {
        replace(&layout.config(&run.name), &toml::to_string_pretty(&run.settings)?)?;
    }
    fs::copy(&arguments.grid, layout.file("grid.toml"))?;
    if let Some(target) = arguments.export {
        let shape = Shape { slots: arguments.slots, threads, ranks: arguments.ranks };
        print_line(&export::write(target, &layout, &runs, &shape)?.display().to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    warn(&grid, &runs);
    write_manifest(
        &layout,
        json!({
            "runs": runs.len(), "shape": grid.shape(), "paired": grid.paired, "baseline": grid.baseline,
            "slots": arguments.slots, "threads_per_run": threads,
        }),
    )?;
    let slots = Slots { layout: layout.clone(), at_once: arguments.slots, threads, stop: stop_flag()? };
    let results = work(&slots, &runs)?;
    conclude(&grid, &runs, results, &arguments.out, slots.stop.load(Ordering::Relaxed))
}

/// Threads of each run: its part of the cores. A cluster has other cores; there each task gets as many as this machine has.
fn threads(slots: usize, exported: bool) -> Result<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if exported && slots > 0 {
        return Ok(cores);
    }
    anyhow::ensure!(
        (1..=cores).contains(&slots),
        Wrong::usage(anyhow::anyhow!("--slots is {slots}, but must be between 1 and this machine's {cores} cores"))
    );
    Ok(cores / slots)
}

/// What the person should know before anything is spent.
fn warn(grid: &Grid, runs: &[Planned]) {
    if grid.paired {
        note("WARNING", "paired = true: NO PRIVACY GUARANTEE for any run; for public research data only");
    }
    let epsilon: f64 = runs
        .iter()
        .filter(|run| run.settings.unsafe_reasons().is_empty())
        .map(|run| run.settings.privacy.epsilon)
        .sum();
    if epsilon > 0.0 {
        note(
            "warning",
            &format!(
                "each run has its own guarantee; if all read the same private records, together they may spend up to \
                 epsilon {}. Compare on public records",
                at_most(epsilon, 4)
            ),
        );
    }
}

/// Runs what is not finished, and records every end.
fn work(slots: &Slots, runs: &[Planned]) -> Result<Results> {
    let mut results = Results::open(&slots.layout, runs)?;
    let mut queue = VecDeque::new();
    for run in runs {
        if State::of(&run.settings.output.out)? != State::Finished {
            queue.push_back(run);
        } else if !results.has(&run.name) {
            // A cluster, or the runs of a killed comparison, finished it without us.
            results.add(run)?;
        }
    }
    let mut board = Board::new(runs.len(), runs.len() - queue.len());
    slots.work(queue, &mut |run, ended| {
        let what = match ended {
            Ended::Stopped => {
                board.stopped(&run.name);
                return Ok(());
            }
            Ended::Failed(message) => {
                results.fail(run, &message)?;
                format!("FAILED: {message}")
            }
            Ended::Finished => match results.add(run)? {
                Some(result) => result
                    .perplexity_after
                    .map_or("diverged".to_owned(), |perplexity| format!("perplexity {perplexity:.3}")),
                None => "FAILED: its folder cannot be read".to_owned(),
            },
        };
        board.ended(&run.name, &what);
        Ok(())
    })?;
    board.finish();
    Ok(results)
}

/// What all finished runs on one file spend together, by the names of the files.
fn together(runs: &[Planned]) -> Vec<(String, Together)> {
    let mut claims: BTreeMap<&str, Vec<Claim>> = BTreeMap::new();
    for run in runs {
        let ledger = fs::read(run.settings.output.out.join(files::LEDGER)).unwrap_or_default();
        let claim = claim_of(&String::from_utf8_lossy(&ledger));
        claims.entry(&run.dataset).or_default().extend(claim);
    }
    let of = |(dataset, claims): (&str, Vec<Claim>)| {
        Some((dataset.to_owned(), report::together(&claims.iter().collect::<Vec<_>>())?))
    };
    claims.into_iter().filter_map(of).collect()
}

/// Summarises what there is, and says what is missing.
fn conclude(grid: &Grid, runs: &[Planned], results: Results, out: &Path, stopped: bool) -> Result<ExitCode> {
    let (entries, failed) = results.in_order_of(runs);
    let finished = entries.len();
    let (entries, choices) = compare::reduce(&entries);
    let cells = compare::summarize(&entries, &grid.methods(), &grid.baseline);
    replace(&out.join("summary.csv"), &compare::csv(&cells))?;
    let page = out.join("report.html");
    let names: Vec<String> = failed.iter().map(|(run, _)| run.clone()).collect();
    write_comparison(&entries, &cells, &choices, &grid.baseline, &names, &together(runs), &page)?;
    print_line(&compare::table(&cells))?;
    note("report", &page.display().to_string());
    for (run, message) in &failed {
        note("failed", &format!("{run}: {message}"));
    }
    if stopped {
        note("stopped", "the same command continues; finished runs are not repeated");
    }
    Ok(if finished == runs.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
