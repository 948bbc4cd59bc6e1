//! Membership inference on an adapter, and bounds from planted canaries.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use rldp_audit::{
    roc::{Separation, separation},
    score::{RecordScores, ScoreKind},
};
use serde::Serialize;

use super::{
    planted::{Planted, audit_planted},
    target::Target,
};
use crate::{
    cli::AuditArguments,
    commands::{print_json, print_line},
    exit::Wrong,
};

/// Everything an attack found. Keys are documented in `docs/audit.md`.
#[derive(Serialize)]
struct Found {
    adapter: String,
    seed: u64,
    bootstrap: usize,
    /// ε, δ and unit that the run claims.
    claim: Option<Claimed>,
    membership: Option<Membership>,
    canaries: Option<Planted>,
}

#[derive(Serialize)]
struct Claimed {
    epsilon: f64,
    delta: f64,
    unit: String,
}

#[derive(Serialize)]
struct Membership {
    members: usize,
    non_members: usize,
    scores: Vec<Scored>,
}

/// How one score tells the two groups apart.
#[derive(Serialize)]
pub(super) struct Scored {
    score: ScoreKind,
    #[serde(flatten)]
    separation: Separation,
}

pub(super) fn run(arguments: &AuditArguments) -> Result<ExitCode> {
    if arguments.members.is_none() && arguments.canaries.is_none() {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!("give --members with --non-members, or --canaries")));
    }
    let mut target = Target::open(arguments)?;
    let claim = target.settings.as_ref().map(|settings| Claimed {
        epsilon: settings.privacy.epsilon,
        delta: settings.privacy.delta,
        unit: settings.data.unit_column.clone().unwrap_or_else(|| "record".to_owned()),
    });
    let membership = match (&arguments.members, &arguments.non_members) {
        (Some(members), Some(non_members)) => Some(membership(&mut target, arguments, members, non_members)?),
        _ => None,
    };
    let canaries = match &arguments.canaries {
        Some(path) => Some(audit_planted(&mut target, arguments, path)?),
        None => None,
    };
    let found = Found {
        adapter: target.adapter_path.display().to_string(),
        seed: arguments.seed,
        bootstrap: arguments.bootstrap,
        claim,
        membership,
        canaries,
    };
    if arguments.json {
        print_json(&found)?;
    } else {
        print(&found)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn membership(
    target: &mut Target,
    arguments: &AuditArguments,
    members: &Path,
    non_members: &Path,
) -> Result<Membership> {
    let members = target.score_file("members", members, &arguments.columns)?;
    let others = target.score_file("non-members", non_members, &arguments.columns)?;
    let scores = separations(&members, &others, arguments)?;
    Ok(Membership { members: members.len(), non_members: others.len(), scores })
}

/// Every score's separation of two groups.
pub(super) fn separations(
    members: &[RecordScores],
    others: &[RecordScores],
    arguments: &AuditArguments,
) -> Result<Vec<Scored>> {
    let of = |group: &[RecordScores], kind| group.iter().map(|scores| scores.get(kind)).collect::<Vec<f64>>();
    let scored = ScoreKind::ALL.into_iter().map(|score| {
        let separation = separation(&of(members, score), &of(others, score), arguments.bootstrap, arguments.seed);
        Ok(Scored { score, separation: separation.map_err(Wrong::input)? })
    });
    scored.collect()
}

fn print(found: &Found) -> Result<()> {
    if let Some(membership) = &found.membership {
        print_line(&format!("{} members, {} non-members", membership.members, membership.non_members))?;
        print_scores(&membership.scores)?;
    }
    if let Some(planted) = &found.canaries {
        print_line(&format!("{} canaries, {} of them included", planted.one_run.canaries, planted.one_run.included))?;
        print_scores(&planted.scores)?;
        let run = &planted.one_run;
        print_line(&format!(
            "epsilon at least {:.4} at delta {:?} (mu-GDP: mu at least {:.4}, epsilon {:.4}), confidence {}",
            run.epsilon, run.delta, run.gdp_mu, run.gdp_epsilon, run.confidence
        ))?;
        for (label, exposure) in [("included", &planted.exposure_included), ("excluded", &planted.exposure_excluded)] {
            if let Some(exposure) = exposure {
                print_line(&format!(
                    "exposure of {label} canaries: mean {:.2}, median {:.2}, largest {:.2} bits",
                    exposure.mean, exposure.median, exposure.largest
                ))?;
            }
        }
        if let Some(extracted) = &planted.extracted {
            print_line(&format!("extracted: {} included, {} excluded", extracted.included, extracted.excluded))?;
        }
    }
    Ok(())
}

fn print_scores(scores: &[Scored]) -> Result<()> {
    print_line(&format!("{:<18} {:>6} {:>15} {:>8} {:>8} {:>8}", "score", "AUC", "95 %", "0.1 %", "1 %", "5 %"))?;
    for Scored { score, separation } in scores {
        let name = serde_json::to_value(score)?;
        let interval = format!("{:.3} to {:.3}", separation.auc_low, separation.auc_high);
        let rates: String = separation.tpr_at_fpr.iter().map(|point| format!(" {:>8.3}", point.tpr)).collect();
        let name = name.as_str().unwrap_or_default();
        print_line(&format!("{name:<18} {:>6.3} {interval:>15}{rates}", separation.auc))?;
    }
    Ok(())
}
