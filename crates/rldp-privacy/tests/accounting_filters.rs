//! Filters for adaptively chosen noise: what they let through is worth no more than their target.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rldp_privacy::accounting::{
    Accountant, AccountantKind, Event, FilterSpec, FilterUnion, GaussianFilter, GdpAccountant, NoiseDeck,
    PldAccountant, RenyiFilter, UnionSpec, accountant, calibrate_noise_multiplier, calibrate_noise_scale,
    calibrate_steps, rdp,
};

const DELTA: f64 = 1e-5;
const RATE: f64 = 0.01;

fn config() -> ProptestConfig {
    ProptestConfig { cases: 16, rng_seed: RngSeed::Fixed(2_008_111), failure_persistence: None, ..Default::default() }
}

/// Noise multipliers of a run, cycled until something refuses.
fn wanted() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(0.7..3.0_f64, 1..6)
}

/// Charges blocks of ten steps with cycled noise until `charge` refuses; returns what was charged.
fn run(noises: &[f64], mut charge: impl FnMut(&Event) -> bool) -> Vec<Event> {
    let steps = noises.iter().cycle().map(|&z| Event::new(RATE, z, 10));
    steps.take(20_000).take_while(|event| charge(event)).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_schedule_that_ignores_outputs_costs_at_most_the_target(noises in wanted(), epsilon in 0.5..8.0_f64) {
        // Committed schedules are adaptive ones too, and for them PLD is exact: a filter must not let more through.
        let spec = UnionSpec::plan(epsilon, DELTA, RATE, &[(1.0, 0.8), (0.7, 0.1), (2.0, 0.1)], 1000).unwrap();
        let mut union = FilterUnion::new(spec.clone());
        let charged = run(&noises, |event| union.try_charge(event).is_ok());
        prop_assert!(spec.epsilon() == epsilon && spec.delta() <= DELTA);
        if !charged.is_empty() {
            let exact = PldAccountant::default().bounds(&charged, spec.delta()).unwrap().lower;
            prop_assert!(exact <= epsilon, "{exact} above {epsilon}");
        }
        // The union lets through at least what any of its filters does.
        for filter in spec.filters() {
            let mut alone = RenyiFilter::new(*filter);
            prop_assert!(run(&noises, |event| alone.try_charge(event).is_ok()).len() <= charged.len());
        }
        prop_assert!(union.is_closed() && union.try_charge(&Event::new(RATE, 1e3, 1)).is_err());
        prop_assert_eq!(union.kept_epsilon(), epsilon);
    }

    #[test]
    fn the_odometer_reads_no_less_than_pld(noises in wanted(), steps in 1..800_usize) {
        let spec = UnionSpec::ladder(&[0.5, 1.0, 2.0, 4.0, 8.0, 16.0], DELTA, RATE, 1.0).unwrap();
        let mut odometer = FilterUnion::new(spec.clone());
        prop_assert_eq!(odometer.kept_epsilon(), 0.5);
        let mut charged = Vec::new();
        for (&z, _) in noises.iter().cycle().zip(0..steps) {
            let event = Event::new(RATE, z, 1);
            if odometer.try_charge(&event).is_err() {
                break;
            }
            charged.push(event);
        }
        let exact = PldAccountant::default().epsilon(&charged, spec.delta()).unwrap();
        prop_assert!(exact <= odometer.kept_epsilon(), "{exact}, odometer {}", odometer.kept_epsilon());
    }

    #[test]
    fn a_deck_plays_exactly_its_cards_in_any_order(wishes in prop::collection::vec(0.1..9.0_f64, 40)) {
        let cards = [Event::new(RATE, 0.8, 10), Event::new(RATE, 1.0, 20), Event::new(RATE, 1.5, 10)];
        let mut deck = NoiseDeck::new(&cards).unwrap();
        let mut played = Vec::new();
        for wish in wishes {
            let event = Event::new(RATE, deck.nearest(wish).unwrap(), 1);
            deck.try_charge(&event).unwrap();
            played.push(event);
        }
        prop_assert_eq!((deck.left(), deck.nearest(1.0)), (0, None));
        let pld = PldAccountant::default();
        prop_assert_eq!(pld.epsilon(&played, DELTA).unwrap(), pld.epsilon(&cards, DELTA).unwrap());
    }

    #[test]
    fn a_deck_covers_what_is_noisier_than_its_cards(noises in prop::collection::vec(0.5..4.0_f64, 60)) {
        let cards = [Event::new(RATE, 0.8, 10), Event::new(RATE, 1.0, 20), Event::new(RATE, 1.5, 10)];
        let mut deck = NoiseDeck::new(&cards).unwrap();
        let steps = noises.iter().map(|&z| Event::new(RATE, z, 1));
        let charged: Vec<Event> = steps.filter(|event| deck.try_charge(event).is_ok()).collect();
        prop_assert_eq!(charged.len() as u64 + deck.left(), 40);
        let pld = PldAccountant::default();
        let whole = pld.epsilon(&cards, DELTA).unwrap();
        prop_assert!(charged.is_empty() || pld.epsilon(&charged, DELTA).unwrap() <= whole * (1.0 + 1e-3));
    }

    #[test]
    fn the_gaussian_filter_spends_its_target_to_the_last_step(z in 5.0..50.0_f64, epsilon in 0.2..10.0_f64) {
        let mut filter = GaussianFilter::new(epsilon, DELTA).unwrap();
        let mut steps = 0;
        while filter.try_charge(&Event::new(1.0, z, 1)).unwrap() {
            steps += 1;
        }
        let committed = calibrate_steps(AccountantKind::Gdp, epsilon, DELTA, 1.0, z).map_or(0, |found| found.steps);
        prop_assert_eq!(steps, committed);
        prop_assert!(filter.is_closed() && !filter.try_charge(&Event::new(1.0, 1e6, 1)).unwrap());
        prop_assert!(GdpAccountant.epsilon(&[Event::new(1.0, 1.0 / filter.mu(), 1)], DELTA).unwrap() <= epsilon + 1e-9);
    }
}

