//! `rldp report`: the HTML report of one or several runs.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use fs_err as fs;
use rldp_lab::{
    RunFolder,
    export::{write_history, write_tensorboard},
    report::{Audited, Together, Verdict, html, write},
};
use rldp_model::peft;
use rldp_privacy::{Claim, Guarantee, decimals::at_least, joint};
use rldp_train::{digest_of_file, files};
use serde_json::Value;

use super::{print_line, privacy::check_claim};
use crate::{cli::ReportArguments, exit::Wrong};

pub(crate) fn run(arguments: &ReportArguments) -> Result<ExitCode> {
    let audited = arguments.audit.as_deref().map(|path| audited(path, &arguments.runs)).transpose()?;
    let page = page(&arguments.runs, audited.as_ref())?;
    write(&arguments.out, &page).map_err(Wrong::input)?;
    for path in &arguments.runs {
        let run = RunFolder::open(path).map_err(Wrong::input)?;
        if let Some(folder) = &arguments.tensorboard {
            write_tensorboard(&run, folder)?;
        }
        if let Some(folder) = &arguments.history {
            write_history(&run, folder)?;
        }
    }
    print_line(&format!("{}", arguments.out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads, verifies and draws `runs`.
pub(crate) fn write_for(runs: &[PathBuf], out: &Path) -> Result<()> {
    Ok(write(out, &page(runs, None)?).map_err(Wrong::input)?)
}

/// The report of one run, as it belongs into its folder.
pub(crate) fn page_of(run: &Path) -> Result<String> {
    page(&[run.to_owned()], None)
}

fn page(runs: &[PathBuf], audited: Option<&Audited>) -> Result<String> {
    let (mut read, mut claims) = (Vec::with_capacity(runs.len()), Vec::new());
    for path in runs {
        let run = RunFolder::open(path).map_err(Wrong::input)?;
        let found = check_claim(path)?;
        // A copy of a run is that run.
        if found.head.is_some() && claims.iter().any(|(head, _)| *head == found.head) {
            continue;
        }
        let line = |check: &rldp_privacy::Check| {
            format!("{} {}: {}", if check.passed { "passed" } else { "FAILED" }, check.name, check.detail)
        };
        let checks = found.checks.iter().map(line).collect();
        let (holds, closed, statement, head) = (found.holds, found.closed, found.statement, found.head.clone());
        read.push((run, Verdict { holds, closed, statement, head, checks }));
        claims.extend(found.claim.map(|claim| (found.head, claim)));
    }
    let together = together(&all_claims(&claims));
    Ok(html(&read, together.as_ref(), audited).map_err(Wrong::input)?)
}

/// The claims of the runs, by the heads of their ledgers, and of those that they go on from, each once.
fn all_claims(runs: &[(Option<String>, Claim)]) -> Vec<&Claim> {
    let mut seen: BTreeSet<&str> = runs.iter().filter_map(|(head, _)| head.as_deref()).collect();
    let earlier = runs.iter().flat_map(|(_, claim)| claim.earlier());
    let before: Vec<&Claim> = earlier.filter(|run| seen.insert(&run.head)).map(|run| &run.claim).collect();
    before.into_iter().chain(runs.iter().map(|(_, claim)| claim)).collect()
}

/// What several runs spend together; nothing for one, for runs without a guarantee, and for runs about other units or neighbours.
pub(crate) fn together(claims: &[&Claim]) -> Option<Together> {
    let claims: Vec<&Claim> = claims.iter().copied().filter(|claim| claim.guarantee == Guarantee::Holds).collect();
    let found = joint(&claims).ok().filter(|joint| joint.runs > 1)?;
    let rldp_privacy::Joint { runs, epsilon, delta, basic_epsilon } = found;
    Some(Together { runs, epsilon, delta, basic_epsilon })
}

/// What `rldp audit --json` printed about the adapter of one of `runs`, in lines.
fn audited(path: &Path, runs: &[PathBuf]) -> Result<Audited> {
    let text = fs::read_to_string(path).map_err(Wrong::input)?;
    let found: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not what `rldp audit --json` prints", path.display()))
        .map_err(Wrong::input)?;
    let digest = |run: &PathBuf| digest_of_file(&run.join(files::ADAPTER).join(peft::WEIGHTS)).ok();
    if !runs.iter().filter_map(digest).any(|digest| found["adapter_sha256"] == digest) {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{} is about another adapter ({}) than that of the run; give what `rldp audit RUN --json` printed for it",
            path.display(),
            found["adapter"].as_str().unwrap_or("it names none")
        )));
    }
    let mut lines = Vec::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut told = |what: &str, bound: &Value| {
        if let Some(epsilon) = bound["epsilon"].as_f64() {
            lines.push(format!(
                "{what}: epsilon is at least {} at delta {} and confidence {}",
                at_least(epsilon, 4),
                bound["delta"],
                bound["confidence"]
            ));
        }
    };
    told("units that were held out or not", &found["membership"]["one_run"]);
    for group in list(&found["canaries"]["groups"]) {
        let bound = &group["one_run"];
        told(&format!("{} canaries in {} units each", bound["canaries"], group["units"]), bound);
    }
    for (what, scores) in [("members", &found["membership"]["scores"]), ("canaries", &found["canaries"]["scores"])] {
        let best = list(scores).into_iter().filter_map(|score| Some((score["auc"].as_f64()?, score["score"].clone())));
        if let Some((auc, score)) = best.max_by(|one, two| one.0.total_cmp(&two.0)) {
            lines.push(format!("{what}: the best of the attacks ({score}) has an AUC of {auc:.3}; guessing has 0.5"));
        }
    }
    if lines.is_empty() {
        anyhow::bail!(Wrong::input(anyhow::anyhow!("{} holds no result of `rldp audit --json`", path.display())));
    }
    Ok(Audited { lines })
}
