//! Properties that every accountant must have, over random plans, and the corners of the parameter space.

use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rldp_privacy::accounting::{
    Accountant, AccountantKind, AccountingError, Adaptivity, Adjacency, Event, GdpAccountant, PldAccountant,
    RdpAccountant, accountant, calibrate_noise_multiplier, calibrate_sampling_rate, calibrate_steps, events_under,
};

/// What a PLD epsilon may exceed the true one by: the default grid's 1.3e-4 over many steps, more for one or two.
const PLD_BAND: f64 = 1e-3;
/// Search tolerance and rounding of epsilons that carry no grid.
const EXACT: f64 = 1e-9;

/// A few cases with a fixed seed: the same plans on every machine.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        rng_seed: RngSeed::Fixed(20_260_206),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Log-uniform in a range.
fn log_uniform(low: f64, high: f64) -> impl Strategy<Value = f64> {
    (low.ln()..high.ln()).prop_map(f64::exp)
}

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![8 => log_uniform(1e-4, 0.9), 1 => Just(1.0)]
}

fn noise() -> impl Strategy<Value = f64> {
    log_uniform(0.5, 8.0)
}

fn steps() -> impl Strategy<Value = u64> {
    log_uniform(1.0, 20_000.0).prop_map(|steps| steps as u64)
}

fn delta() -> impl Strategy<Value = f64> {
    log_uniform(1e-12, 1e-3)
}

/// Each accountant that covers the plan, with the room its monotonicity in q and z needs.
fn accountants(q: f64) -> Vec<(Box<dyn Accountant>, f64)> {
    let mut all = vec![(accountant(AccountantKind::Pld), PLD_BAND), (accountant(AccountantKind::Rdp), EXACT)];
    if q == 1.0 {
        all.push((accountant(AccountantKind::Gdp), EXACT));
    }
    all
}

/// Whether `small` is at most `large`, up to a relative `room`.
fn at_most(small: f64, large: f64, room: f64) -> bool {
    small <= large * (1.0 + room) + 1e-12
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn epsilon_rises_with_q_and_falls_with_z(
        q in rate(), z in noise(), steps in steps(), delta in delta(), factor in 1.0..2.0_f64,
    ) {
        for (accountant, room) in accountants(q) {
            let at = |q: f64, z: f64| accountant.epsilon(&[Event::new(q, z, steps)], delta).unwrap();
            let here = at(q, z);
            prop_assert!(at_most(at(q, z * factor), here, room), "{} falls with z", accountant.name());
            if q < 1.0 {
                prop_assert!(at_most(at(q / factor, z), here, room), "{} rises with q", accountant.name());
            }
        }
    }

    #[test]
    fn epsilon_rises_with_steps_and_falls_with_delta(
        q in rate(), z in noise(), steps in steps(), delta in delta(), more in 1_u64..100, factor in 1.0..100.0_f64,
    ) {
        for (accountant, _) in accountants(q) {
            let at = |steps, delta| accountant.epsilon(&[Event::new(q, z, steps)], delta).unwrap();
            let here = at(steps, delta);
            // The grid does not depend on the number of steps or on delta; what is charged for errors does.
            prop_assert!(at_most(here, at(steps + more, delta), 2e-6), "{} rises with T", accountant.name());
            prop_assert!(at_most(at(steps, delta * factor), here, 2e-6), "{} falls with delta", accountant.name());
        }
    }

    #[test]
    fn order_and_splitting_do_not_matter(
        q in rate(), noises in prop::collection::vec(noise(), 1..5), steps in 2..2000_u64, delta in delta(),
        cut in 0.0..1.0_f64,
    ) {
        let whole: Vec<Event> = noises.iter().map(|&z| Event::new(q, z, steps)).collect();
        let part = (cut * steps as f64) as u64;
        let mut split: Vec<Event> = noises.iter().rev().map(|&z| Event::new(q, z, part)).collect();
        split.extend(noises.iter().map(|&z| Event::new(q, z, steps - part)));
        for (accountant, _) in accountants(q) {
            let (one, other) = (accountant.epsilon(&whole, delta).unwrap(), accountant.epsilon(&split, delta).unwrap());
            prop_assert_eq!(one, other, "{}", accountant.name());
        }
    }

    #[test]
    fn the_bounds_enclose_what_the_others_prove(
        q in rate(), noises in prop::collection::vec(noise(), 1..3), steps in steps(), delta in delta(),
    ) {
        let events: Vec<Event> = noises.iter().map(|&z| Event::new(q, z, steps)).collect();
        let bounds = PldAccountant::default().bounds(&events, delta).unwrap();
        prop_assert!(bounds.lower <= bounds.upper, "{bounds:?}");
        prop_assert!(bounds.upper <= bounds.lower * 1.02 + 1e-4, "{bounds:?}");
        let rdp = RdpAccountant.epsilon(&events, delta).unwrap();
        prop_assert!(rdp >= bounds.lower, "RDP proves {rdp}, below the lower bound of {bounds:?}");
        if q == 1.0 {
            let exact = GdpAccountant.epsilon(&events, delta).unwrap();
            prop_assert!(bounds.lower <= exact && exact <= bounds.upper, "{exact} is outside {bounds:?}");
        }
    }

    #[test]
    fn full_batches_agree_with_the_closed_form(
        noises in prop::collection::vec(log_uniform(0.3, 50.0), 1..6), steps in steps(), delta in delta(),
    ) {
        let events: Vec<Event> = noises.iter().map(|&z| Event::new(1.0, z, steps)).collect();
        let exact = GdpAccountant.epsilon(&events, delta).unwrap();
        let pld = PldAccountant::default().epsilon(&events, delta).unwrap();
        prop_assert!(pld >= exact * (1.0 - EXACT), "PLD {pld} is below the exact {exact}");
        prop_assert!(pld <= exact * (1.0 + PLD_BAND) + 1e-9, "PLD {pld} is far above the exact {exact}");
    }

    #[test]
    fn delta_and_epsilon_are_inverse(q in rate(), z in noise(), steps in steps(), delta in delta()) {
        let events = [Event::new(q, z, steps)];
        for (accountant, _) in accountants(q) {
            let epsilon = accountant.epsilon(&events, delta).unwrap();
            let back = accountant.delta(&events, epsilon).unwrap();
            // Both are upper bounds of one curve, from windows of their own.
            prop_assert!(back <= delta * (1.0 + 1e-3), "{}: {delta} to {epsilon} to {back}", accountant.name());
        }
    }
}

