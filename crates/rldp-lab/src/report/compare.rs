//! The report of a comparison: what it promises, curves by method, and the summary.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use super::{
    Together,
    boxes::boxes,
    comparison_table,
    figure::{Drawn, Figure, Series, escape},
    page::{HINT, SCRIPT, STYLE, section},
    sensitivity,
};
use crate::{
    compare::{Cell, Choice, Entry},
    error::LabError,
    statistics::Estimate,
};

/// Writes the report of a comparison to `out`. `failed` are names of runs; what they said may be about private records, and is
/// not for a page that is handed out.
///
/// # Errors
/// When a figure cannot be drawn or the file cannot be written.
pub fn write_comparison(
    entries: &[Entry],
    cells: &[Cell],
    choices: &[Choice],
    baseline: &str,
    failed: &[String],
    together: &[(String, Together)],
    out: &Path,
) -> Result<(), LabError> {
    let sensitivity = sensitivity::figures(entries, &methods(cells))?;
    let spreads: Vec<Drawn> = cells.iter().map(|cell| spread(entries, cell)).collect();
    let curves: Vec<Drawn> = cells.iter().map(|cell| curves(entries, cell)).collect::<Result<_, _>>()?;
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"/><title>rldp comparison</title><style>{STYLE}</style></head><body>\
         <h1>rldp comparison</h1>"
    );
    html.push_str(&promise(entries, together));
    html.push_str(&failures(failed));
    html.push_str(&comparison_table::html(cells, baseline));
    html.push_str(&tuning(choices));
    html.push_str(&section("Spread over seeds", &spreads));
    if entries.iter().any(|entry| entry.curve.len() > 1) {
        html.push_str(&section("Learning curves", &curves));
        html.push_str("<p class=\"note\">Lines are geometric means over seeds.</p>");
    } else if !entries.is_empty() {
        html.push_str(
            "<h2>Learning curves</h2><p>Evaluations within these runs were not kept: there are none to draw.</p>",
        );
    }
    html.push_str(&section("Sensitivity", &sensitivity));
    let _ = writeln!(html, "<script>{SCRIPT}</script></body></html>");
    super::replace(out, &html)
}

/// Every method once, in the order of the grid.
fn methods(cells: &[Cell]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for method in cells.iter().flat_map(|cell| &cell.methods) {
        if !found.contains(&method.method.as_str()) {
            found.push(&method.method);
        }
    }
    found
}

/// What each run promises, and what the comparison as a whole does not.
fn promise(entries: &[Entry], together: &[(String, Together)]) -> String {
    let holds = |entry: &&Entry| entry.result.guarantee && entry.result.verified;
    let (all, good) = (entries.len(), entries.iter().filter(holds).count());
    let (class, heading) = if all == 0 {
        ("claim bad", "No run has finished".to_owned())
    } else if good == all {
        ("claim", format!("Each of the {all} runs carries its own guarantee, and its ledger verifies"))
    } else {
        ("claim bad", format!("NO PRIVACY GUARANTEE for {} of {all} runs", all - good))
    };
    let row = |entry: &Entry| {
        let result = &entry.result;
        let says = match (result.guarantee, result.verified) {
            (false, _) => "NO PRIVACY GUARANTEE",
            (true, false) => "THE LEDGER DOES NOT VERIFY",
            (true, true) => "guarantee, verified",
        };
        format!("<li>{}: {says}, target epsilon {}</li>", escape(&result.run), result.epsilon)
    };
    let list: String = entries.iter().map(row).collect();
    let of = |(dataset, together): &(String, Together)| {
        format!("<p>On {}: {}</p>", escape(dataset), escape(&together.words()))
    };
    let joint: String = together.iter().map(of).collect();
    format!(
        "<div class=\"{class}\"><strong>{heading}</strong>A run's epsilon covers what that run released. Runs on the same \
         private records add up, and choosing a method by this page is a use of all of them: compare on public records, \
         then train once on the private ones.{joint}<details><summary>Every run</summary><ul class=\"runs\">{list}</ul></details></div>"
    )
}

fn failures(failed: &[String]) -> String {
    if failed.is_empty() {
        return String::new();
    }
    let list: String = failed.iter().map(|run| format!("<li>{}</li>", escape(run))).collect();
    format!(
        "<div class=\"claim bad\"><strong>Failed, and in no number below: {}</strong><ul>{list}</ul></div>",
        failed.len()
    )
}

