//! The summary as a table for people and as CSV for programs.

use super::{Cell, MethodSummary, Reach};

const DASH: &str = "–";
/// In place of an interval from one or two seeds, which would be as wide as everything.
const TOO_FEW: &str = "(too few seeds)";

/// Heads of [`rows`].
pub(crate) const HEADS: [&str; 10] = [
    "model",
    "dataset",
    "axes",
    "method",
    "runs",
    "perplexity [95 %]",
    "vs baseline, % [95 %]",
    "p",
    "steps to baseline",
    "guarantee",
];

/// One row for each method of each cell, as people read it.
pub(crate) fn rows(cells: &[Cell]) -> Vec<Vec<String>> {
    let row = |cell: &Cell, method: &MethodSummary| {
        vec![
            cell.model.clone(),
            cell.dataset.clone(),
            if cell.axes.is_empty() { DASH.into() } else { cell.axes.clone() },
            method.method.clone(),
            runs(method),
            perplexity(method),
            difference(method),
            method.difference.as_ref().and_then(|difference| difference.p).map_or(DASH.into(), |p| format!("{p:.3}")),
            method.reach.as_ref().map_or(DASH.into(), reach),
            guarantee(method),
        ]
    };
    cells.iter().flat_map(|cell| cell.methods.iter().map(move |method| row(cell, method))).collect()
}

fn runs(method: &MethodSummary) -> String {
    match method.diverged {
        0 => method.runs.to_string(),
        diverged => format!("{} ({diverged} diverged)", method.runs),
    }
}

fn perplexity(method: &MethodSummary) -> String {
    method.log_perplexity.as_ref().map_or(DASH.into(), |estimate| match shown(estimate, estimate.interval()) {
        None => format!("{:.3} {TOO_FEW}", estimate.mean.exp()),
        Some((low, high)) => format!("{:.3} [{:.3}, {:.3}]", estimate.mean.exp(), low.exp(), high.exp()),
    })
}

fn difference(method: &MethodSummary) -> String {
    method.difference.as_ref().map_or(DASH.into(), |difference| {
        match shown(&difference.log_ratio, difference.percent_interval()) {
            None => format!("{:+.2} {TOO_FEW}", difference.percent()),
            Some((low, high)) => format!("{:+.2} [{low:+.2}, {high:+.2}]", difference.percent()),
        }
    })
}

/// An interval, where there are enough values for one.
fn shown(estimate: &super::Estimate, interval: Option<(f64, f64)>) -> Option<(f64, f64)> {
    interval.filter(|_| estimate.is_enough())
}

fn reach(reach: &Reach) -> String {
    let median = reach.median.map_or("never".to_owned(), |steps| format!("{steps:.0}"));
    format!("{median} ({}/{})", reach.reached, reach.of)
}

fn guarantee(method: &MethodSummary) -> String {
    match method.guaranteed {
        0 => "NO".into(),
        all if all == method.runs => "yes".into(),
        some => format!("{some} of {}", method.runs),
    }
}

/// The table, aligned.
pub fn table(cells: &[Cell]) -> String {
    let mut rows = rows(cells);
    rows.insert(0, HEADS.iter().map(ToString::to_string).collect());
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One line for each method of each cell, numbers unrounded; an empty field is a number that does not exist.
pub fn csv(cells: &[Cell]) -> String {
    let mut text = String::from(
        "model,dataset,axes,method,runs,diverged,guaranteed,perplexity,log_perplexity_mean,log_perplexity_sd,\
         log_perplexity_low,log_perplexity_high,pairs,difference_percent,difference_low,difference_high,p_sign_flip,\
         steps_to_baseline_median,reached_baseline,compared_with_baseline\n",
    );
    for cell in cells {
        for method in &cell.methods {
            text.push_str(&csv_line(cell, method));
            text.push('\n');
        }
    }
    text
}

fn csv_line(cell: &Cell, method: &MethodSummary) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let count = |value: Option<usize>| value.map_or(String::new(), |value| value.to_string());
    let (estimate, difference) = (method.log_perplexity.as_ref(), method.difference.as_ref());
    let interval = estimate.and_then(super::Estimate::interval);
    let percent = difference.and_then(super::Difference::percent_interval);
    [
        quoted(&cell.model),
        quoted(&cell.dataset),
        quoted(&cell.axes),
        quoted(&method.method),
        method.runs.to_string(),
        method.diverged.to_string(),
        method.guaranteed.to_string(),
        number(estimate.map(|estimate| estimate.mean.exp())),
        number(estimate.map(|estimate| estimate.mean)),
        number(estimate.and_then(|estimate| estimate.deviation)),
        number(interval.map(|interval| interval.0)),
        number(interval.map(|interval| interval.1)),
        count(difference.map(|difference| difference.log_ratio.n)),
        number(difference.map(super::Difference::percent)),
        number(percent.map(|interval| interval.0)),
        number(percent.map(|interval| interval.1)),
        number(difference.and_then(|difference| difference.p)),
        number(method.reach.and_then(|reach| reach.median)),
        count(method.reach.map(|reach| reach.reached)),
        count(method.reach.map(|reach| reach.of)),
    ]
    .join(",")
}
