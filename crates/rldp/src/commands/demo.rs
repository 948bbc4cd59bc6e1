//! `rldp demo`: the whole loop on embedded material, through the same code as `rldp train`.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use fs_err as fs;
use rldp_train::{files, settings::TrainSettings};

use super::{
    print_line, privacy, report,
    train::{tell_quality, train},
};
use crate::{
    cli::DemoArguments,
    exit::Wrong,
    facade::{self, Demo},
    progress::note,
};

const EPSILON: f64 = 4.0;
const DELTA: f64 = 1e-5;

pub(crate) fn run(arguments: &DemoArguments) -> Result<ExitCode> {
    let out = &arguments.out;
    if out.exists() && fs::read_dir(out)?.next().is_some() {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{} is not empty; choose another --out or remove it",
            out.display()
        )));
    }
    let demo = facade::unpack_demo(out)?;
    let (mut rows, mut base) = (Vec::new(), None);
    for controller in ["fixed", "sac"] {
        let settings = settings(&demo, out, controller)?;
        let outcome = train(&settings, controller, false)?;
        tell_quality(&settings.output.out, controller, false)?;
        if !outcome.finished {
            note("stopped", &format!("in the {controller} run; remove {} to start the demo anew", out.display()));
            return Ok(ExitCode::FAILURE);
        }
        base = base.or_else(|| first_perplexity(&settings.output.out));
        let verified = privacy::verify_run(&settings.output.out, None)?.holds;
        report::write_for(std::slice::from_ref(&settings.output.out), &settings.output.out.join(files::REPORT))?;
        rows.push((controller, outcome, verified));
    }
    let report = out.join(files::REPORT);
    report::write_for(&[out.join("fixed"), out.join("sac")], &report)?;
    print_line(&format!("{:<12} {:>10} {:>8} {:>7} {:>9}", "", "perplexity", "epsilon", "steps", "verified"))?;
    print_line(&format!("{:<12} {:>10.3}", "base model", base.unwrap_or(f64::NAN)))?;
    for (controller, outcome, verified) in rows {
        let perplexity = outcome.evaluation.map_or(f64::NAN, |evaluation| evaluation.perplexity);
        let verified = if verified { "yes" } else { "NO" };
        print_line(&format!("{controller:<12} {perplexity:>10.3} {EPSILON:>8} {:>7} {verified:>9}", outcome.steps))?;
    }
    print_line(&format!("\nOne patient is one unit of privacy, delta {DELTA:?}. Report: {}", report.display()))?;
    print_line(&format!(
        "Try: rldp generate --model {0}/model --adapter {0}/sac/adapter --prompt \"Patient\"",
        out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Perplexity on the public file before the first step, from the run's own metrics.
fn first_perplexity(run: &Path) -> Option<f64> {
    let metrics = fs::read_to_string(run.join(files::METRICS)).ok()?;
    let lines = metrics.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["kind"] == "eval" && line["step"] == 0).find_map(|line| line["perplexity"].as_f64())
}

fn settings(demo: &Demo, out: &Path, controller: &str) -> Result<TrainSettings> {
    let given = demo.given().with("out", out.join(controller).display().to_string()).with("controller", controller);
    let given = given.with("epsilon", EPSILON).with("delta", DELTA).with("max_records_per_unit", 2);
    let given = given.with("steps", 40).with("batch_size", 64.0).with("eval_every", 10).with("interval", 5);
    facade::resolve(given)
}
