//! What every controller must keep, whoever wrote it.

#![allow(clippy::unwrap_used)] // helpers of tests

use rldp_control::{
    Action, ActionBounds, ControlError, Controller, ControllerKind, GlobalObservation, NormHistogram, Observation,
    PairObservation, SacSettings, StateFormat, controller,
};
use rldp_privacy::{Choice as _, Observable, Public};

const PAIRS: usize = 5;

fn seen(value: f64) -> Observable {
    Public::declare(value).into()
}

/// An observation that differs by `tag`; `extreme` pushes every field far out of its usual range.
fn observation(tag: f64, extreme: bool) -> Observation {
    let value = |x: f64| seen(if extreme { 1e12 * (x - 0.5) } else { (x + tag).sin() });
    Observation {
        global: GlobalObservation {
            step_fraction: value(0.1),
            budget_fraction: value(0.2),
            snr: value(0.3),
            persistence: value(0.35),
            evidence: value(0.38),
            loss: value(0.4),
            loss_change: value(0.6),
            log_noise_multiplier: value(0.7),
            log_learning_rate_gain: value(0.72),
            log_momentum: value(0.74),
            log_averaging: value(0.76),
            last_reward: value(0.8),
            noise_energy: value(0.9),
        },
        pairs: (0..PAIRS)
            .map(|k| {
                let k = k as f64;
                PairObservation {
                    snr: value(k),
                    momentum_cosine: value(k + 0.1),
                    previous_cosine: value(k + 0.2),
                    drift: value(k + 0.3),
                    clip_fraction: value(k + 0.4),
                    log_clip_norm: value(k + 0.6),
                    log_share: value(k + 0.7),
                    log_step_gain: value(k + 0.75),
                    spectral_tail: value(k + 0.8),
                }
            })
            .collect(),
        norms: Some(NormHistogram {
            middles: vec![0.5, 1.5, 3.0],
            uppers: vec![1.0, 2.0, 4.0],
            unit: 0.1,
            fractions: (0_u8..3).map(|bin| value(f64::from(bin))).collect(),
        }),
    }
}

fn build(kind: ControllerKind, seed: u64) -> Box<dyn Controller> {
    controller(kind, PAIRS, 12, &SacSettings::default(), seed).unwrap()
}

fn play(controller: &mut dyn Controller, from: usize, rounds: usize) -> Vec<Action> {
    let reward = |round: usize| (round > 0).then(|| seen((round as f64).cos()));
    (from..from + rounds).map(|round| controller.act(&observation(round as f64, false), reward(round), false)).collect()
}

fn flat(action: &Action) -> Vec<f64> {
    let mut all = action.clip_log_delta.clone();
    all.extend(&action.share_log_delta);
    all.extend(&action.step_log_delta);
    all.extend([action.noise_log_delta, action.learning_rate_log_gain, action.momentum_log_delta]);
    all.extend([action.averaging_log_delta, action.stop_delta]);
    all
}