/// What the rules of tuning chose.
fn tuning(choices: &[Choice]) -> String {
    if choices.is_empty() {
        return String::new();
    }
    let head = ["model", "dataset", "axes", "method", "rule", "chosen", "seeds"];
    let head: String = head.iter().map(|head| format!("<th data-sort=\"none\">{head}</th>")).collect();
    let row = |choice: &Choice| {
        let Choice { model, dataset, axes, method, rule, candidate, seeds } = choice;
        let cells = [model, dataset, axes, method, rule.name(), candidate, &seeds.to_string()];
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = choices.iter().map(row).collect();
    format!(
        "<h2>Tuning</h2><p>The same candidates for every method. Within the budget, trials and final run share one epsilon, \
         and the trials of a seed choose by perplexity on the public file. In hindsight, every candidate had the whole \
         budget and nobody paid for the choice.</p>{HINT}<div class=\"wide\" tabindex=\"0\"><table><thead><tr>{head}</tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    )
}

/// Curves of one cell, one line a method.
fn curves(entries: &[Entry], cell: &Cell) -> Result<Drawn, LabError> {
    let title = format!("{} on {} {}", cell.model, cell.dataset, cell.axes);
    let series: Vec<Series> = cell.methods.iter().map(|method| band(entries, cell, &method.method)).collect();
    let figure = Figure::new(title.trim_end(), "perplexity").logarithmic();
    figure.band("± one standard deviation of log-perplexity").draw(&series)
}

/// Final perplexities of one cell, a row a method.
fn spread(entries: &[Entry], cell: &Cell) -> Drawn {
    let finals = |method: &str| own(entries, cell, method).filter_map(|entry| entry.result.perplexity_after).collect();
    let rows: Vec<_> = cell.methods.iter().map(|method| (method.method.clone(), finals(&method.method))).collect();
    let title = format!("{} on {} {}", cell.model, cell.dataset, cell.axes);
    let svg = boxes(title.trim_end(), "perplexity after the last step (logarithmic)", &rows);
    if svg.is_empty() { Drawn::Nothing } else { Drawn::Plot(format!("<div>{svg}</div>")) }
}

/// The runs of a method in a cell.
fn own<'a>(entries: &'a [Entry], cell: &'a Cell, method: &'a str) -> impl Iterator<Item = &'a Entry> {
    entries.iter().filter(move |entry| {
        let result = &entry.result;
        result.method == method
            && result.model == cell.model
            && result.dataset == cell.dataset
            && result.axes_text() == cell.axes
    })
}

/// Mean and deviation of log-perplexity at every step that all seeds evaluated.
fn band(entries: &[Entry], cell: &Cell, method: &str) -> Series {
    // Steps are whole numbers; as such they can be keys.
    let mut at: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    let mut seeds = 0;
    for entry in own(entries, cell, method) {
        seeds += 1;
        for (step, perplexity) in &entry.curve {
            at.entry(*step as u64).or_default().push(perplexity.ln());
        }
    }
    let whole = at.iter().filter(|(_, logs)| logs.len() == seeds && logs.iter().all(|log| log.is_finite()));
    let estimates: Vec<(f64, Estimate)> =
        whole.filter_map(|(step, logs)| Some((*step as f64, Estimate::of(logs)?))).collect();
    // The axis is placed by powers of ten, and the band with it.
    let tens = |estimate: &Estimate| estimate.deviation.unwrap_or(0.0) / std::f64::consts::LN_10;
    Series {
        name: method.to_owned(),
        points: estimates.iter().map(|(step, estimate)| (*step, estimate.mean.exp())).collect(),
        band: (seeds > 1).then(|| estimates.iter().map(|(_, estimate)| tens(estimate)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{RunResult, summarize};

    fn entry(method: &str, seed: u64, guarantee: bool) -> Entry {
        let result = RunResult {
            run: format!("{method}<{seed}>"),
            method: method.into(),
            model: "m".into(),
            dataset: "d".into(),
            axes: serde_json::Map::new(),
            seed,
            perplexity_before: Some(20.0),
            perplexity_after: Some(9.0),
            steps: 10,
            epsilon: 2.0,
            epsilon_spent: 1.9,
            verified: guarantee,
            guarantee,
            roles: Vec::new(),
            seconds: 1234.5,
        };
        Entry { result, curve: vec![(0.0, 20.0), (10.0, 9.0 + seed as f64)] }
    }

    #[test]
    fn the_page_says_first_which_runs_promise_nothing() {
        let entries = [entry("fixed", 1, true), entry("sac", 1, false), entry("fixed", 2, true)];
        let cells = summarize(&entries, &["fixed".into(), "sac".into()], "fixed");
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("report.html");
        let failed = ["sac<2>".to_owned()];
        let both = Together { runs: 2, epsilon: 2.75, delta: 2e-5, basic_epsilon: 4.0 };
        write_comparison(&entries, &cells, &[], "fixed", &failed, &[("notes".into(), both)], &out).unwrap();
        let html = fs_err::read_to_string(out).unwrap();
        let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} is missing"));
        assert!(place("NO PRIVACY GUARANTEE for 1 of 3 runs") < place("<li>sac&lt;2&gt;</li>"));
        assert!(place("<li>sac&lt;2&gt;</li>") < place("<th data-sort"));
        assert!(html.contains("sac&lt;1&gt;: NO PRIVACY GUARANTEE") && html.contains("<svg"));
        assert!(
            html.contains("On notes: Whoever sees all 2 of these runs") && html.contains("ε = 2.7500 at δ = 2.000e-5")
        );
        assert!(!html.contains("1234.5"), "times are a side channel and in no report");
    }
}
