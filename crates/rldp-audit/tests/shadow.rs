//! RMIA and LiRA against an independent computation in Python (`testdata/shadow.py`), and on shadows that know.

#![allow(clippy::unwrap_used)] // helpers of tests

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution as _, StandardNormal};
use rldp_audit::{
    roc::separation,
    shadow::{Shadow, ShadowAttack, attack},
};
use serde_json::Value;
use statrs::distribution::{ContinuousCDF as _, Normal};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn every_attack_agrees_with_python() {
    let golden: Value = serde_json::from_str(include_str!("../testdata/shadow.json")).unwrap();
    let rows = |name: &str| golden[name].as_array().unwrap().clone();
    let coins = |row: &Value| row.as_array().unwrap().iter().map(|coin| coin.as_bool().unwrap()).collect();
    let shadows: Vec<Shadow> = rows("shadows")
        .iter()
        .zip(&rows("coins"))
        .map(|(log_probs, row)| Shadow { log_probs: numbers(log_probs), included: coins(row) })
        .collect();
    let target = numbers(&golden["target"]);
    for kind in ShadowAttack::ALL {
        let mut found = attack(kind, &target, &shadows).unwrap();
        if kind == ShadowAttack::LiraOffline {
            // The paper's score is the distribution function of ours.
            found.iter_mut().for_each(|score| *score = Normal::standard().cdf(*score));
        }
        let name = serde_json::to_value(kind).unwrap();
        for (found, expected) in found.iter().zip(numbers(&golden[name.as_str().unwrap()])) {
            assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{kind:?}: {found} for {expected}");
        }
    }
}

/// Records differ far more in difficulty than by membership: the loss alone is near chance, shadows take the difficulty away.
/// With 300 records an AUC of chance has deviation 0.033; the bounds are six of them away from 0.5 and from each other.
#[test]
fn shadows_tell_what_the_loss_alone_cannot() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let count = 300;
    let difficulty: Vec<f64> = (0..count).map(|_| rng.random_range(-4.0..-1.0)).collect();
    let model = |rng: &mut ChaCha12Rng| -> Shadow {
        let included: Vec<bool> = (0..count).map(|_| rng.random()).collect();
        let mut log_prob = |at: usize| {
            let noise: f64 = StandardNormal.sample(rng);
            difficulty[at] + 0.1 * f64::from(u8::from(included[at])) + 0.03 * noise
        };
        let log_probs = (0..count).map(&mut log_prob).collect();
        Shadow { log_probs, included }
    };
    let target = model(&mut rng);
    let shadows: Vec<Shadow> = (0..8).map(|_| model(&mut rng)).collect();
    let auc = |scores: &[f64]| {
        let of = |wanted: bool| -> Vec<f64> {
            scores.iter().zip(&target.included).filter(|(_, coin)| **coin == wanted).map(|(score, _)| *score).collect()
        };
        separation(&of(true), &of(false), 10, 1).unwrap().auc
    };
    assert!(auc(&target.log_probs) < 0.7);
    for kind in ShadowAttack::ALL {
        let found = auc(&attack(kind, &target.log_probs, &shadows).unwrap());
        assert!(found > 0.9, "{kind:?}: {found}");
    }
}

#[test]
fn shadows_that_do_not_fit_are_refused() {
    let shadow = |count: usize, coin: bool| Shadow { log_probs: vec![-1.0; count], included: vec![coin; count] };
    let refused =
        |shadows: &[Shadow]| attack(ShadowAttack::RmiaOnline, &[-1.0, -2.0], shadows).unwrap_err().to_string();
    assert!(refused(&[]).contains("--shadow"));
    assert!(refused(&[shadow(3, true)]).contains("same records"));
    assert!(refused(&[shadow(2, true)]).contains("both sides"));
}
