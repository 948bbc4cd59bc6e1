//! Membership inference with shadow runs: RMIA (Zarifzadeh et al., arXiv 2312.03262) and LiRA (Carlini et al., arXiv
//! 2112.03570).
//!
//! A shadow run trains on the same records with coins of its own. Of every record the attacker thus knows how models
//! behave that were trained on it ("in") and that were not ("out").

use serde::Serialize;

use crate::error::{AuditError, require};

/// RMIA's a: the probability under in-models is taken for a·p + 1 − a, with p that under out-models. Its authors fit a near
/// 0.3 to classifiers, which are nearly certain of a member; a language model's token probabilities hardly move.
pub const OFFLINE_A: f64 = 1.0;
/// RMIA's γ: a record must be this many times likelier than one of the population to beat it.
pub const GAMMA: f64 = 1.0;
/// No confidence is taken for nearer to 0 or 1.
const EDGE: f64 = 1e-12;
/// Least deviation of a fitted Gaussian.
const LEAST_DEVIATION: f64 = 1e-9;

/// Which attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShadowAttack {
    /// LiRA by the ratio of in and out.
    LiraOnline,
    /// LiRA by out alone.
    LiraOffline,
    /// RMIA with in- and out-models.
    RmiaOnline,
    /// RMIA with out-models alone.
    RmiaOffline,
}

impl ShadowAttack {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LiraOnline, Self::LiraOffline, Self::RmiaOnline, Self::RmiaOffline];
}

/// One shadow run: of every record the mean token log-probability under its model, and whether it was trained on it.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// In nats (n).
    pub log_probs: Vec<f64>,
    /// The shadow's own coins (n).
    pub included: Vec<bool>,
}

/// Scores of n records, higher meaning member. `target` are their mean token log-probabilities under the attacked model.
///
/// A record without a single in-model (or out-model) is given the mean of its other side, moved by the mean difference
/// between the sides over the records that have both. RMIA's population are all other records: their membership is not
/// used. With γ = 1 RMIA orders records by their likelihood ratio; LiRA's Gaussians share one variance a side, which its
/// authors advise for fewer than some 64 shadows.
///
/// # Errors
/// When there is no shadow, lengths differ, or no record has models on both sides.
pub fn attack(kind: ShadowAttack, target: &[f64], shadows: &[Shadow]) -> Result<Vec<f64>, AuditError> {
    require(!shadows.is_empty(), "the number of shadow runs", 0.0, "at least 1", "give --shadow")?;
    for shadow in shadows {
        let lengths = [shadow.log_probs.len(), shadow.included.len()];
        let wrong = lengths.iter().find(|length| **length != target.len()).unwrap_or(&lengths[0]);
        let holds = *wrong == target.len();
        let remedy = "shadow runs must be of the same records";
        require(holds, "the number of records of a shadow", *wrong as f64, format!("{}", target.len()), remedy)?;
    }
    match kind {
        ShadowAttack::LiraOnline | ShadowAttack::LiraOffline => lira(kind, target, shadows),
        ShadowAttack::RmiaOnline | ShadowAttack::RmiaOffline => rmia(kind, target, shadows),
    }
}

/// A record's mean over in-models and over out-models.
struct Sides {
    inside: Vec<f64>,
    outside: Vec<f64>,
}

/// Means of `value` on both sides; missing ones are filled in.
fn sides(count: usize, shadows: &[Shadow], value: impl Fn(f64) -> f64) -> Result<Sides, AuditError> {
    let side = |record: usize, wanted: bool| {
        let of = shadows.iter().filter(|shadow| shadow.included[record] == wanted);
        let values: Vec<f64> = of.map(|shadow| value(shadow.log_probs[record])).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let found: Vec<(Option<f64>, Option<f64>)> = (0..count).map(|at| (side(at, true), side(at, false))).collect();
    let both: Vec<f64> = found.iter().filter_map(|(inside, outside)| Some((*inside)? - (*outside)?)).collect();
    let remedy = "give more shadow runs";
    require(!both.is_empty(), "the number of records with models on both sides", 0.0, "at least 1", remedy)?;
    let shift = both.iter().sum::<f64>() / both.len() as f64;
    let filled = |(inside, outside): &(Option<f64>, Option<f64>)| match (inside, outside) {
        (Some(inside), Some(outside)) => (*inside, *outside),
        (Some(inside), None) => (*inside, inside - shift),
        (None, Some(outside)) => (outside + shift, *outside),
        (None, None) => unreachable!("every record is in or out of some shadow run, and there is one"),
    };
    let (inside, outside) = found.iter().map(filled).unzip();
    Ok(Sides { inside, outside })
}

/// log(p / (1 − p)) of the mean token probability p.
fn logit(log_prob: f64) -> f64 {
    let p = log_prob.exp().clamp(EDGE, 1.0 - EDGE);
    (p / (1.0 - p)).ln()
}

fn lira(kind: ShadowAttack, target: &[f64], shadows: &[Shadow]) -> Result<Vec<f64>, AuditError> {
    let sides = sides(target.len(), shadows, logit)?;
    let deviation = |wanted: bool, means: &[f64]| {
        let each = shadows.iter().flat_map(|shadow| {
            let records = means.iter().enumerate().filter(move |(at, _)| shadow.included[*at] == wanted);
            records.map(|(at, mean)| (logit(shadow.log_probs[at]) - mean).powi(2))
        });
        let squares: Vec<f64> = each.collect();
        (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt().max(LEAST_DEVIATION)
    };
    let (of_in, of_out) = (deviation(true, &sides.inside), deviation(false, &sides.outside));
    let log_density = |x: f64, mean: f64, std: f64| -0.5 * ((x - mean) / std).powi(2) - std.ln();
    let score = |(at, log_prob): (usize, &f64)| {
        let x = logit(*log_prob);
        let outside = (x - sides.outside[at]) / of_out;
        match kind {
            // The distribution function at this point is LiRA's score; its argument orders records alike, without rounding.
            ShadowAttack::LiraOffline => outside,
            _ => log_density(x, sides.inside[at], of_in) - log_density(x, sides.outside[at], of_out),
        }
    };
    Ok(target.iter().enumerate().map(score).collect())
}

fn rmia(kind: ShadowAttack, target: &[f64], shadows: &[Shadow]) -> Result<Vec<f64>, AuditError> {
    let sides = sides(target.len(), shadows, f64::exp)?;
    let ratio = |(at, log_prob): (usize, &f64)| {
        let marginal = match kind {
            ShadowAttack::RmiaOffline => 0.5 * ((1.0 + OFFLINE_A) * sides.outside[at] + 1.0 - OFFLINE_A),
            _ => 0.5 * (sides.inside[at] + sides.outside[at]),
        };
        log_prob.exp() / marginal.max(EDGE)
    };
    let ratios: Vec<f64> = target.iter().enumerate().map(ratio).collect();
    let mut sorted = ratios.clone();
    sorted.sort_by(f64::total_cmp);
    let others = (ratios.len() - 1).max(1) as f64;
    // Every record but the one itself, which always beats itself at γ = 1.
    let beaten = |ratio: &f64| (sorted.partition_point(|other| other * GAMMA <= *ratio) - 1) as f64 / others;
    Ok(ratios.iter().map(beaten).collect())
}
