//! How far planted secrets can be read back: exposure by rank, and greedy extraction.

use rldp_data::TextTokenizer;
use rldp_model::{
    Adapter,
    cpu::CpuEngine,
    generate::{GenerateOptions, Sampling, generate},
};
use serde::Serialize;

use crate::error::{AuditError, require};

/// Exposure of a group of canaries, in bits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exposure {
    /// Canaries of the group.
    pub canaries: usize,
    /// Mean.
    pub mean: f64,
    /// Median, the upper one of an even number.
    pub median: f64,
    /// Largest.
    pub largest: f64,
}

/// Exposure of each canary by its rank among fresh candidates of the same kind, which were never planted.
///
/// log2(n + 1) − log2(rank), where rank is 1 plus the number of the n candidates that score at least as high
/// (arXiv 1802.08232 with a sample of the space of secrets). The empirical distribution is used as it is, nothing is
/// fitted: no exposure is above log2(n + 1). A canary that was not included has a uniform rank and a mean of about
/// 1/ln 2 = 1.44 bits.
///
/// # Errors
/// When there are no candidates.
pub fn exposures(canaries: &[f64], candidates: &[f64]) -> Result<Vec<f64>, AuditError> {
    let count = candidates.len();
    require(count > 0, "the number of candidates", count as f64, "at least 1", "give a larger --candidates")?;
    let mut sorted = candidates.to_vec();
    sorted.sort_by(f64::total_cmp);
    let largest = ((count + 1) as f64).log2();
    let exposure = |score: &f64| {
        let above = count - sorted.partition_point(|candidate| candidate < score);
        largest - ((above + 1) as f64).log2()
    };
    Ok(canaries.iter().map(exposure).collect())
}

/// Sums up the exposures of a group; `None` when it is empty.
pub fn summary(mut exposures: Vec<f64>) -> Option<Exposure> {
    exposures.sort_by(f64::total_cmp);
    let canaries = exposures.len();
    let largest = *exposures.last()?;
    let mean = exposures.iter().sum::<f64>() / canaries as f64;
    let median = f64::midpoint(exposures[(canaries - 1) / 2], exposures[canaries / 2]);
    Some(Exposure { canaries, mean, median, largest })
}

/// Whether the likeliest continuation of `prefix` begins with `secret`.
///
/// # Errors
/// When the prefix cannot be tokenized or the engine refuses it.
pub fn extracted(
    engine: &CpuEngine,
    adapter: &Adapter,
    tokenizer: &TextTokenizer,
    prefix: &str,
    secret: &str,
) -> Result<bool, AuditError> {
    let prompt = tokenizer.encode(prefix, true)?;
    // Any tokenization of the secret has at most one token a byte.
    let options = GenerateOptions {
        max_new_tokens: secret.len() + 1,
        sampling: Sampling::GREEDY,
        seed: 0,
        stop_tokens: Vec::new(),
    };
    let tokens = generate(engine, Some(adapter), &prompt, &options)?;
    Ok(tokenizer.decode(&tokens)?.trim_start().starts_with(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_is_the_rank_in_bits() {
        let candidates = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        // Above all; a tie counts against the canary; below all.
        assert_eq!(exposures(&[9.0, 6.0, -1.0, 3.5], &candidates).unwrap(), [3.0, 2.0, 0.0, 1.0]);
        let found = summary(vec![0.0, 3.0, 1.5]).unwrap();
        assert_eq!(found, Exposure { canaries: 3, mean: 1.5, median: 1.5, largest: 3.0 });
        assert_eq!(summary(Vec::new()), None);
        assert!(exposures(&[1.0], &[]).unwrap_err().to_string().contains("--candidates"));
    }
}
