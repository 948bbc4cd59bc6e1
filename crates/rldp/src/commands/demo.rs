//! `rldp demo`: the whole loop on embedded material, through the same code as `rldp train`.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use fs_err as fs;
use rldp_data::demo;
use rldp_train::{files, settings::TrainSettings};

use super::{print_line, privacy, report, train::train};
use crate::{cli::DemoArguments, defaults, exit::Wrong, progress::note, settings::Given};

/// Seeds of the two public note generators; different patients.
const TRAIN_SEED: u64 = 1;
const EVAL_SEED: u64 = 2;
const TRAIN_PATIENTS: usize = 3_000;
const EVAL_PATIENTS: usize = 60;
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
    unpack(out)?;
    let (mut rows, mut base) = (Vec::new(), None);
    for controller in ["fixed", "sac"] {
        let settings = settings(out, controller)?;
        let outcome = train(&settings, false, controller, false)?;
        if !outcome.finished {
            note("stopped", &format!("in the {controller} run; remove {} to start the demo anew", out.display()));
            return Ok(ExitCode::FAILURE);
        }
        base = base.or_else(|| first_perplexity(&settings.output.out));
        let verified = privacy::verify_run(&settings.output.out)?.holds;
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

/// Writes the embedded model and freshly generated notes, so that every other command can use them too.
pub(super) fn unpack(out: &Path) -> Result<()> {
    let model = out.join("model");
    fs::create_dir_all(&model)?;
    fs::write(model.join("config.json"), demo::MODEL_CONFIG)?;
    fs::write(model.join("tokenizer.json"), demo::TOKENIZER)?;
    fs::write(model.join("model.safetensors"), demo::WEIGHTS)?;
    demo::write_notes(&out.join("train.csv"), TRAIN_SEED, TRAIN_PATIENTS)?;
    demo::write_notes(&out.join("eval.csv"), EVAL_SEED, EVAL_PATIENTS)?;
    Ok(())
}

fn settings(out: &Path, controller: &str) -> Result<TrainSettings> {
    let text = |path: &str| Some(out.join(path).display().to_string());
    let mut given = Given::default();
    given.set("model", text("model"));
    given.set("train", text("train.csv"));
    given.set("eval", text("eval.csv"));
    given.set("out", text(controller));
    given.set("unit_column", Some("patient"));
    given.set("epsilon", Some(EPSILON));
    given.set("delta", Some(DELTA));
    given.set("max_records_per_unit", Some(2));
    given.set("steps", Some(40));
    given.set("eval_every", Some(10));
    given.set("batch_size", Some(64.0));
    given.set("interval", Some(5));
    given.set("controller", Some(controller));
    given.resolve(defaults::table(None))
}
