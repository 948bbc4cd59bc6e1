//! What a run's metrics look like: figures of one run or of several, and of its adapters.

use super::{
    Verdict,
    figure::{Drawn, Figure, Series},
    heat::heat_map,
};
use crate::{
    error::LabError,
    loss::readable_loss,
    run::{ControlLine, RunFolder, StepLine},
};

/// Up to this many adapters are drawn as lines; more become a heat map.
const MOST_LINES: usize = 7;

/// A heading and what stands below it.
pub(super) type Section = (String, Vec<Drawn>);

type Runs<'a> = &'a [(RunFolder, Verdict)];

/// Figures in which all runs are drawn together, under their headings.
pub(super) fn shared(runs: Runs) -> Result<Vec<Section>, LabError> {
    Ok(vec![
        ("Utility".into(), vec![perplexity(runs)?, loss(runs)?]),
        ("Budget".into(), budget(runs)?),
        ("Controller".into(), control(runs)?),
    ])
}

/// A line a run.
fn each(runs: Runs, points: &dyn Fn(&RunFolder) -> Vec<(f64, f64)>) -> Vec<Series> {
    runs.iter().map(|(run, _)| Series::line(name(runs, run), points(run))).collect()
}

/// A run is named where there are others.
fn name(runs: Runs, run: &RunFolder) -> String {
    if runs.len() > 1 { run.title() } else { String::new() }
}

fn of_steps(value: fn(&StepLine) -> f64) -> impl Fn(&RunFolder) -> Vec<(f64, f64)> {
    move |run| {
        let points = run.steps.iter().map(|line| (line.step, value(line)));
        points.filter(|(_, value)| value.is_finite()).collect()
    }
}

fn perplexity(runs: Runs) -> Result<Drawn, LabError> {
    let figure = Figure::new("Perplexity on the public file", "perplexity").logarithmic();
    figure.draw(&each(runs, &|run| {
        let finite = run.evals.iter().filter(|line| line.perplexity.is_finite());
        finite.map(|line| (line.step, line.perplexity)).collect()
    }))
}

/// The released loss where it can be read; where noise is all of it, that is said.
fn loss(runs: Runs) -> Result<Drawn, LabError> {
    let series = |run: &RunFolder| {
        let read = |line: &StepLine| {
            let deviation = line.loss_std.unwrap_or_default();
            Some((line.step, readable_loss(line.loss?, deviation, line.loss_bound)?, deviation))
        };
        let lines: Vec<(f64, f64, f64)> = run.steps.iter().filter_map(read).collect();
        Series {
            name: name(runs, run),
            points: lines.iter().map(|(step, loss, _)| (*step, *loss)).collect(),
            band: Some(lines.iter().map(|(_, _, deviation)| *deviation).collect()),
        }
    };
    // Nobody may see how many of the declared units are there, so a mean over those that are cannot be told.
    let declared = runs.iter().any(|(run, _)| run.number("data", "units").is_some());
    let title = if declared {
        "Released training loss (absent units count as the middle of its bounds)"
    } else {
        "Released training loss"
    };
    let figure = Figure::new(title, "nats a token").band("± one deviation of its noise");
    let drawn = figure.draw(&runs.iter().map(|(run, _)| series(run)).collect::<Vec<_>>())?;
    let bought = runs.iter().any(|(run, _)| run.steps.iter().any(|line| line.loss.is_some()));
    Ok(if drawn == Drawn::Nothing && bought {
        Drawn::Said("<b>Released training loss</b>: nothing but noise, whose deviation is half of what a loss counts as at most, or more.".into())
    } else {
        drawn
    })
}

fn budget(runs: Runs) -> Result<Vec<Drawn>, LabError> {
    let spent = of_steps(|line| line.epsilon_spent);
    let from_nothing = |run: &RunFolder| {
        let points = spent(run);
        if points.is_empty() { points } else { std::iter::once((0.0, 0.0)).chain(points).collect() }
    };
    let mut targets: Vec<f64> = runs
        .iter()
        .filter(|(run, _)| run.without_guarantee().is_none())
        .filter_map(|(run, _)| run.number("privacy", "epsilon"))
        .collect();
    targets.sort_by(f64::total_cmp);
    targets.dedup();
    let levels = targets.into_iter().map(|epsilon| (format!("target, ε = {epsilon}"), epsilon)).collect();
    let figure = Figure::new("Budget spent (upper bound)", "epsilon").starting_at_zero().levels(levels);
    Ok(vec![
        figure.draw(&each(runs, &from_nothing))?,
        Figure::new("Noise multiplier", "z").draw(&each(runs, &of_steps(|line| line.noise_multiplier)))?,
        Figure::new("Signal-to-noise of the released gradient", "energy ratio")
            .draw(&each(runs, &of_steps(|line| line.snr)))?,
    ])
}

fn control(runs: Runs) -> Result<Vec<Drawn>, LabError> {
    let telemetry = |key: &'static str| {
        move |run: &RunFolder| {
            let lines = run.controls.iter();
            lines.filter_map(|line| Some((line.step, line.controller.get(key)?.as_f64()?))).collect::<Vec<_>>()
        }
    };
    // Nobody listens to the reward of a controller that does not move.
    let reward = |run: &RunFolder| {
        if run.setting("control", "controller") == "fixed" {
            return Vec::new();
        }
        run.controls.iter().filter_map(|line| Some((line.step, line.reward?))).collect()
    };
    let agreement =
        |run: &RunFolder| run.steps.iter().filter_map(|line| Some((line.step, line.agreement?))).collect::<Vec<_>>();
    Ok(vec![
        Figure::new("Agreement of releases", "deviations of noise alone").draw(&each(runs, &agreement))?,
        Figure::new("Learning rate", "rate").draw(&each(runs, &of_steps(|line| line.learning_rate)))?,
        Figure::new("Reward of an interval", "nats per percent of budget").draw(&each(runs, &reward))?,
        Figure::new("Entropy of the policy", "nats a dimension").draw(&each(runs, &telemetry("entropy")))?,
        Figure::new("Critic loss", "squared error").draw(&each(runs, &telemetry("critic_loss")))?,
    ])
}

/// What the controller did to every adapter of a run.
pub(super) fn adapters(run: &RunFolder) -> Result<Vec<Drawn>, LabError> {
    let names = run.pairs();
    let columns: Vec<f64> = run.controls.iter().map(|line| line.step).collect();
    let figure = |title: &str, label: &str, value: &dyn Fn(&ControlLine) -> Option<Vec<f64>>| {
        let table: Vec<Vec<f64>> = run.controls.iter().filter_map(value).collect();
        if table.len() != columns.len() {
            return Ok(Drawn::Nothing);
        }
        let of = |k: usize| table.iter().map(|row| row.get(k).copied().unwrap_or(f64::NAN)).collect::<Vec<f64>>();
        if names.len() <= MOST_LINES {
            let line = |k: usize| Series::line(names[k].clone(), columns.iter().copied().zip(of(k)).collect());
            return Figure::new(title, label).draw(&(0..names.len()).map(line).collect::<Vec<_>>());
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
