//! Membership inference on an adapter, and bounds from planted canaries.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use rldp_audit::{
    guesses::OneRun,
    roc::{Separation, curve, separation},
    score::{RecordScores, ScoreKind},
};
use rldp_data::canaries::MOST_CANARIES;
use rldp_lab::report::{RocFigure, write_audit};
use rldp_model::peft;
use rldp_privacy::decimals::at_least;
use rldp_train::{book_file::BookFile, digest_of_file, files, settings::TrainSettings};
use serde::Serialize;

use super::{
    members::audit_members,
    planted::{Planted, audit_planted},
    target::{Named, Target, without_guarantee},
};
use crate::{
    cli::AuditArguments,
    commands::{print_json, print_line, ranks},
    exit::Wrong,
};

/// Everything an attack found. Keys are documented in `docs/audit.md`.
#[derive(Serialize)]
struct Found {
    adapter: String,
    /// Of its weights: which run's they are.
    adapter_sha256: String,
    seed: u64,
    bootstrap: usize,
    /// ε, δ and unit that the run claims.
    claim: Option<Claimed>,
    membership: Option<Membership>,
    canaries: Option<Planted>,
}

#[derive(Serialize)]
struct Claimed {
    /// Infinite, and written as null, for a run without noise.
    epsilon: f64,
    delta: f64,
    unit: String,
    /// Why the run promises nothing, when it does not.
    without_guarantee: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Membership {
    pub(super) members: usize,
    pub(super) non_members: usize,
    pub(super) shadows: usize,
    pub(super) scores: Vec<Scored>,
    /// Bounds, when every unit had a fair coin.
    pub(super) one_run: Option<OneRun>,
}

/// How one score tells the two groups apart.
#[derive(Serialize)]
pub(super) struct Scored {
    pub(super) score: String,
    #[serde(flatten)]
    separation: Separation,
    #[serde(skip)]
    curve: Vec<(f64, f64)>,
}

/// The run whose coins the audit reads, and the budget book that it entered, if it did.
fn hidden_in_a_book<'a>(
    arguments: &'a AuditArguments,
    settings: Option<&'a TrainSettings>,
    reads_coins: bool,
) -> Option<(&'a Path, &'a Path)> {
    arguments.run.as_deref().filter(|_| reads_coins).zip(settings?.output.book.as_deref())
}

/// What is attacked with: files that the run or the arguments name.
struct Hidden {
    membership: Option<PathBuf>,
    canaries: Option<PathBuf>,
    /// Whether the canaries are the run's own.
    own: bool,
}

impl Hidden {
    fn find(arguments: &AuditArguments) -> Result<Self> {
        let hidden = |name: &str| {
            let run = arguments.run.as_ref().filter(|_| arguments.members.is_none() && arguments.canaries.is_none());
            run.map(|run| run.join(files::PRIVATE).join(name)).filter(|path| path.exists())
        };
        let (membership, own_canaries) = (hidden(files::MEMBERSHIP), hidden(files::CANARIES));
        let named_own = arguments.canaries.as_deref().zip(arguments.run.as_deref());
        let own = own_canaries.is_some()
            || named_own.is_some_and(|(canaries, run)| lies_in(canaries, &run.join(files::PRIVATE)));
        let canaries = arguments.canaries.clone().or(own_canaries);
        if let Some(run) = arguments.run.as_ref().filter(|run| !run.join(files::CONFIG).exists()) {
            anyhow::bail!(Wrong::input(anyhow::anyhow!("{} holds no run (no {})", run.display(), files::CONFIG)));
        }
        if arguments.members.is_none() && canaries.is_none() && membership.is_none() {
            anyhow::bail!(Wrong::usage(anyhow::anyhow!(
                "give a run that was trained with --hold-out-members or --canaries, or --members with --non-members, or \
                 --canaries"
            )));
        }
        if !arguments.shadow.is_empty() && membership.is_none() {
            anyhow::bail!(Wrong::usage(anyhow::anyhow!(
                "--shadow needs a run that was trained with --hold-out-members"
            )));
        }
        Ok(Self { membership, canaries, own })
    }
}

/// Whether a file lies in a folder, by whatever name both are reached.
fn lies_in(path: &Path, folder: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| folder.canonicalize().is_ok_and(|folder| path.starts_with(folder)))
}

