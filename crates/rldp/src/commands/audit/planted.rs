//! Planted canaries: bounds of one run, exposure, extraction.

use std::path::Path;

use anyhow::Result;
use rldp_audit::{
    exposure::{Exposure, exposures, extracted, summary},
    guesses::{OneRun, OneRunSettings, audit_scores},
    mechanism::coins,
    score::{RecordScores, ScoreKind},
};
use rldp_data::{
    canaries::{Kind, canaries},
    canary_file::{PlantedCanary, read_canaries},
};
use rldp_model::cpu::{CpuEngine, CpuOptions};
use serde::Serialize;

use super::{
    attack::{Scored, separations},
    target::Target,
};
use crate::{cli::AuditArguments, exit::Wrong, progress::note};

/// What the canaries showed.
#[derive(Serialize)]
pub(super) struct Planted {
    /// The score that ranks canaries for bounds and exposure.
    canary_score: ScoreKind,
    pub(super) canaries: usize,
    pub(super) included: usize,
    candidates: usize,
    /// Over all canaries.
    pub(super) scores: Vec<Scored>,
    /// Canaries that stand in equally many units.
    pub(super) groups: Vec<Group>,
}

/// Canaries in as many units each. Their bounds are about groups of that many units; in one unit each, about the claim.
#[derive(Serialize)]
pub(super) struct Group {
    pub(super) units: usize,
    pub(super) scores: Vec<Scored>,
    pub(super) one_run: OneRun,
    pub(super) exposure_included: Option<Exposure>,
    pub(super) exposure_excluded: Option<Exposure>,
    pub(super) extracted: Option<Extracted>,
}

/// Secrets that greedy decoding from their prefix gave away.
#[derive(Default, Serialize)]
pub(super) struct Extracted {
    pub(super) included: usize,
    pub(super) excluded: usize,
}

/// A canary with its scores, and its exposure in bits when its kind is known.
struct Attacked<'a> {
    canary: &'a PlantedCanary,
    scores: RecordScores,
    exposure: Option<f64>,
}

/// Of a group with fewer nothing can be told.
const FEWEST_CANARIES: usize = 2;

pub(super) fn audit_planted(target: &mut Target, arguments: &AuditArguments, path: &Path) -> Result<Planted> {
    let planted = read_canaries(path).map_err(Wrong::input)?;
    let Some(delta) = arguments.delta.or_else(|| target.settings.as_ref().map(|run| run.privacy.delta)) else {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!("give --delta, the delta of the claim, or a run folder")));
    };
    let texts: Vec<&str> = planted.iter().map(|canary| canary.text.as_str()).collect();
    let scores = target.score_texts("canaries", path, &texts)?;
    let whole = |(canary, scores): (_, &RecordScores)| Attacked { canary, scores: *scores, exposure: None };
    let mut attacked: Vec<Attacked> = planted.iter().zip(&scores).map(whole).collect();
    let candidates = expose(target, arguments, &mut attacked)?;
    let mut sizes: Vec<usize> = planted.iter().map(|canary| canary.units).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut groups = Vec::with_capacity(sizes.len());
    for units in sizes {
        let members: Vec<&Attacked> = attacked.iter().filter(|attacked| attacked.canary.units == units).collect();
        if members.len() < FEWEST_CANARIES {
            note("note", &format!("one canary alone stands in {units} units: no bound follows from it; plant more"));
            continue;
        }
        groups.push(group(target, arguments, delta, units, &members)?);
    }
    Ok(Planted {
        canary_score: arguments.canary_score.into(),
        canaries: planted.len(),
        included: planted.iter().filter(|canary| canary.included).count(),
        candidates,
        scores: told_apart(&attacked.iter().collect::<Vec<_>>(), arguments)?,
        groups,
    })
}

