//! Settings and outcome of the runs on a page, side by side.

use std::fmt::Write as _;

use super::{
    Verdict,
    figure::escape,
    page::{HINT, percent},
};
use crate::{
    number::short,
    quality::Quality,
    run::{EvalLine, RunFolder},
};

const HEADS: [&str; 11] = [
    "run",
    "controller",
    "epsilon",
    "delta",
    "unit",
    "units",
    "steps",
    "batch",
    "perplexity before",
    "perplexity after",
    "change, %",
];
/// Where the perplexity after stands.
const AFTER: usize = 9;

/// A list for one run, a table for several.
pub(super) fn summary(runs: &[(RunFolder, Verdict)]) -> String {
    let rows: Vec<Vec<String>> = runs.iter().map(|(run, _)| row(run)).collect();
    let body = match &rows[..] {
        [only] => facts(only),
        rows => table(rows, best(runs)),
    };
    format!(
        "<h2>Summary</h2>{body}<p class=\"download\"><a download=\"summary.csv\" href=\"data:text/csv;charset=utf-8,{}\">Download as CSV</a></p>",
        percent(&csv(&rows))
    )
}

fn row(run: &RunFolder) -> Vec<String> {
    let perplexity = |line: Option<&EvalLine>| line.map_or("–".into(), |line| short(line.perplexity));
    let change = |found: Quality| format!("{:+.1}", 100.0 * (found.after / found.before - 1.0));
    vec![
        run.title(),
        run.setting("control", "controller"),
        run.setting("privacy", "epsilon"),
        run.setting("privacy", "delta"),
        run.fact("unit"),
        run.units(),
        run.steps.last().map_or("0".into(), |line| format!("{}", line.step)),
        run.setting("privacy", "batch_size"),
        perplexity(run.evals.first().filter(|line| line.step == 0.0)),
        perplexity(run.evals.last()),
        Quality::of(run).map_or("–".into(), change),
    ]
}

/// The run of the lowest perplexity, of those that promise something if any does.
fn best(runs: &[(RunFolder, Verdict)]) -> Option<usize> {
    let promise = |run: &RunFolder| run.without_guarantee().is_none();
    let any = runs.iter().any(|(run, _)| promise(run));
    let found = runs.iter().enumerate().filter(|(_, (run, _))| !any || promise(run)).filter_map(|(at, (run, _))| {
        Some((at, run.evals.last().map(|line| line.perplexity).filter(|perplexity| perplexity.is_finite())?))
    });
    found.min_by(|one, two| one.1.total_cmp(&two.1)).map(|(at, _)| at)
}

fn facts(row: &[String]) -> String {
    let line = |(head, value): (&&str, &String)| format!("<tr><th>{head}</th><td>{}</td></tr>", escape(value));
    format!("<table class=\"facts\">{}</table>", HEADS.iter().zip(row).map(line).collect::<String>())
}

fn table(rows: &[Vec<String>], best: Option<usize>) -> String {
    let mut html = format!("{HINT}<div class=\"wide\" tabindex=\"0\"><table><thead><tr>");
    for head in HEADS {
        let _ = write!(html, "<th data-sort=\"none\">{head}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for (at, row) in rows.iter().enumerate() {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let class = if column == AFTER && best == Some(at) { " class=\"best\"" } else { "" };
            let _ = write!(html, "<td{class}>{}</td>", escape(cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    if best.is_some() {
        html.push_str("<p class=\"note\">★ the lowest perplexity of the runs that promise privacy, or of all where none does. Of one run each, it says little.</p>");
    }
    html
}

fn csv(rows: &[Vec<String>]) -> String {
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect::<Vec<_>>().join(",")
    };
    let mut lines = vec![line(&mut HEADS.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}
