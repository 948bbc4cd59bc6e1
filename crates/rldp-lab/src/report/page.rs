//! The page around the figures.

use std::fmt::Write as _;

use super::{Audited, Together, Verdict, axis::short, figure::escape, officer::officer};
use crate::run::RunFolder;

pub(super) const STYLE: &str = "
:root { color-scheme: light dark; --ground: #fff; --text: #1c2430; --line: #d5dae1; --soft: #f4f6f9; --good: #0a7d57; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181f; --text: #e6eaf0; --line: #39424f; --soft: #1d232d; --good: #4cc79a; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 76rem; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; border-bottom: 1px solid var(--line); }
.claim { background: var(--soft); border-left: 5px solid var(--good); padding: .8rem 1rem; margin: .8rem 0; overflow-wrap: anywhere; }
.claim.bad { border-color: var(--bad); } .claim strong { display: block; } .good { color: var(--good); } .bad strong { color: var(--bad); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 28rem), 1fr)); gap: 1rem; }
.figure { width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; background: var(--ground); color: var(--text); }
.figure text { fill: var(--text); font-family: system-ui, sans-serif; } .figure > rect:first-of-type[opacity='0'] { fill: none; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; white-space: nowrap; padding: .3rem .7rem; border-bottom: 1px solid var(--line); } th[data-sort] { cursor: pointer; }
.legend { list-style: none; padding: 0; margin: .3rem 0 0; display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; }
.legend i { display: inline-block; width: 1.6rem; margin-right: .4rem; vertical-align: middle; }
.officer { display: grid; grid-template-columns: minmax(7rem, 11rem) minmax(0, 1fr); gap: .5rem 1rem; margin: 0; }
.officer dt { font-weight: 600; } .officer dd { margin: 0; overflow-wrap: anywhere; } .officer ul { margin: .2rem 0; }
.officer code { font-size: .85em; } .alarm { color: var(--bad); font-weight: 600; }
.odds { width: auto; margin: .3rem 0; } .fill { display: inline-block; width: min(100%, 24rem); height: 1.6rem; border-bottom: 1px solid var(--text); }
.fill.short { width: 8rem; } .sign { margin: .6rem 0 1rem; } .sign .fill { margin-right: 1rem; } .sign small { display: block; }
@media (max-width: 40rem) { .officer { grid-template-columns: minmax(0, 1fr); gap: .1rem; } .odds th, .odds td { white-space: normal; } .officer dd { margin-bottom: .6rem; } }
ul { padding-left: 1.2rem; } a { color: inherit; } details { margin: .5rem 0; }
@media print { :root { --ground: #fff; --text: #000; --line: #bbb; --soft: #f4f6f9; --good: #0a5c40; --bad: #a11; color-scheme: light; }
body { max-width: none; padding: 0; font-size: 10.5pt; } .figure, .claim, .officer dd, .sign { break-inside: avoid; } h2 { break-after: avoid; }
.wide { overflow-x: visible; } th, td { white-space: normal; } pre { white-space: pre-wrap; } }
";

pub(super) const SCRIPT: &str = "
for (const head of document.querySelectorAll('th[data-sort]')) head.onclick = () => {
  const body = head.closest('table').tBodies[0], at = head.cellIndex, up = head.dataset.sort !== 'up';
  head.dataset.sort = up ? 'up' : 'down';
  const key = row => { const text = row.cells[at].textContent, n = parseFloat(text); return isNaN(n) ? text : n; };
  [...body.rows].sort((a, b) => (key(a) > key(b) ? 1 : -1) * (up ? 1 : -1)).forEach(row => body.append(row));
};
";

/// The whole page.
pub(super) fn page(
    runs: &[(RunFolder, Verdict)],
    together: Option<&Together>,
    audited: Option<&Audited>,
    figures: &[(String, Vec<String>)],
) -> String {
    let names: Vec<String> = runs.iter().map(|(run, _)| run.title()).collect();
    let title = format!("rldp report: {}", names.join(", "));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"/><meta name=\"generator\" content=\"rldp {1}\"/><title>{0}</title>\
         <style>{STYLE}</style></head><body><h1>{0}</h1>",
        escape(&title),
        env!("CARGO_PKG_VERSION")
    );
    for (run, verdict) in runs {
        html.push_str(&claim(run, verdict));
    }
    if let Some(together) = together {
        let _ = write!(html, "<div class=\"claim\"><strong>Together</strong>{}</div>", escape(&together.words()));
    }
    if let [(run, verdict)] = runs {
        html.push_str(&officer(run, verdict, audited));
    }
    html.push_str(&summary(runs));
    for (heading, figures) in figures {
        let drawn: String = figures.iter().filter(|figure| !figure.is_empty()).cloned().collect();
        if !drawn.is_empty() {
            let _ = write!(html, "<h2>{}</h2><div class=\"figures\">{drawn}</div>", escape(heading));
        }
    }
    html.push_str(&scope());
    for (run, _) in runs {
        html.push_str(&settings(run));
    }
    let _ = writeln!(html, "<script>{SCRIPT}</script></body></html>");
    html
}

