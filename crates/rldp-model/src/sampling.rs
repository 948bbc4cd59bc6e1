//! How the next token follows from logits.

use rand::Rng;

/// Which tokens may follow, and how likely each is. The rules and their order are those of the transformers library: penalty,
/// temperature, top-p, min-p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token; otherwise logits are divided by it before sampling.
    pub temperature: f64,
    /// Samples among the likeliest tokens whose probabilities sum to at least this.
    pub top_p: f64,
    /// Samples among tokens of at least this part of the likeliest one's probability.
    pub min_p: f64,
    /// Logits of tokens that stand in the text already are divided by it, negative ones multiplied.
    pub repetition_penalty: f64,
}

impl Sampling {
    /// The likeliest token, always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0 };

    /// The next token after `text` (T), from its logits (V).
    pub(crate) fn next(&self, logits: &[f32], text: &[u32], rng: &mut impl Rng) -> u32 {
        let logits = self.penalized(logits, text);
        let best = logits.iter().enumerate().fold(0, |best, (i, logit)| if *logit > logits[best] { i } else { best });
        if self.temperature <= 0.0 {
            return best as u32;
        }
        let weights = self.weights(&logits, logits[best]);
        let mut left = rng.random_range(0.0..1.0) * weights.iter().sum::<f64>();
        for (token, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            left -= weight;
            if left <= 0.0 {
                return token as u32;
            }
        }
        best as u32
    }

    fn penalized(&self, logits: &[f32], text: &[u32]) -> Vec<f64> {
        let penalty = self.repetition_penalty;
        let mut scores: Vec<f64> = logits.iter().copied().map(f64::from).collect();
        if penalty != 1.0 {
            let mut seen = text.to_vec();
            seen.sort_unstable();
            seen.dedup();
            for token in seen {
                if let Some(score) = scores.get_mut(token as usize) {
                    *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
                }
            }
        }
        scores
    }

    /// Weights of all tokens (V), in units of the likeliest one's; zero for those that may not follow.
    fn weights(&self, logits: &[f64], highest: f64) -> Vec<f64> {
        let mut weights: Vec<f64> = logits.iter().map(|logit| ((logit - highest) / self.temperature).exp()).collect();
        if self.top_p < 1.0 {
            let mut order: Vec<usize> = (0..weights.len()).collect();
            order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
            let enough = self.top_p * weights.iter().sum::<f64>();
            let mut sum = 0.0;
            for token in order {
                // The token with which the sum is enough still counts, and the likeliest one always does.
                if sum > 0.0 && sum >= enough {
                    weights[token] = 0.0;
                } else {
                    sum += weights[token];
                }
            }
        }
        weights.iter_mut().filter(|weight| **weight < self.min_p).for_each(|weight| *weight = 0.0);
        weights
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha12Rng;

    use super::*;

    /// ln of 0.5, 0.3, 0.15, 0.05.
    const LOGITS: [f32; 4] = [-std::f32::consts::LN_2, -1.203_972_8, -1.897_12, -2.995_732_3];

    fn allowed(sampling: Sampling) -> Vec<usize> {
        let logits: Vec<f64> = LOGITS.iter().copied().map(f64::from).collect();
        let weights = sampling.weights(&logits, logits[0]);
        weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0).map(|(token, _)| token).collect()
    }

    #[test]
    fn tails_are_cut_where_the_rules_say() {
        let warm = Sampling { temperature: 1.0, ..Sampling::GREEDY };
        assert_eq!(allowed(warm), [0, 1, 2, 3]);
        assert_eq!(allowed(Sampling { top_p: 0.79, ..warm }), [0, 1]);
        assert_eq!(allowed(Sampling { top_p: 0.81, ..warm }), [0, 1, 2]);
        assert_eq!(allowed(Sampling { top_p: 0.0, ..warm }), [0]);
        assert_eq!(allowed(Sampling { min_p: 0.29, ..warm }), [0, 1, 2]);
        assert_eq!(allowed(Sampling { min_p: 0.31, ..warm }), [0, 1]);
        assert_eq!(allowed(Sampling { min_p: 0.31, temperature: 2.0, ..warm }), [0, 1, 2, 3], "warmer is flatter");
    }

    #[test]
    fn what_was_said_is_less_likely() {
        let mut rng = ChaCha12Rng::seed_from_u64(0);
        let penalty = Sampling { repetition_penalty: 2.0, ..Sampling::GREEDY };
        assert_eq!(Sampling::GREEDY.next(&LOGITS, &[0], &mut rng), 0);
        assert_eq!(penalty.next(&LOGITS, &[0, 0], &mut rng), 1, "-0.69 becomes -1.39, once");
        assert_eq!(penalty.next(&[2.0, 1.5], &[0], &mut rng), 1, "2 becomes 1");
        assert_eq!(penalty.next(&[2.0, 0.5], &[0, 9], &mut rng), 0);
    }

    /// 20,000 draws: each frequency within four deviations, so the seed passes unless one in 8,000 seeds would not.
    #[test]
    fn draws_have_the_probabilities_of_the_logits() {
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let warm = Sampling { temperature: 1.0, ..Sampling::GREEDY };
        let mut counts = [0_u32; 4];
        (0..20_000).for_each(|_| counts[warm.next(&LOGITS, &[], &mut rng) as usize] += 1);
        for (count, probability) in counts.iter().zip([0.5, 0.3, 0.15, 0.05]) {
            let deviation: f64 = (20_000.0_f64 * probability * (1.0 - probability)).sqrt();
            assert!((f64::from(*count) - 20_000.0 * probability).abs() < 4.0 * deviation, "{counts:?}");
        }
    }
}
