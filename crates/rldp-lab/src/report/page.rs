//! The page around the figures.

use std::fmt::Write as _;

use super::{
    Audited, Together, Verdict,
    curves::Section,
    figure::{Drawn, escape},
    officer::officer,
    summary::summary,
};
use crate::{
    quality::{Quality, against_ceiling},
    run::RunFolder,
};

pub(super) const STYLE: &str = include_str!("page.css");
pub(super) const SCRIPT: &str = include_str!("page.js");

/// Stands before what scrolls; the page's script hides it where nothing does.
pub(super) const HINT: &str = "<p class=\"hint\">Scroll sideways for the other columns.</p>";

/// The whole page.
pub(super) fn page(
    runs: &[(RunFolder, Verdict)],
    together: Option<&Together>,
    audited: Option<&Audited>,
    figures: &[Section],
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
        html.push_str(&quality(runs, run));
    }
    if let Some(together) = together {
        let _ = write!(html, "<div class=\"claim\"><strong>Together</strong>{}</div>", escape(&together.words()));
    }
    if let [(run, verdict)] = runs {
        html.push_str(&officer(run, verdict, audited));
    }
    html.push_str(&summary(runs));
    html.push_str(&samples(runs));
    figures.iter().for_each(|(heading, drawn)| html.push_str(&section(heading, drawn)));
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

/// Whether a run is any good: loudly where it is not.
fn quality(runs: &[(RunFolder, Verdict)], run: &RunFolder) -> String {
    let Some(found) = Quality::of(run) else { return String::new() };
    let class = if found.is_worse() { "claim bad" } else { "claim" };
    let ceilings: Vec<String> = runs.iter().filter_map(|(other, _)| against_ceiling(run, other)).collect();
    format!(
        "<div class=\"{class}\"><strong>{}: {}</strong>{}. {}</div>",
        escape(&run.title()),
        found.heading(),
        escape(&capital(&found.words())),
        escape(&ceilings.join(" "))
    )
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Public prompts with what followed them before and after.
fn samples(runs: &[(RunFolder, Verdict)]) -> String {
    let text = |text: Option<&String>| match text.map(|text| text.trim()) {
        None => " (nothing: the model could not go on)".to_owned(),
        Some("") => " (nothing: the text ends here)".to_owned(),
        Some(_) => text.map_or_else(String::new, |text| format!("<mark>{}</mark>", escape(text))),
    };
    let mut html = String::new();
    for (run, _) in runs.iter().filter(|(run, _)| !run.samples.is_empty()) {
        let _ = write!(html, "<h2>Before and after: {}</h2>", escape(&run.title()));
        for line in &run.samples {
            let prompt = escape(&line.prompt);
            let _ = write!(
                html,
                "<div class=\"samples\"><p><b>before</b>{prompt}{}</p><p><b>after</b>{prompt}{}</p></div>",
                text(line.before.as_ref()),
                text(line.after.as_ref())
            );
        }
    }
    if !html.is_empty() {
        html.push_str(
            "<p class=\"note\">Marked: what the model goes on with, the likeliest token each time. What stands before it are the first words \
             of the first records of <code>--eval</code>, which was declared public. What an adapter writes is post-processing of what was \
             released and costs nothing. Two texts are an impression, not a measurement.</p>",
        );
    }
    html
}

/// A heading with its sentences and figures; nothing without any.
pub(super) fn section(heading: &str, drawn: &[Drawn]) -> String {
    let (mut said, mut plots) = (String::new(), String::new());
    for one in drawn {
        match one {
            Drawn::Nothing => {}
            Drawn::Said(words) => {
                let _ = write!(said, "<li>{words}</li>");
            }
            Drawn::Plot(svg) => plots.push_str(svg),
        }
    }
    if said.is_empty() && plots.is_empty() {
        return String::new();
    }
    if !said.is_empty() {
        said = format!("<ul class=\"said\">{said}</ul>");
    }
    if !plots.is_empty() {
        plots = format!("<div class=\"figures\">{plots}</div>");
    }
    format!("<h2>{}</h2>{said}{plots}", escape(heading))
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
    format!("<details><summary>Settings of {}</summary><pre>{}</pre></details>", escape(&run.title()), escape(&text))
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