/// The privacy statement of one run.
fn claim(run: &RunFolder, verdict: &Verdict) -> String {
    let name = run.title();
    let (class, heading) = match run.without_guarantee() {
        Some(reason) => ("claim bad", format!("{name}: NO PRIVACY GUARANTEE ({reason})")),
        None if !verdict.holds => ("claim bad", format!("{name}: DOES NOT VERIFY")),
        None if !verdict.closed => {
            ("claim", format!("{name}: unfinished; the guarantee covers what was released so far"))
        }
        None => ("claim", format!("{name}: verifies")),
    };
    let planted = run.manifest.get("planted").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let checks: String = verdict.checks.iter().map(|check| format!("<li>{}</li>", escape(check))).collect();
    format!(
        "<div class=\"{class}\"><strong>{}</strong>{}<details><summary>Checks</summary><ul>{checks}</ul></details></div>",
        escape(&heading),
        escape(&[verdict.statement.clone(), planted].join(" "))
    )
}

/// One row a run.
fn summary(runs: &[(RunFolder, Verdict)]) -> String {
    const HEADS: [&str; 10] = [
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
    ];
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|(run, _)| {
            let perplexity =
                |line: Option<&crate::run::EvalLine>| line.map_or("–".into(), |line| short(line.perplexity));
            vec![
                run.title(),
                run.setting("control", "controller"),
                run.setting("privacy", "epsilon"),
                run.setting("privacy", "delta"),
                run.fact("unit"),
                run.fact("units"),
                run.steps.last().map_or("0".into(), |line| format!("{}", line.step)),
                run.setting("privacy", "batch_size"),
                perplexity(run.evals.first()),
                perplexity(run.evals.last()),
            ]
        })
        .collect();
    let csv = |cells: &[String]| {
        cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect::<Vec<_>>().join(",")
    };
    let heads: Vec<String> = HEADS.iter().map(ToString::to_string).collect();
    let lines: Vec<String> = std::iter::once(csv(&heads)).chain(rows.iter().map(|row| csv(row))).collect();
    let mut html = String::from("<h2>Summary</h2><div class=\"wide\"><table><thead><tr>");
    for head in HEADS {
        let _ = write!(html, "<th data-sort=\"none\">{head}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for row in &rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(cell));
        }
        html.push_str("</tr>");
    }
    let _ = write!(
        html,
        "</tbody></table></div><p><a download=\"summary.csv\" href=\"data:text/csv;charset=utf-8,{}\">Download as CSV</a></p>",
        percent(&lines.join("\n"))
    );
    html
}

/// What the statement covers.
fn scope() -> String {
    "<h2>What the statement means</h2><ul>\
     <li>Whoever sees everything this run released can hardly tell whether any one unit's records were in the training data; \
     epsilon and delta say how hardly.</li>\
     <li>Assumed public: all settings, the base model and tokenizer, the evaluation file, on which perplexity is computed, and the number \
     of units, unless it was declared by <code>--units</code>.</li>\
     <li>Released: the noisy gradient of every step, the paid mean loss and clip fractions, and what follows from them: the \
     adapter, the controller's policy and actions, every figure here.</li>\
     <li>Not covered: how long steps took, settings that were chosen by trying them on the private data, the base model's own \
     training data, and text that several units share.</li></ul>"
        .into()
}

fn settings(run: &RunFolder) -> String {
    let text = toml::to_string_pretty(&run.config).unwrap_or_default();
    format!(
        "<details><summary>Settings of {}</summary><pre class=\"wide\">{}</pre></details>",
        escape(&run.title()),
        escape(&text)
    )
}

/// Percent-encoding for a data URL.
pub(super) fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