proptest! {
    #![proptest_config(cases(10))]

    #[test]
    fn calibrated_noise_meets_the_target(
        kind in prop_oneof![Just(AccountantKind::Pld), Just(AccountantKind::Rdp), Just(AccountantKind::Gdp)],
        epsilon in log_uniform(0.1, 20.0), delta in delta(), q in log_uniform(1e-3, 0.5), steps in steps(),
    ) {
        let q = if kind == AccountantKind::Gdp { 1.0 } else { q };
        let found = calibrate_noise_multiplier(kind, epsilon, delta, q, steps).unwrap();
        let again = accountant(kind).epsilon(&[Event::new(q, found.noise_multiplier, steps)], delta).unwrap();
        prop_assert_eq!(again, found.epsilon);
        prop_assert!(again <= epsilon && again >= epsilon - 1e-4, "{again} for {epsilon}: {found:?}");
    }

    #[test]
    fn calibrated_steps_are_the_last_that_fit(
        kind in prop_oneof![Just(AccountantKind::Pld), Just(AccountantKind::Rdp)],
        epsilon in log_uniform(0.5, 10.0), delta in delta(), q in log_uniform(1e-3, 0.1), z in log_uniform(1.5, 4.0),
    ) {
        let found = calibrate_steps(kind, epsilon, delta, q, z);
        let at = |steps| accountant(kind).epsilon(&[Event::new(q, z, steps)], delta).unwrap();
        match found {
            Ok(found) => prop_assert!(at(found.steps) <= epsilon && at(found.steps + 1) > epsilon, "{found:?}"),
            Err(_) => prop_assert!(at(1) > epsilon),
        }
    }

    #[test]
    fn calibrated_rates_meet_the_target(
        kind in prop_oneof![Just(AccountantKind::Pld), Just(AccountantKind::Rdp)],
        epsilon in log_uniform(0.2, 10.0), delta in delta(), z in log_uniform(0.8, 4.0), steps in 10..5000_u64,
    ) {
        let found = calibrate_sampling_rate(kind, epsilon, delta, z, steps).unwrap();
        let again = accountant(kind).epsilon(&[Event::new(found.sampling_rate, z, steps)], delta).unwrap();
        prop_assert!(again <= epsilon, "{again} for {epsilon}: {found:?}");
        prop_assert!(found.sampling_rate == 1.0 || again >= epsilon - 2e-4 * epsilon.max(1.0), "{again}: {found:?}");
    }
}