#[test]
fn actions_are_finite_and_within_bounds_even_for_extreme_observations() {
    let bounds = ActionBounds::default();
    for &kind in ControllerKind::ALL {
        let mut controller = build(kind, 1);
        for round in 0..30 {
            let action = controller.act(&observation(0.0, round % 3 == 0), Some(seen(1e9)), round == 29);
            assert_eq!(action.clip_log_delta.len(), PAIRS);
            assert!(flat(&action).iter().all(|value| value.is_finite()), "{kind}: {action:?}");
            // DC-SGD sets thresholds instead of moving them; the mechanism bounds where to.
            let set = kind.needs_norms();
            assert!(set || action.clip_log_delta.iter().all(|value| value.abs() <= bounds.clip));
            assert!(action.share_log_delta.iter().all(|value| value.abs() <= bounds.share));
            assert!(action.noise_log_delta.abs() <= bounds.noise);
            assert!(action.step_log_delta.iter().all(|value| value.abs() <= bounds.step));
            assert!(action.learning_rate_log_gain.abs() <= bounds.learning_rate);
            assert!(action.momentum_log_delta.abs() <= bounds.momentum);
            assert!(action.averaging_log_delta.abs() <= bounds.averaging && action.stop_delta.abs() <= bounds.stop);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_actions_and_another_seed_others() {
    for &kind in ControllerKind::ALL {
        let once = play(build(kind, 7).as_mut(), 0, 20);
        assert_eq!(once, play(build(kind, 7).as_mut(), 0, 20), "{kind}");
        if matches!(kind, ControllerKind::Random | ControllerKind::Sac) {
            assert_ne!(once, play(build(kind, 8).as_mut(), 0, 20), "{kind}");
        }
    }
}

#[test]
fn a_saved_state_goes_on_to_the_bit_in_every_format() {
    for &kind in ControllerKind::ALL {
        let mut whole = build(kind, 3);
        play(whole.as_mut(), 0, 15);
        let others = [StateFormat::Json, StateFormat::MessagePack].map(|format| {
            let mut other = build(kind, 99);
            other.restore(format, &whole.state(format).unwrap()).unwrap();
            other
        });
        let goes_on = play(whole.as_mut(), 15, 10);
        for mut other in others {
            assert_eq!(goes_on, play(other.as_mut(), 15, 10), "{kind}");
        }
    }
}

/// A checkpoint may be damaged on purpose, with a right checksum: each byte of a small state is changed and each end cut.
#[test]
fn no_spoiled_bytes_make_a_controller_panic() {
    let small = SacSettings { hidden_size: 2, batch_size: 1, replay_capacity: 1, ..SacSettings::default() };
    for kind in [ControllerKind::Sac, ControllerKind::Random, ControllerKind::SnrShares] {
        let make = || controller(kind, 1, 12, &small, 3).unwrap();
        let mut whole = make();
        whole.act(&Observation::filled(1, || seen(0.5)), None, false);
        whole.act(&Observation::filled(1, || seen(0.25)), Some(seen(0.1)), false);
        let bytes = whole.state(StateFormat::MessagePack).unwrap();
        let mut refused = 0;
        for at in 0..bytes.len() {
            assert!(make().restore(StateFormat::MessagePack, &bytes[..at]).is_err(), "{kind} cut at {at}");
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                let mut second = make();
                match second.restore(StateFormat::MessagePack, &changed) {
                    Ok(()) => drop(second.act(&Observation::filled(1, || seen(0.5)), None, false)),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 20, "{kind}: {refused} of {}", 3 * bytes.len());
    }
}

#[test]
fn a_state_of_another_kind_or_size_is_refused() {
    let sac = build(ControllerKind::Sac, 1).state(StateFormat::Json).unwrap();
    let error = build(ControllerKind::Fixed, 1).restore(StateFormat::Json, &sac).unwrap_err().to_string();
    assert!(error.contains("`sac` controller, not `fixed`"), "{error}");
    let mut larger = controller(ControllerKind::Sac, PAIRS + 1, 12, &SacSettings::default(), 1).unwrap();
    let error = larger.restore(StateFormat::Json, &sac).unwrap_err().to_string();
    assert!(error.contains("pairs"), "{error}");
}

/// A frozen policy is a function of what it sees: its state stays, the same observation gives the same action, whoever's
/// stream it has, and another policy gives another.
#[test]
fn a_frozen_policy_neither_learns_nor_explores() {
    let mut learned = build(ControllerKind::Sac, 5);
    play(learned.as_mut(), 0, 15);
    let state = parsed(learned.as_ref());
    let mut frozen = build(ControllerKind::Sac, 6);
    restore(frozen.as_mut(), &state).unwrap();
    frozen.freeze().unwrap();
    let first = frozen.act(&observation(3.0, false), None, false);
    let before = parsed(frozen.as_ref())["body"]["agent"].clone();
    play(frozen.as_mut(), 0, 10);
    assert_eq!(frozen.act(&observation(3.0, false), Some(seen(1.0)), false), first);
    assert_eq!(parsed(frozen.as_ref())["body"]["agent"], before);
    assert_eq!(parsed(frozen.as_ref())["body"]["replay"], state["body"]["replay"]);
    let mut other = build(ControllerKind::Sac, 6);
    other.freeze().unwrap();
    assert_ne!(other.act(&observation(3.0, false), None, false), first);
    let refused = build(ControllerKind::Fixed, 1).freeze().unwrap_err().to_string();
    assert!(refused.contains("`fixed` learns no policy"), "{refused}");
}

#[test]
fn unknown_names_are_refused_with_the_list() {
    let error = "sacc".parse::<ControllerKind>().unwrap_err().clone();
    assert!(error.contains("sacc") && error.contains("fixed, random, sac, set"), "{error}");
}

fn parsed(controller: &dyn Controller) -> serde_json::Value {
    serde_json::from_slice(&controller.state(StateFormat::Json).unwrap()).unwrap()
}

fn restore(controller: &mut dyn Controller, state: &serde_json::Value) -> Result<(), ControlError> {
    controller.restore(StateFormat::Json, &serde_json::to_vec(state).unwrap())
}

/// All changes of one value of a JSON tree, at most `most` places.
fn spoiled(state: &serde_json::Value, most: usize) -> Vec<serde_json::Value> {
    let mut paths = vec![String::new()];
    let mut at = 0;
    while at < paths.len() {
        let here = paths[at].clone();
        match state.pointer(&here) {
            Some(serde_json::Value::Object(map)) => paths.extend(map.keys().map(|key| format!("{here}/{key}"))),
            // The ends of a list stand for all of it.
            Some(serde_json::Value::Array(list)) if !list.is_empty() => {
                paths.extend([0, list.len() - 1].map(|index| format!("{here}/{index}")));
            }
            _ => {}
        }
        at += 1;
    }
    assert!(paths.len() < most, "{}", paths.len());
    let wrong = [
        serde_json::json!(null),
        0.into(),
        (-1).into(),
        u64::MAX.into(),
        1e308.into(),
        "x".into(),
        serde_json::json!([]),
    ];
    let change = |path: &String| {
        wrong.clone().map(|value| {
            let mut changed = state.clone();
            *changed.pointer_mut(path).unwrap() = value;
            changed
        })
    };
    let shorter = |path: &String| {
        let mut changed = state.clone();
        changed.pointer_mut(path)?.as_array_mut()?.pop()?;
        Some(changed)
    };
    paths.iter().flat_map(change).chain(paths.iter().filter_map(shorter)).collect()
}

/// A saved policy may come from anybody: whatever is wrong with it is refused, or harmless.
#[test]
fn no_spoiled_state_makes_a_controller_panic() {
    let small = SacSettings { hidden_size: 3, batch_size: 2, replay_capacity: 4, ..SacSettings::default() };
    let mut refused = 0;
    for &kind in ControllerKind::ALL {
        let make = || controller(kind, PAIRS, 12, &small, 3).unwrap();
        let mut whole = make();
        play(whole.as_mut(), 0, 8);
        for state in spoiled(&parsed(whole.as_ref()), 2000) {
            let mut second = make();
            match restore(second.as_mut(), &state) {
                Ok(()) => drop(play(second.as_mut(), 8, 3)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
