//! What a model says about each token of a record.

/// The log-probability of one scored token, and its mean and deviation when the token is drawn from the model instead.
///
/// A function of a record: no `Debug`, so that it cannot be printed by accident.
#[derive(Clone, Copy)]
pub struct TokenStats {
    /// log p(token | before), in nats.
    pub log_prob: f64,
    /// E log p(X | before) with X from the model: minus its entropy.
    pub mean: f64,
    /// Standard deviation of log p(X | before).
    pub deviation: f64,
}

/// Statistics of the tokens at the scored positions, from the logits (T, V) of the whole sequence.
///
/// # Panics
/// When there are not T · V logits, or position 0 is scored: a defect of the caller.
pub fn token_stats(logits: &[f32], tokens: &[u32], scored: impl Iterator<Item = usize>) -> Vec<TokenStats> {
    if tokens.is_empty() {
        return Vec::new();
    }
    assert_eq!(logits.len() % tokens.len(), 0, "logits are (T, V)");
    let vocab = logits.len() / tokens.len();
    scored.map(|at| position(&logits[(at - 1) * vocab..at * vocab], tokens[at] as usize)).collect()
}

fn position(logits: &[f32], token: usize) -> TokenStats {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    // Moments of logits below the largest, whose deviation is that of log-probabilities: one exponential each.
    let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
    for logit in logits {
        let below = f64::from(*logit) - largest;
        let power = below.exp();
        // A token of probability zero adds nothing, although its logarithm is infinite.
        if power > 0.0 {
            sum += power;
            first += power * below;
            second += power * below * below;
        }
    }
    let (mean, log_sum) = (first / sum, sum.ln());
    TokenStats {
        log_prob: f64::from(logits[token]) - largest - log_sum,
        mean: mean - log_sum,
        deviation: (second / sum - mean * mean).max(0.0).sqrt(),
    }
}
