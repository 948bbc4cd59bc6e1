//! The logs as a channel: of many runs, each with one canary by its own coin, which ones trained on it?
//!
//! One coin a run is the audit of one run applied to all runs together: joined, they are one mechanism with as many
//! canaries as runs, and each coin is covered by its own run's promise. The attacker learns from half of the runs, whose
//! coins it is told, and guesses the others: their coins stay independent of all it knows but their own runs.

use crate::error::{AuditError, require};

/// Scores of the runs to be guessed, the odd-numbered ones, by a linear discriminant learned on the even-numbered ones.
///
/// `features` holds a row of the same numbers for every run. The discriminant weighs each number by its difference
/// between the classes over its pooled variance, as if numbers were independent; there are rarely runs enough to learn
/// more. A number that is constant on both classes but differs between them decides alone.
///
/// # Errors
/// When rows differ in length, a number is not finite, there are fewer than 4 runs to learn from, or these have one coin.
pub fn discriminate(features: &[Vec<f64>], coins: &[bool]) -> Result<(Vec<f64>, Vec<bool>), AuditError> {
    let runs = features.len();
    let remedy = "give every run one row of numbers and one coin";
    require(runs == coins.len(), "the number of runs", runs as f64, format!("{}", coins.len()), remedy)?;
    require(runs >= 8, "the number of runs", runs as f64, "at least 8", "train more runs")?;
    let width = features[0].len();
    for (row, numbers) in features.iter().enumerate() {
        let remedy = "runs must have the same settings";
        let bound = format!("{width}, as in the first run");
        require(numbers.len() == width, "the number of numbers of a run", numbers.len() as f64, bound, remedy)?;
        if let Some(value) = numbers.iter().find(|value| !value.is_finite()) {
            return Err(AuditError::NotFinite { row: row + 1, value: *value });
        }
    }
    let taught = |wanted: bool| -> Vec<&Vec<f64>> {
        features.iter().zip(coins).step_by(2).filter(|(_, coin)| **coin == wanted).map(|(row, _)| row).collect()
    };
    let (with, without) = (taught(true), taught(false));
    for class in [&with, &without] {
        let count = class.len();
        require(count >= 2, "runs of one coin to learn from", count as f64, "at least 2", "train more runs")?;
    }
    let weights: Vec<(f64, f64)> = (0..width).map(|at| weight(&column(&with, at), &column(&without, at))).collect();
    let score = |row: &Vec<f64>| row.iter().zip(&weights).map(|(x, (middle, weight))| (x - middle) * weight).sum();
    Ok((features.iter().skip(1).step_by(2).map(score).collect(), coins.iter().skip(1).step_by(2).copied().collect()))
}

fn column(rows: &[&Vec<f64>], at: usize) -> Vec<f64> {
    rows.iter().map(|row| row[at]).collect()
}

/// Middle between two classes, and the weight of a number's distance from it.
fn weight(with: &[f64], without: &[f64]) -> (f64, f64) {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (one, two) = (mean(with), mean(without));
    let scatter = |values: &[f64], mean: f64| values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let degrees = (with.len() + without.len() - 2).max(1) as f64;
    let variance = (scatter(with, one) + scatter(without, two)) / degrees;
    let difference = one - two;
    // The floor is relative: rounding noise is no scatter.
    let floor = (1e-9 * difference.abs().max(1e-12 * one.abs().max(two.abs()))).powi(2).max(f64::MIN_POSITIVE);
    (0.5 * (one + two), difference / variance.max(floor))
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;
    use crate::guesses::{OneRunSettings, audit_scores};

    fn runs(shift: f64, rng: &mut ChaCha12Rng) -> (Vec<Vec<f64>>, Vec<bool>) {
        let coins: Vec<bool> = (0..400).map(|_| rng.random()).collect();
        let row = |coin: &bool, rng: &mut ChaCha12Rng| -> Vec<f64> {
            let mut noise = || -> f64 { StandardNormal.sample(rng) };
            vec![noise(), noise() + shift * f64::from(u8::from(*coin)), 7.0]
        };
        let features = coins.iter().map(|coin| row(coin, rng)).collect();
        (features, coins)
    }

    /// Of 100 guesses about logs that tell nothing, the bound stays at zero but with probability 1e-4.
    #[test]
    fn a_shift_is_found_and_noise_is_not() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let settings = OneRunSettings { delta: 0.0, confidence: 0.9999, guesses: Some(100), seed: 1 };
        let mut bound = |shift: f64| {
            let (features, coins) = runs(shift, &mut rng);
            let (scores, coins) = discriminate(&features, &coins).unwrap();
            assert_eq!(scores.len(), 200);
            audit_scores(&scores, &coins, &settings).unwrap().epsilon
        };
        assert_eq!(bound(0.0), 0.0);
        assert!(bound(6.0) > 2.0);
    }

    #[test]
    fn a_number_that_gives_the_coin_away_decides() {
        let coins: Vec<bool> = (0..12).map(|run| run % 3 == 0).collect();
        let features: Vec<Vec<f64>> =
            coins.iter().enumerate().map(|(run, coin)| vec![run as f64, if *coin { 1.5 } else { 1.0 }]).collect();
        let (scores, rest) = discriminate(&features, &coins).unwrap();
        assert!(scores.iter().zip(rest).all(|(score, coin)| (*score > 0.0) == coin), "{scores:?}");
        assert!(discriminate(&features[..4], &coins[..4]).is_err());
        let mut ragged = features.clone();
        ragged[3].pop();
        assert!(discriminate(&ragged, &coins).is_err());
        ragged[3].push(f64::NAN);
        assert!(discriminate(&ragged, &coins).is_err());
    }
}
