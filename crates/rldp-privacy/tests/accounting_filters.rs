//! Filters for adaptively chosen noise: what they let through is worth no more than their target.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rldp_privacy::accounting::{
    Accountant, AccountantKind, Event, FilterSpec, NoiseDeck, PldAccountant, RenyiFilter, accountant,
    calibrate_noise_multiplier, calibrate_noise_scale, rdp,
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
        for planned in [0.7, 1.0, 2.0] {
            let mut filter = RenyiFilter::new(FilterSpec::plan(epsilon, DELTA, RATE, planned, 1000).unwrap());
            let charged = run(&noises, |event| filter.try_charge(event).is_ok());
            if !charged.is_empty() {
                let exact = PldAccountant::default().bounds(&charged, DELTA).unwrap().lower;
                prop_assert!(exact <= epsilon, "{exact} above {epsilon}");
            }
            prop_assert!(filter.is_closed() && filter.try_charge(&Event::new(RATE, 1e3, 1)).is_err());
        }
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
    let inflated = FilterSpec { budget: 1.1 * filter.budget, ..filter };
    assert!(inflated.verify().unwrap_err().to_string().contains("budget"));
    let mixed = [Event::new(0.1, 1.0, 1), Event::new(0.2, 1.0, 1)];
    assert!(NoiseDeck::new(&mixed).unwrap_err().to_string().contains("sampling rate"));
    let mut deck = NoiseDeck::new(&mixed[..1]).unwrap();
    for event in [Event::new(0.1, 0.9, 1), Event::new(0.2, 1.0, 1), Event::new(0.1, 1.0, 2)] {
        let words = deck.try_charge(&event).unwrap_err().to_string();
        assert!(words.contains("1 cards left") || words.contains("has 1"), "{words}");
    }
    assert_eq!(deck.left(), 1);
}

/// Found by fuzzing ledgers: an integral over more blocks than there is memory. What cannot be counted costs everything.
#[test]
fn orders_beyond_reason_cost_no_memory() {
    let error = FilterSpec::at_order(4.0, 1e-5, 37_446_473_438_896_039.0).unwrap_err().to_string();
    assert!(error.contains("at most 1e6"), "{error}");
    assert_eq!(rdp(0.02, 1e-3, 900_000.5).unwrap(), f64::INFINITY);
    assert!(rdp(0.02, 0.6, 900_000.5).unwrap().is_finite());
}
