//! Membership of the units that a run's own coins kept or held out, alone and with shadow runs.

use std::path::Path;

use anyhow::Result;
use rldp_audit::{
    guesses::{OneRun, OneRunSettings, audit_scores},
    score::{RecordScores, ScoreKind, ScoredRecord},
    shadow::{Shadow, ShadowAttack, attack},
};
use rldp_data::membership::{MemberRow, coins, read_membership};
use rldp_model::{Adapter, Sequence};
use rldp_train::{RecordFiles, evaluate::sequence, files};

use super::{
    attack::{Membership, Scored, scored},
    target::{Target, settings},
};
use crate::{cli::AuditArguments, exit::Wrong, models, progress::note};

/// Scores of n units with their coins.
struct Units {
    rows: Vec<MemberRow>,
    coins: Vec<bool>,
    records: Vec<ScoredRecord>,
}

/// Attacks the units of a run that was trained with `--hold-out-members`.
pub(super) fn audit_members(target: &mut Target, arguments: &AuditArguments, run: &Path) -> Result<Membership> {
    let Some(own) = target.settings.clone() else { anyhow::bail!("a run folder without settings was opened") };
    let units = units(target, run, &own.data.train)?;
    let scores = target.score("units", own.data.train.first(), &units.records)?;
    let scores = units.mean(&scores);
    let mut found: Vec<Scored> = Vec::new();
    for kind in ScoreKind::ALL {
        let values: Vec<f64> = scores.iter().map(|scores| scores.get(kind)).collect();
        found.push(scored(&kind, &values, &units.coins, arguments)?);
    }
    if !arguments.shadow.is_empty() {
        let target_log_probs: Vec<f64> = scores.iter().map(|scores| scores.get(ScoreKind::Loss)).collect();
        let shadows = shadows(target, arguments, &units, &own.data.train)?;
        for kind in ShadowAttack::ALL {
            let values = attack(kind, &target_log_probs, &shadows).map_err(Wrong::input)?;
            found.push(scored(&kind, &values, &units.coins, arguments)?);
        }
    }
    let members = units.coins.iter().filter(|coin| **coin).count();
    let one_run = match own.data.hold_out_members {
        Some(0.5) => Some(one_run(arguments, own.privacy.delta, &scores, &units.coins)?),
        _ => None,
    };
    let non_members = units.coins.len() - members;
    Ok(Membership { members, non_members, shadows: arguments.shadow.len(), scores: found, one_run })
}

/// Fair coins make every unit a canary of the audit of one run.
fn one_run(arguments: &AuditArguments, delta: f64, scores: &[RecordScores], coins: &[bool]) -> Result<OneRun> {
    let kind = ScoreKind::from(arguments.canary_score);
    let values: Vec<f64> = scores.iter().map(|scores| scores.get(kind)).collect();
    let settings = OneRunSettings {
        delta: arguments.delta.unwrap_or(delta),
        confidence: arguments.confidence,
        guesses: arguments.guesses,
        seed: arguments.seed,
    };
    Ok(audit_scores(&values, coins, &settings).map_err(Wrong::input)?)
}

fn units(target: &Target, run: &Path, train: &RecordFiles) -> Result<Units> {
    let (rows, coins) = read_coins(run)?;
    let mut records = Vec::new();
    for file in train.paths() {
        records.extend(target.read("units", file)?);
    }
    let mut by_row: Vec<Option<ScoredRecord>> = records.into_iter().map(Some).collect();
    let kept = rows.iter().map(|row| by_row.get_mut(row.row).and_then(Option::take));
    let Some(records) = kept.collect::<Option<Vec<ScoredRecord>>>() else {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{train} does not hold the rows that {} was trained on; it was changed since",
            run.display()
        )));
    };
    Ok(Units { rows, coins, records })
}

fn read_coins(run: &Path) -> Result<(Vec<MemberRow>, Vec<bool>)> {
    let path = run.join(files::PRIVATE).join(files::MEMBERSHIP);
    let rows = read_membership(&path).map_err(Wrong::input)?;
    let Some(coins) = coins(&rows) else {
        anyhow::bail!(Wrong::input(anyhow::anyhow!("{} does not hold one coin a unit; restore it", path.display())));
    };
    Ok((rows, coins))
}

impl Units {
    /// The mean score of each unit over its records.
    fn mean(&self, scores: &[RecordScores]) -> Vec<RecordScores> {
        let mut sums = vec![(RecordScores([0.0; 5]), 0.0); self.coins.len()];
        for (row, scores) in self.rows.iter().zip(scores) {
            let (sum, count) = &mut sums[row.unit];
            sum.0.iter_mut().zip(scores.0).for_each(|(sum, score)| *sum += score);
            *count += 1.0;
        }
        sums.into_iter().map(|(sum, count)| RecordScores(sum.0.map(|sum| sum / count))).collect()
    }

    /// The mean token log-probability of each unit, over its records, under an adapter.
    fn log_probs(&self, target: &mut Target, adapter: &Adapter) -> Result<Vec<f64>> {
        let blocks = self.records.iter().flat_map(|record| &record.blocks);
        let sequences: Vec<Sequence> = blocks.map(|block| sequence(block, 1.0)).collect();
        let losses = target.opened.engine.losses(Some(adapter), &sequences).map_err(Wrong::input)?;
        let mut losses = losses.into_iter();
        let score = |record: &ScoredRecord| {
            let of = losses.by_ref().take(record.blocks.len());
            let (nll, tokens) = of.fold((0.0, 0), |(nll, tokens), loss| (nll + loss.nll, tokens + loss.tokens));
            RecordScores([-nll / tokens.max(1) as f64; 5])
        };
        let scores: Vec<RecordScores> = self.records.iter().map(score).collect();
        Ok(self.mean(&scores).iter().map(|scores| scores.get(ScoreKind::Loss)).collect())
    }
}

/// Every shadow's log-probabilities and coins, of the same units.
fn shadows(target: &mut Target, arguments: &AuditArguments, units: &Units, train: &RecordFiles) -> Result<Vec<Shadow>> {
    let mut found = Vec::with_capacity(arguments.shadow.len());
    for (done, run) in arguments.shadow.iter().enumerate() {
        let other = settings(run)?;
        let (rows, included) = read_coins(run)?;
        let same = |mine: &MemberRow, theirs: &MemberRow| (mine.row, mine.unit) == (theirs.row, theirs.unit);
        let agrees = rows.len() == units.rows.len() && units.rows.iter().zip(&rows).all(|(a, b)| same(a, b));
        if other.data.train != *train || !agrees {
            anyhow::bail!(Wrong::input(anyhow::anyhow!(
                "{} is no shadow: it must be trained on {train} with the same units and with --hold-out-members",
                run.display()
            )));
        }
        let adapter = models::adapter(Some(&run.join(files::ADAPTER)), &target.opened.files)?;
        let Some(adapter) = adapter else { anyhow::bail!("an adapter was named but not loaded") };
        let log_probs = units.log_probs(target, &adapter)?;
        note("shadows", &format!("{} of {} runs", done + 1, arguments.shadow.len()));
        found.push(Shadow { log_probs, included });
    }
    Ok(found)
}