/// Distinct segments of the same range of noise.
fn distinct(count: u64) -> Vec<Event> {
    let noise = |i: u64| 0.8 + 1.2 * i as f64 / count as f64;
    (0..count).map(|i| Event::new(0.01, noise(i), 1 + u64::from(i % 3 == 0))).collect()
}

/// By the clock, against ten times fewer of them on the same machine: work that grows with the square would take a hundred times as long.
#[test]
fn thousands_of_distinct_segments_compose_fast() {
    let composed = |count| {
        let (events, start) = (distinct(count), Instant::now());
        let both =
            [&PldAccountant::default() as &dyn Accountant, &RdpAccountant].map(|kind| kind.epsilon(&events, 1e-5));
        (both.map(Result::unwrap), start.elapsed())
    };
    let (_, few) = composed(300);
    let ([pld, rdp], took) = composed(3000);
    assert!(pld < rdp && rdp < 1.2 * pld, "PLD {pld}, RDP {rdp}");
    // Between the plans whose noise is everywhere the largest and the smallest of the segments'.
    let at = |z: f64| PldAccountant::default().epsilon(&[Event::new(0.01, z, 4000)], 1e-5).unwrap();
    assert!(at(2.0) < pld && pld < at(0.8), "{pld}");
    assert!(took < 40 * few, "3000 distinct segments took {took:?}, 300 of them {few:?}");
}

#[test]
fn the_corners_are_covered() {
    for (q, z, steps, delta) in [
        (1e-6, 1.0, 1000, 1e-5),
        (1e-8, 0.5, 1, 1e-12),
        (1.0, 0.3, 1, 1e-12),
        (1.0, 0.3, 1_000_000, 1e-5),
        (0.5, 0.3, 100, 1e-12),
        (0.01, 0.3, 1, 1e-5),
        (0.999, 1.0, 10, 1e-6),
        (0.01, 1.0, 1, 1e-12),
        (1e-3, 2.0, 1_000_000, 1e-6),
        (0.2, 300.0, 1_000_000, 1e-9),
        (1.0, 0.1, 10, 1e-5),
        (0.999_999, 0.2, 10, 1e-8),
        (0.9, 1.0, 1000, 1e-11),
        (0.01, 1e6, 10, 1e-5),
    ] {
        let events = [Event::new(q, z, steps)];
        let bounds = PldAccountant::default().bounds(&events, delta).unwrap();
        let rdp = RdpAccountant.epsilon(&events, delta).unwrap();
        let label = format!("q {q}, z {z}, T {steps}, delta {delta}: {bounds:?}, RDP {rdp}");
        assert!(bounds.upper.is_finite() && bounds.lower >= 0.0 && bounds.lower <= bounds.upper, "{label}");
        assert!(bounds.upper <= bounds.lower * 1.02 + 1e-4, "{label}");
        assert!(rdp.is_finite() && rdp >= bounds.lower, "{label}");
    }
}

#[test]
fn more_steps_than_any_grid_holds_cost_what_the_moments_prove() {
    let events = [Event::new(0.2, 300.0, 1 << 50)];
    let (pld, rdp) = (PldAccountant::default().epsilon(&events, 1e-9), RdpAccountant.epsilon(&events, 1e-9));
    let (pld, rdp) = (pld.unwrap(), rdp.unwrap());
    assert!(pld <= rdp * (1.0 + 1e-3) && pld > 0.9 * rdp, "PLD {pld}, RDP {rdp}");
}

/// The refusal's words.
fn refusal<T: std::fmt::Debug>(result: Result<T, AccountingError>) -> String {
    result.expect_err("this must be refused").to_string()
}