/// Where several processes were started, all compute scores; rank 0 alone reads records and says what it found.
pub(super) fn run(arguments: &AuditArguments) -> Result<ExitCode> {
    validate(arguments)?;
    let group = ranks::group(&arguments.ranks)?;
    let opened = Hidden::find(arguments).and_then(|hidden| {
        let (opened, named) = Named::open(arguments)?;
        Ok((opened, (named, hidden)))
    });
    ranks::evaluating(group, opened, |opened, (named, hidden)| {
        attacked(arguments, Target::new(opened, named, arguments)?, hidden)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses what no audit can use before anything is scored, which may take hours.
fn validate(arguments: &AuditArguments) -> Result<()> {
    let within = |value: f64| value > 0.0 && value < 1.0;
    let AuditArguments { confidence, delta, candidates, bootstrap, guesses, .. } = arguments;
    let refused = if !within(*confidence) {
        format!("--confidence is {confidence}, but must be strictly between 0 and 1")
    } else if let Some(delta) = delta.filter(|delta| !within(*delta)) {
        format!("--delta is {delta}, but must be strictly between 0 and 1")
    } else if !(1..=MOST_CANARIES).contains(candidates) {
        format!("--candidates is {candidates}, but must be from 1 to {MOST_CANARIES}")
    } else if *bootstrap == 0 {
        "--bootstrap is 0, but must be at least 1".to_owned()
    } else if *guesses == Some(0) {
        "--guesses is 0, but must be at least 1".to_owned()
    } else {
        return Ok(());
    };
    anyhow::bail!(Wrong::usage(anyhow::anyhow!(refused)))
}

fn attacked(arguments: &AuditArguments, mut target: Target, hidden: Hidden) -> Result<()> {
    let Hidden { membership, canaries, own } = hidden;
    if let Some((run, book)) = hidden_in_a_book(arguments, target.settings.as_ref(), membership.is_some() || own) {
        BookFile::open(book)?.enter_audit(run)?;
    }
    let claim = target.settings.as_ref().map(|settings| Claimed {
        epsilon: settings.privacy.epsilon,
        delta: settings.privacy.delta,
        unit: settings.data.unit_words(),
        without_guarantee: without_guarantee(settings),
    });
    let membership = match (&arguments.members, &arguments.non_members, &arguments.run, membership) {
        (Some(members), Some(non_members), ..) => Some(named(&mut target, arguments, members, non_members)?),
        (_, _, Some(run), Some(_)) => Some(audit_members(&mut target, arguments, run)?),
        _ => None,
    };
    let canaries = canaries.map(|path| audit_planted(&mut target, arguments, &path)).transpose()?;
    let found = Found {
        adapter: target.adapter_path.display().to_string(),
        adapter_sha256: digest_of_file(&target.adapter_path.join(peft::WEIGHTS)).map_err(Wrong::input)?,
        seed: arguments.seed,
        bootstrap: arguments.bootstrap,
        claim,
        membership,
        canaries,
    };
    let lines = lines(&found);
    if let Some(out) = &arguments.plot {
        write_audit(&format!("rldp audit: {}", found.adapter), &lines, &figures(&found), out).map_err(Wrong::input)?;
    }
    if arguments.json {
        print_json(&found)?;
    } else {
        lines.iter().try_for_each(|line| print_line(line))?;
    }
    Ok(())
}

/// Two files that the caller names.
fn named(target: &mut Target, arguments: &AuditArguments, members: &Path, non_members: &Path) -> Result<Membership> {
    let members = target.score_file("members", members)?;
    let others = target.score_file("non-members", non_members)?;
    let all: Vec<RecordScores> = members.iter().chain(&others).copied().collect();
    let coins: Vec<bool> = (0..all.len()).map(|at| at < members.len()).collect();
    let scores = separations(&all, &coins, arguments)?;
    Ok(Membership { members: members.len(), non_members: others.len(), shadows: 0, scores, one_run: None })
}

/// Every score's separation of those whose coin is true from the others.
pub(super) fn separations(scores: &[RecordScores], coins: &[bool], arguments: &AuditArguments) -> Result<Vec<Scored>> {
    let each = ScoreKind::ALL.into_iter().map(|kind| {
        let values: Vec<f64> = scores.iter().map(|scores| scores.get(kind)).collect();
        scored(&kind, &values, coins, arguments)
    });
    each.collect()
}

/// One score's separation.
pub(super) fn scored(
    kind: &impl Serialize,
    values: &[f64],
    coins: &[bool],
    arguments: &AuditArguments,
) -> Result<Scored> {
    let of = |wanted: bool| -> Vec<f64> {
        values.iter().zip(coins).filter(|(_, coin)| **coin == wanted).map(|(value, _)| *value).collect()
    };
    let (members, others) = (of(true), of(false));
    let separation = separation(&members, &others, arguments.bootstrap, arguments.seed).map_err(Wrong::input)?;
    let score = serde_json::to_value(kind)?.as_str().unwrap_or_default().to_owned();
    Ok(Scored { score, separation, curve: curve(&members, &others) })
}

fn figures(found: &Found) -> Vec<RocFigure> {
    let figure = |title: &str, scores: &[Scored]| RocFigure {
        title: title.to_owned(),
        curves: scores.iter().map(|scored| (scored.score.clone(), scored.curve.clone())).collect(),
    };
    let membership = found.membership.iter().map(|found| figure("Members against others", &found.scores));
    let planted = found.canaries.iter().flat_map(|planted| {
        let all = std::iter::once(figure("Included canaries against others", &planted.scores));
        all.chain(
            planted.groups.iter().map(|group| figure(&format!("Canaries in {} units", group.units), &group.scores)),
        )
    });
    membership.chain(planted).filter(|figure| !figure.curves.is_empty()).collect()
}

fn lines(found: &Found) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(claim) = &found.claim {
        lines.push(match &claim.without_guarantee {
            Some(reason) => format!("the run promises nothing: {reason}"),
            None => format!("claimed: epsilon {} at delta {:?}", claim.epsilon, claim.delta),
        });
    }
    if let Some(membership) = &found.membership {
        lines.push(format!("{} members, {} non-members", membership.members, membership.non_members));
        lines.extend(score_lines(&membership.scores));
        lines.extend(membership.one_run.iter().map(bound_line));
    }
    if let Some(planted) = &found.canaries {
        lines.push(format!("{} canaries, {} of them included", planted.canaries, planted.included));
        lines.extend(score_lines(&planted.scores));
        for group in &planted.groups {
            lines.push(format!(
                "canaries in {} units: {} of {} included",
                group.units, group.one_run.included, group.one_run.canaries
            ));
            lines.extend(score_lines(&group.scores));
            lines.push(bound_line(&group.one_run));
            for (label, exposure) in [("included", &group.exposure_included), ("excluded", &group.exposure_excluded)] {
                lines.extend(exposure.iter().map(|exposure| {
                    format!(
                        "exposure of {label} canaries: mean {:.2}, median {:.2}, largest {:.2} bits",
                        exposure.mean, exposure.median, exposure.largest
                    )
                }));
            }
            lines.extend(group.extracted.iter().map(|extracted| {
                format!("extracted: {} included, {} excluded", extracted.included, extracted.excluded)
            }));
        }
    }
    lines
}

fn bound_line(run: &OneRun) -> String {
    format!(
        "epsilon at least {} at delta {:?} (mu-GDP: mu at least {}, epsilon {}), confidence {}",
        at_least(run.epsilon, 4),
        run.delta,
        at_least(run.gdp_mu, 4),
        at_least(run.gdp_epsilon, 4),
        run.confidence
    )
}

fn score_lines(scores: &[Scored]) -> Vec<String> {
    if scores.is_empty() {
        return Vec::new();
    }
    let head = format!("{:<18} {:>6} {:>15} {:>8} {:>8} {:>8}", "score", "AUC", "95 %", "0.1 %", "1 %", "5 %");
    let line = |Scored { score, separation, .. }: &Scored| {
        let interval = format!("{:.3} to {:.3}", separation.auc_low, separation.auc_high);
        let rates: String = separation.tpr_at_fpr.iter().map(|point| format!(" {:>8.3}", point.tpr)).collect();
        format!("{score:<18} {:>6.3} {interval:>15}{rates}", separation.auc)
    };
    std::iter::once(head).chain(scores.iter().map(line)).collect()
}
