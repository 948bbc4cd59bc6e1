//! From scores of canaries to guesses, and from guesses to bounds.

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;
use serde::Serialize;

use crate::{
    error::{AuditError, require},
    one_run::{Counts, epsilon_lower_bound, epsilon_of_mu, mu_lower_bound},
};

/// Shares of the canaries that are guessed when no number of guesses was fixed; each pays its part of the significance.
pub const GRID: [f64; 5] = [0.02, 0.1, 0.25, 0.5, 1.0];

/// How an audit of one run is made.
#[derive(Clone, Copy, Debug)]
pub struct OneRunSettings {
    /// δ at which ε is bounded.
    pub delta: f64,
    /// Of every bound that is reported.
    pub confidence: f64,
    /// k+ + k−, fixed before the scores were seen; without it [`GRID`] is tried at the Bonferroni price.
    pub guesses: Option<usize>,
    /// Orders canaries with equal scores.
    pub seed: u64,
}

/// What one run proves.
#[derive(Clone, Debug, Serialize)]
pub struct OneRun {
    /// m.
    pub canaries: usize,
    /// How many of them were included.
    pub included: usize,
    /// δ.
    pub delta: f64,
    /// Confidence of each of the two bounds, after the price of the grid.
    pub confidence: f64,
    /// Lower bound on ε for any mechanism (arXiv 2305.08846).
    pub epsilon: f64,
    /// Lower bound on μ under the hypothesis that the mechanism is μ-GDP.
    pub gdp_mu: f64,
    /// ε of that μ.
    pub gdp_epsilon: f64,
    /// Every number of guesses that was tried.
    pub tried: Vec<Tried>,
}

/// One number of guesses.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// r.
    pub guesses: usize,
    /// V.
    pub correct: usize,
    /// Bound on ε by it.
    pub epsilon: f64,
    /// Bound on μ by it.
    pub gdp_mu: f64,
}

/// Audits one run: the canaries with the highest scores are guessed to be included, as many with the lowest excluded.
///
/// Canaries with equal scores are ordered by a random permutation: their order in a file may follow the coins, and a
/// guess must not. Bounds on ε and on μ are two statements, each of which holds with the stated confidence.
///
/// # Errors
/// When lengths differ, a score is not finite, or a setting is out of range.
pub fn audit_scores(scores: &[f64], included: &[bool], settings: &OneRunSettings) -> Result<OneRun, AuditError> {
    let m = scores.len();
    let remedy = "give every canary one score and one coin";
    require(m == included.len(), "the number of scores", m as f64, format!("{}", included.len()), remedy)?;
    require(m >= 2, "the number of canaries", m as f64, "at least 2", "plant more canaries")?;
    let inside = settings.confidence > 0.0 && settings.confidence < 1.0;
    require(inside, "the confidence", settings.confidence, "strictly between 0 and 1", "0.95 is usual")?;
    if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
        return Err(AuditError::NotFinite { row: row + 1, value: scores[row] });
    }
    let sizes = settings.guesses.map_or_else(|| grid(m), |guesses| vec![guesses]);
    let significance = (1.0 - settings.confidence) / sizes.len() as f64;
    let order = ranked(scores, settings.seed);
    let mut tried = Vec::with_capacity(sizes.len());
    for guesses in sizes {
        let bound = format!("even, at least 2 and at most the number of canaries, {m}");
        let holds = guesses % 2 == 0 && (2..=m).contains(&guesses);
        require(holds, "the number of guesses", guesses as f64, bound, "half of them are guessed included")?;
        let half = guesses / 2;
        let hits = order[..half].iter().filter(|index| included[**index]).count();
        let misses = order[m - half..].iter().filter(|index| !included[**index]).count();
        let counts = Counts { canaries: m, guesses, correct: hits + misses };
        let epsilon = epsilon_lower_bound(counts, settings.delta, significance)?;
        tried.push(Tried { guesses, correct: counts.correct, epsilon, gdp_mu: mu_lower_bound(counts, significance)? });
    }
    let most = |of: fn(&Tried) -> f64| tried.iter().map(of).fold(0.0, f64::max);
    let gdp_mu = most(|tried| tried.gdp_mu);
    Ok(OneRun {
        canaries: m,
        included: included.iter().filter(|included| **included).count(),
        delta: settings.delta,
        confidence: settings.confidence,
        epsilon: most(|tried| tried.epsilon),
        gdp_mu,
        gdp_epsilon: epsilon_of_mu(gdp_mu, settings.delta),
        tried,
    })
}

/// Even numbers of guesses for the shares of [`GRID`]; they depend on m only.
fn grid(m: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = GRID.iter().map(|share| (((m as f64 * share / 2.0) as usize) * 2).max(2)).collect();
    sizes.dedup();
    sizes
}

/// Indices by falling score, equal ones in random order.
fn ranked(scores: &[f64], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.shuffle(&mut ChaCha12Rng::seed_from_u64(seed));
    // Adding zero turns -0 into 0, which is equal to it.
    order.sort_by(|a, b| (scores[*b] + 0.0).total_cmp(&(scores[*a] + 0.0)));
    order
}