#[test]
fn what_is_not_covered_is_refused_by_name() {
    let subsampled = Event::new(0.01, 1.0, 10);
    let full = Event::new(1.0, 1.0, 10);
    let kinds = [AccountantKind::Pld, AccountantKind::Rdp, AccountantKind::Gdp];
    for kind in kinds {
        let accountant = accountant(kind);
        let event = if kind == AccountantKind::Gdp { full } else { subsampled };
        accountant.supports(&event, Adjacency::AddRemove, Adaptivity::Committed).unwrap();
        accountant.supports(&event, Adjacency::ZeroOut, Adaptivity::Committed).unwrap();
        accountant.supports(&full, Adjacency::ReplaceOne, Adaptivity::Committed).unwrap();
        let words = refusal(accountant.supports(&subsampled, Adjacency::ReplaceOne, Adaptivity::Committed));
        assert!(words.contains("replace-one") && words.contains("0.01"), "{words}");
        let words = refusal(accountant.supports(&event, Adjacency::AddRemove, Adaptivity::AdaptiveParameters));
        assert!(words.contains(&kind.to_string()) && words.contains("filter"), "{words}");
    }
    let words = refusal(GdpAccountant.epsilon(&[subsampled], 1e-5));
    assert!(words.contains("gdp") && words.contains("use pld"), "{words}");
}

#[test]
fn replace_one_costs_twice_the_sensitivity() {
    let events = events_under(Adjacency::ReplaceOne, &[Event::new(1.0, 2.0, 7)]).unwrap();
    assert_eq!(events, [Event::new(1.0, 1.0, 7)]);
    // P8 of the peers' pitfalls: z = 1 for 100 steps is epsilon 284.4 under replace-one, not 96.
    let events = events_under(Adjacency::ReplaceOne, &[Event::new(1.0, 1.0, 100)]).unwrap();
    let epsilon = PldAccountant::default().epsilon(&events, 1e-5).unwrap();
    assert!((epsilon - 284.4).abs() < 0.1, "{epsilon}");
    let plain = [Event::new(1.0, 1.0, 100)];
    for kind in [AccountantKind::Pld, AccountantKind::Rdp, AccountantKind::Gdp] {
        let accountant = accountant(kind);
        let under = |adjacency| accountant.epsilon_under(adjacency, &plain, 1e-5).unwrap();
        assert!(under(Adjacency::ReplaceOne) > 284.0 && under(Adjacency::AddRemove) < 97.0);
        assert_eq!(under(Adjacency::ZeroOut), under(Adjacency::AddRemove));
        let subsampled = [Event::new(0.5, 1.0, 100)];
        assert!(accountant.epsilon_under(Adjacency::ReplaceOne, &subsampled, 1e-5).is_err());
    }
}

#[test]
fn impossible_parameters_are_refused_by_name() {
    for kind in [AccountantKind::Pld, AccountantKind::Rdp, AccountantKind::Gdp] {
        let accountant = accountant(kind);
        for (event, name) in [
            (Event::new(0.0, 1.0, 1), "sampling rate"),
            (Event::new(1.5, 1.0, 1), "sampling rate"),
            (Event::new(f64::NAN, 1.0, 1), "sampling rate"),
            (Event::new(1.0, 0.0, 1), "noise multiplier"),
            (Event::new(1.0, -1.0, 1), "noise multiplier"),
            (Event::new(1.0, f64::NAN, 1), "noise multiplier"),
            (Event::new(1.0, f64::INFINITY, 1), "noise multiplier"),
        ] {
            let words = refusal(accountant.epsilon(&[event], 1e-5));
            assert!(words.contains(name), "{kind} {event:?}: {words}");
        }
        for delta in [0.0, 1.0, -1e-5, f64::NAN] {
            let words = refusal(accountant.epsilon(&[Event::new(1.0, 1.0, 1)], delta));
            assert!(words.contains("delta"), "{kind}: {words}");
        }
        assert!(refusal(accountant.delta(&[Event::new(1.0, 1.0, 1)], -1.0)).contains("epsilon"));
        assert_eq!(accountant.epsilon(&[], 1e-5), Err(AccountingError::NoEvents));
        assert_eq!(accountant.epsilon(&[Event::new(1.0, 1.0, 0)], 1e-5), Err(AccountingError::NoEvents));
    }
}
