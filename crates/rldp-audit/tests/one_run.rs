//! The bounds of one run: exact on hand-computed cases, sound in simulation, and tight as canaries grow.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution as _, StandardNormal};
use rldp_audit::{
    guesses::{OneRunSettings, audit_scores},
    one_run::{Counts, epsilon_lower_bound, mu_lower_bound, p_value, refutes_trade_off},
};

fn counts(canaries: usize, guesses: usize, correct: usize) -> Counts {
    Counts { canaries, guesses, correct }
}

#[test]
fn p_values_by_hand() {
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-8, "{found} for {expected}");
    // Two fair coins, both right.
    close(p_value(counts(10, 2, 2), 0.0, 0.0), 0.25);
    // The delta term: max(1/2 / 1, 3/4 / 2) = 1/2, times 2·10·0.01.
    close(p_value(counts(10, 2, 2), 0.0, 0.01), 0.35);
    // Chance e^ε/(1 + e^ε) = 3/4: three of three, and at least two of three.
    close(p_value(counts(3, 3, 3), 3.0_f64.ln(), 0.0), 27.0 / 64.0);
    close(p_value(counts(3, 3, 2), 3.0_f64.ln(), 0.0), 54.0 / 64.0);
    close(p_value(counts(5, 3, 0), 1.0, 0.0), 1.0);
}

#[test]
fn impossible_counts_are_refused() {
    for wrong in [counts(5, 6, 1), counts(5, 4, 5), counts(5, 0, 0)] {
        assert!(epsilon_lower_bound(wrong, 0.0, 0.05).is_err() && mu_lower_bound(wrong, 0.05).is_err());
    }
    assert!(epsilon_lower_bound(counts(5, 4, 3), 1.0, 0.05).is_err());
    assert!(epsilon_lower_bound(counts(5, 4, 3), 0.0, 0.0).is_err());
}

/// Correct guesses about m coins that were each told truly with chance e^ε/(1 + e^ε).
fn randomized_response(m: usize, epsilon: f64, rng: &mut ChaCha12Rng) -> usize {
    let chance = 1.0 / (1.0 + (-epsilon).exp());
    (0..m).filter(|_| rng.random_bool(chance)).count()
}

/// Randomized response attains the theorem, so false alarms come at nearly their full rate of 5 %: more than 7.5 % of
/// 2000 runs happen with probability below 1e-6, fewer than 2 % with probability below 1e-9 for a true rate of 3.8 %.
#[test]
fn the_bound_on_epsilon_is_sound_for_randomized_response_and_not_wasteful() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let epsilon = 1.0;
    let false_alarms = (0..2000).filter(|_| {
        let correct = randomized_response(150, epsilon, &mut rng);
        p_value(counts(150, 150, correct), epsilon, 0.0) <= 0.05
    });
    let rate = false_alarms.count() as f64 / 2000.0;
    assert!((0.02..0.075).contains(&rate), "{rate}");
}

#[test]
fn bounds_grow_towards_the_truth() {
    let mut rng = ChaCha12Rng::seed_from_u64(2);
    for epsilon in [0.5, 2.0, 4.0] {
        let bounds: Vec<f64> = [100, 1_000, 10_000, 100_000]
            .map(|m| epsilon_lower_bound(counts(m, m, randomized_response(m, epsilon, &mut rng)), 0.0, 0.01).unwrap())
            .to_vec();
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{bounds:?}");
        assert!(bounds[3] > 0.95 * epsilon && bounds[3] <= epsilon, "{bounds:?}");
    }
}

/// Scores of a Gaussian mechanism: μ apart, unit variance.
fn gaussian(m: usize, mu: f64, rng: &mut ChaCha12Rng) -> (Vec<f64>, Vec<bool>) {
    let included: Vec<bool> = (0..m).map(|_| rng.random()).collect();
    let noise = |rng: &mut ChaCha12Rng| -> f64 { StandardNormal.sample(rng) };
    let scores = included.iter().map(|included| f64::from(u8::from(*included)) * mu + noise(rng)).collect();
    (scores, included)
}

fn settings(guesses: Option<usize>, confidence: f64) -> OneRunSettings {
    OneRunSettings { delta: 1e-5, confidence, guesses, seed: 1 }
}