fn group(
    target: &Target,
    arguments: &AuditArguments,
    delta: f64,
    units: usize,
    members: &[&Attacked],
) -> Result<Group> {
    let kind = ScoreKind::from(arguments.canary_score);
    let coins: Vec<bool> = members.iter().map(|member| member.canary.included).collect();
    let scores: Vec<f64> = members.iter().map(|member| member.scores.get(kind)).collect();
    let settings =
        OneRunSettings { delta, confidence: arguments.confidence, guesses: arguments.guesses, seed: arguments.seed };
    let one_run = audit_scores(&scores, &coins, &settings).map_err(Wrong::input)?;
    let exposure = |included: bool| {
        let of = members.iter().filter(|member| member.canary.included == included);
        summary(of.filter_map(|member| member.exposure).collect())
    };
    Ok(Group {
        units,
        scores: told_apart(members, arguments)?,
        one_run,
        exposure_included: exposure(true),
        exposure_excluded: exposure(false),
        extracted: extract(target, members)?,
    })
}

fn told_apart(members: &[&Attacked], arguments: &AuditArguments) -> Result<Vec<Scored>> {
    let coins: Vec<bool> = members.iter().map(|member| member.canary.included).collect();
    if coins.iter().all(|coin| *coin == coins[0]) {
        note("note", "all canaries of a group have the same coin: there is nothing to tell apart");
        return Ok(Vec::new());
    }
    separations(&members.iter().map(|member| member.scores).collect::<Vec<_>>(), &coins, arguments)
}

/// Ranks every canary whose kind is known among fresh ones of that kind; how many of each there are.
fn expose(target: &mut Target, arguments: &AuditArguments, attacked: &mut [Attacked]) -> Result<usize> {
    let score = ScoreKind::from(arguments.canary_score);
    let mut candidates = 0;
    for kind in Kind::ALL {
        let of_kind = |one: &Attacked| one.canary.secret.as_ref().is_some_and(|(own, _)| *own == kind);
        if !attacked.iter().any(of_kind) {
            continue;
        }
        let fresh = fresh_scores(target, arguments, kind)?;
        candidates = fresh.len();
        for one in attacked.iter_mut().filter(|one| of_kind(one)) {
            one.exposure = exposures(&[one.scores.get(score)], &fresh).map_err(Wrong::input)?.pop();
        }
    }
    Ok(candidates)
}

/// Scores of canaries that nobody planted.
fn fresh_scores(target: &mut Target, arguments: &AuditArguments, kind: Kind) -> Result<Vec<f64>> {
    // The stream differs from that of `rldp audit canaries --seed`, whose canaries they must not repeat.
    let mut rng = coins(Some(arguments.seed)).map_err(Wrong::input)?;
    rng.set_stream(1);
    let fresh = canaries(arguments.candidates, &[kind], &[1], &mut rng).map_err(Wrong::input)?;
    let texts: Vec<&str> = fresh.iter().map(|canary| canary.text.as_str()).collect();
    let scores = target.score_texts("candidates", Path::new("candidates"), &texts)?;
    let kind = ScoreKind::from(arguments.canary_score);
    Ok(scores.iter().map(|scores| scores.get(kind)).collect())
}

/// `None` when no canary of the group has a prefix to decode from.
fn extract(target: &Target, members: &[&Attacked]) -> Result<Option<Extracted>> {
    if members.iter().all(|member| member.canary.secret.is_none()) {
        return Ok(None);
    }
    let engine = CpuEngine::new(&target.opened.files, CpuOptions::default()).map_err(Wrong::input)?;
    let mut found = Extracted::default();
    for (done, Attacked { canary, .. }) in members.iter().enumerate() {
        let Some((_, prefix)) = &canary.secret else { continue };
        let secret = canary.text[prefix.len()..].trim_start();
        let hit =
            extracted(&engine, &target.adapter, &target.opened.tokenizer, prefix, secret).map_err(Wrong::input)?;
        let count = if canary.included { &mut found.included } else { &mut found.excluded };
        *count += usize::from(hit);
        if (done + 1).is_multiple_of(100) {
            note("extraction", &format!("{} of {} canaries", done + 1, members.len()));
        }
    }
    Ok(Some(found))
}