#[test]
fn a_scaled_plan_meets_the_target() {
    let shape = [Event::new(RATE, 0.8, 300), Event::new(RATE, 1.0, 400), Event::new(RATE, 1.25, 300)];
    for kind in [AccountantKind::Pld, AccountantKind::Rdp] {
        let (scale, epsilon) = calibrate_noise_scale(kind, 2.0, DELTA, &shape).unwrap();
        let cards: Vec<Event> =
            shape.iter().map(|event| Event::new(RATE, scale * event.noise_multiplier, event.steps)).collect();
        assert_eq!(accountant(kind).epsilon(&cards, DELTA).unwrap(), epsilon);
        assert!((2.0 - 1e-4..=2.0).contains(&epsilon), "{epsilon}");
        // A spread of noise costs more than its mean: the middle card lies above the constant plan's noise.
        let constant = calibrate_noise_multiplier(kind, 2.0, DELTA, RATE, 1000).unwrap().noise_multiplier;
        assert!(scale > constant && scale < 1.2 * constant, "{scale} {constant}");
    }
}

#[test]
fn broken_specifications_are_refused_by_name() {
    let filter = FilterSpec::plan(2.0, DELTA, RATE, 1.0, 1000).unwrap();
    assert!(UnionSpec::new(vec![]).is_err());
    let inflated = FilterSpec { budget: 1.1 * filter.budget, ..filter };
    assert!(UnionSpec::new(vec![filter, inflated]).unwrap_err().to_string().contains("budget"));
    let plans = [(1.0, 0.7), (2.0, 0.7)];
    let words = UnionSpec::plan(2.0, DELTA, RATE, &plans, 1000).unwrap_err().to_string();
    assert!(words.contains("shares of delta"), "{words}");
    let mixed = [Event::new(0.1, 1.0, 1), Event::new(0.2, 1.0, 1)];
    assert!(NoiseDeck::new(&mixed).unwrap_err().to_string().contains("sampling rate"));
    let mut deck = NoiseDeck::new(&mixed[..1]).unwrap();
    for event in [Event::new(0.1, 0.9, 1), Event::new(0.2, 1.0, 1), Event::new(0.1, 1.0, 2)] {
        let words = deck.try_charge(&event).unwrap_err().to_string();
        assert!(words.contains("1 cards left") || words.contains("has 1"), "{words}");
    }
    assert_eq!(deck.left(), 1);
    let mut full = GaussianFilter::new(1.0, DELTA).unwrap();
    assert!(full.try_charge(&mixed[0]).unwrap_err().to_string().contains("full batches"));
    assert!(!full.is_closed());
}

/// Found by fuzzing ledgers: an integral over more blocks than there is memory. What cannot be counted costs everything.
#[test]
fn orders_beyond_reason_cost_no_memory() {
    let error = FilterSpec::at_order(4.0, 1e-5, 37_446_473_438_896_039.0).unwrap_err().to_string();
    assert!(error.contains("at most 1e6"), "{error}");
    assert_eq!(rdp(0.02, 1e-3, 900_000.5).unwrap(), f64::INFINITY);
    assert!(rdp(0.02, 0.6, 900_000.5).unwrap().is_finite());
}