/// At confidence 95 % at most 5 % of runs may exceed the truth; more than 10 % of 300 then happen with probability below
/// 1e-3 for a bound that only just holds, and the bound has room.
#[test]
fn the_bound_on_mu_is_sound_and_grows_with_the_canaries() {
    let mut rng = ChaCha12Rng::seed_from_u64(3);
    let mut bound = |m: usize, guesses: Option<usize>| {
        let (scores, included) = gaussian(m, 1.0, &mut rng);
        audit_scores(&scores, &included, &settings(guesses, 0.95)).unwrap().gdp_mu
    };
    let above = (0..300).filter(|_| bound(400, Some(40)) > 1.0).count();
    assert!(above <= 30, "{above} of 300 runs proved more than the truth");
    let bounds = [bound(300, None), bound(3_000, None), bound(30_000, None)];
    assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{bounds:?}");
    assert!(bounds[2] > 0.65 && bounds[2] <= 1.0, "{bounds:?}");
}

/// The worst case for counting: with probability delta everything is told, else nothing. Then P[V = m] is at least delta,
/// and neither bound may claim that it is less.
#[test]
fn a_mechanism_that_tells_everything_rarely_is_not_refuted() {
    for delta in [0.001, 0.02, 0.1] {
        for (m, guesses) in [(100, 100), (1000, 50), (40, 1)] {
            let all = counts(m, guesses, guesses);
            assert!(p_value(all, 0.0, delta) >= delta);
            assert!(!refutes_trade_off(all, delta * 0.999, |power| (power - delta).max(0.0)));
        }
    }
    // With much less of delta than the significance, the same counts do refute it.
    assert!(refutes_trade_off(counts(100, 100, 100), 0.05, |power| (power - 1e-6).max(0.0)));
}

/// For randomized response the trade-off theorem holds too: with its exact f, false alarms stay within 5 % (2000 runs,
/// more than 7.5 % with probability below 1e-6).
#[test]
fn the_trade_off_bound_is_sound_for_randomized_response() {
    let mut rng = ChaCha12Rng::seed_from_u64(4);
    let epsilon = 1.0_f64;
    let inverse = |power: f64| (power * (-epsilon).exp()).max(1.0 - (1.0 - power) * epsilon.exp()).max(0.0);
    let false_alarms = (0..2000).filter(|_| {
        let correct = randomized_response(150, epsilon, &mut rng);
        refutes_trade_off(counts(150, 150, correct), 0.05, inverse)
    });
    let rate = false_alarms.count() as f64 / 2000.0;
    assert!(rate < 0.075, "{rate}");
}

/// A file that lists included canaries first must not turn ties into correct guesses. Each of 200 audits may prove
/// something with probability 1 %; more than 12 do so with probability below 1e-6.
#[test]
fn equal_scores_prove_nothing_whatever_the_order_of_the_file() {
    let included: Vec<bool> = (0..200).map(|index| index < 100).collect();
    let proving = (0..200).filter(|seed| {
        let settings = OneRunSettings { seed: *seed, ..settings(None, 0.99) };
        audit_scores(&[0.5; 200], &included, &settings).unwrap().epsilon > 0.0
    });
    let proving = proving.count();
    assert!(proving <= 12, "{proving}");
}

#[test]
fn a_grid_costs_confidence() {
    let (scores, included) = gaussian(2_000, 3.0, &mut ChaCha12Rng::seed_from_u64(5));
    let grid = audit_scores(&scores, &included, &settings(None, 0.95)).unwrap();
    let best = grid.tried.iter().max_by(|a, b| a.epsilon.total_cmp(&b.epsilon)).unwrap().guesses;
    let fixed = audit_scores(&scores, &included, &settings(Some(best), 0.95)).unwrap();
    assert!(fixed.epsilon > grid.epsilon && grid.epsilon > 0.0, "{} {}", fixed.epsilon, grid.epsilon);
    let refused = audit_scores(&scores, &included, &settings(Some(7), 0.95)).unwrap_err().to_string();
    assert!(refused.contains("guesses is 7") && refused.contains("even"), "{refused}");
}
