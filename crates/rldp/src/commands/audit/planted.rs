//! Planted canaries: bounds of one run, exposure, extraction.

use std::path::Path;

use anyhow::Result;
use rldp_audit::{
    canaries::{Kind, canaries},
    canary_file::{PlantedCanary, read_canaries},
    exposure::{Exposure, exposures, extracted, summary},
    guesses::{OneRun, OneRunSettings, audit_scores},
    mechanism::coins,
    score::{RecordScores, ScoreKind},
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
    pub(super) scores: Vec<Scored>,
    pub(super) one_run: OneRun,
    candidates: usize,
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

pub(super) fn audit_planted(target: &mut Target, arguments: &AuditArguments, path: &Path) -> Result<Planted> {
    let planted = read_canaries(path).map_err(Wrong::input)?;
    let Some(delta) = arguments.delta.or_else(|| target.settings.as_ref().map(|run| run.privacy.delta)) else {
        anyhow::bail!(Wrong::usage(anyhow::anyhow!("give --delta, the delta of the claim, or a run folder")));
    };
    let texts: Vec<&str> = planted.iter().map(|canary| canary.text.as_str()).collect();
    let found = target.score_texts("canaries", path, &texts)?;
    let kind = ScoreKind::from(arguments.canary_score);
    let coins: Vec<bool> = planted.iter().map(|canary| canary.included).collect();
    let scores: Vec<f64> = found.iter().map(|scores| scores.get(kind)).collect();
    let settings =
        OneRunSettings { delta, confidence: arguments.confidence, guesses: arguments.guesses, seed: arguments.seed };
    let one_run = audit_scores(&scores, &coins, &settings).map_err(Wrong::input)?;
    let split = |wanted: bool| -> Vec<RecordScores> {
        found.iter().zip(&coins).filter(|(_, included)| **included == wanted).map(|(scores, _)| *scores).collect()
    };
    let (included, excluded) = (split(true), split(false));
    let separated = if included.is_empty() || excluded.is_empty() {
        note("note", "all canaries have the same coin: there is nothing to tell apart");
        Vec::new()
    } else {
        separations(&included, &excluded, arguments)?
    };
    let mut result = Planted {
        canary_score: kind,
        scores: separated,
        one_run,
        candidates: 0,
        exposure_included: None,
        exposure_excluded: None,
        extracted: None,
    };
    if let Some(secrets) = same_kind(&planted) {
        let fresh = fresh_scores(target, arguments, secrets)?;
        let of = |group: &[RecordScores]| -> Result<Option<Exposure>> {
            let scores: Vec<f64> = group.iter().map(|scores| scores.get(kind)).collect();
            Ok(summary(exposures(&scores, &fresh).map_err(Wrong::input)?))
        };
        result.candidates = fresh.len();
        result.exposure_included = of(&included)?;
        result.exposure_excluded = of(&excluded)?;
        result.extracted = Some(extract(target, &planted)?);
    }
    Ok(result)
}

/// The kind of all canaries, when they have one.
fn same_kind(planted: &[PlantedCanary]) -> Option<Kind> {
    let mut kinds = planted.iter().map(|canary| canary.secret.as_ref().map(|(kind, _)| *kind));
    let first = kinds.next().flatten()?;
    if kinds.all(|kind| kind == Some(first)) {
        return Some(first);
    }
    note("note", "the canaries are of several kinds: exposure and extraction need a file of one kind");
    None
}

/// Scores of canaries that nobody planted.
fn fresh_scores(target: &mut Target, arguments: &AuditArguments, kind: Kind) -> Result<Vec<f64>> {
    // The stream differs from that of `rldp audit canaries --seed`, whose canaries they must not repeat.
    let mut rng = coins(Some(arguments.seed)).map_err(Wrong::input)?;
    rng.set_stream(1);
    let fresh = canaries(arguments.candidates, kind, &mut rng).map_err(Wrong::input)?;
    let texts: Vec<&str> = fresh.iter().map(|canary| canary.text.as_str()).collect();
    let scores = target.score_texts("candidates", Path::new("candidates"), &texts)?;
    let kind = ScoreKind::from(arguments.canary_score);
    Ok(scores.iter().map(|scores| scores.get(kind)).collect())
}

fn extract(target: &Target, planted: &[PlantedCanary]) -> Result<Extracted> {
    let engine = CpuEngine::new(&target.opened.files, CpuOptions::default()).map_err(Wrong::input)?;
    let mut found = Extracted::default();
    for (done, canary) in planted.iter().enumerate() {
        let Some((_, prefix)) = &canary.secret else { continue };
        let secret = canary.text[prefix.len()..].trim_start();
        let hit =
            extracted(&engine, &target.adapter, &target.opened.tokenizer, prefix, secret).map_err(Wrong::input)?;
        let count = if canary.included { &mut found.included } else { &mut found.excluded };
        *count += usize::from(hit);
        if (done + 1).is_multiple_of(100) {
            note("extraction", &format!("{} of {} canaries", done + 1, planted.len()));
        }
    }
    Ok(found)
}
