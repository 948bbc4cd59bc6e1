//! Runs on the same units together: their joint epsilon, the book that keeps it, and what may not share a plan.

#![allow(clippy::unwrap_used)]

use std::{
    io,
    sync::{Arc, Mutex},
};

use rldp_privacy::{
    Adjacency, Claim, Guarantee, LedgerSink, Regime,
    accounting::{Accountant as _, AccountantKind, Event, FilterSpec, PldAccountant},
    book::{Book, Item, Limit},
    joint, noise_delta,
};

const RATE: f64 = 0.05;
const NOISE: f64 = 1.1;
const STEPS: u64 = 80;

fn claim(segments: Vec<Event>, accountant: AccountantKind) -> Claim {
    Claim {
        target_epsilon: 3.0,
        delta: 1e-5,
        adjacency: Adjacency::ZeroOut,
        unit: "patient".into(),
        units: None,
        shared_eval: false,
        private_policy: false,
        public_text: Vec::new(),
        start_adapter: None,
        after: Vec::new(),
        sampling_rate: RATE,
        noise_bands: 1,
        expected_batch_size: 16.0,
        steps: STEPS,
        other_steps: 0,
        noise_coordinates: 100,
        noise_delta: noise_delta(3.0, 1e-5, 100, 4 * STEPS).unwrap(),
        regime: Regime::Committed { segments, accountant },
        guarantee: Guarantee::Holds,
    }
}

fn committed() -> Claim {
    claim(vec![Event::new(RATE, NOISE, STEPS)], AccountantKind::Pld)
}

fn adaptive() -> Claim {
    let filter = FilterSpec::plan(2.9, 9e-6, RATE, NOISE, STEPS).unwrap();
    Claim { regime: Regime::Adaptive { filter }, ..committed() }
}

/// A file in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<String>>);

impl LedgerSink for Memory {
    fn append(&mut self, line: &str) -> io::Result<()> {
        self.0.lock().unwrap().extend([line, "\n"]);
        Ok(())
    }
}

impl Memory {
    fn sink(&self) -> Box<dyn LedgerSink> {
        Box::new(self.clone())
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn runs_of_fixed_noise_are_one_plan_together_and_others_are_added() {
    let (one, filtered) = (committed(), adaptive());
    one.validate().unwrap();
    let together = joint(&[&one, &one]).unwrap();
    let whole = PldAccountant::default().epsilon(&[Event::new(RATE, NOISE, 2 * STEPS)], 2e-5).unwrap();
    assert!((together.epsilon / whole - 1.0).abs() < 1e-6, "{} against {whole}", together.epsilon);
    assert_eq!((together.delta, together.basic_epsilon, together.runs), (2e-5, 6.0, 2));
    let mixed = joint(&[&one, &filtered]).unwrap();
    let alone = PldAccountant::default().epsilon(&[Event::new(RATE, NOISE, STEPS)], 1e-5).unwrap();
    assert!((mixed.epsilon - (alone + 3.0)).abs() < 1e-6, "{} against {alone} + 3", mixed.epsilon);
    assert_eq!(joint(&[&one]).unwrap().epsilon, 3.0, "one run's epsilon is its promise");
    let bare = Claim { guarantee: Guarantee::None { reason: "known noise".into() }, ..committed() };
    assert_eq!(joint(&[&one, &bare]).unwrap().epsilon, f64::INFINITY);
    let others = Claim { unit: "record".into(), ..committed() };
    assert!(joint(&[&one, &others]).unwrap_err().to_string().contains("no epsilon in common"));
}

#[test]
fn only_noise_of_one_level_covers_steps_of_other_runs() {
    let halves = |first: f64, second: f64| vec![Event::new(RATE, first, STEPS), Event::new(RATE, second, STEPS)];
    let covering = |regime: Regime| Claim { other_steps: STEPS, regime, ..committed() };
    let accountant = AccountantKind::Pld;
    let of = |segments| covering(Regime::Committed { segments, accountant });
    of(halves(1.3, 1.3)).validate().unwrap();
    for refused in [
        of(halves(1.2, 1.5)),
        covering(Regime::Deck { cards: halves(1.2, 1.5), accountant }),
        covering(Regime::Deck { cards: vec![Event::new(RATE, 1.3, 2 * STEPS)], accountant }),
        Claim { other_steps: 1, ..adaptive() },
    ] {
        let error = refused.validate().unwrap_err().to_string();
        assert!(error.contains("steps of other runs"), "{error}");
    }
}

#[test]
fn a_book_admits_up_to_its_limit_and_shows_every_change() {
    let file = Memory::default();
    Book::open(Limit { epsilon: 3.5, delta: 2e-5 }, file.sink()).unwrap();
    let run = |id: &str| Item::Run {
        id: id.into(),
        run: format!("runs/{id}"),
        time: "2026-01-01T00:00:00Z".into(),
        claim: Box::new(committed()),
    };
    for id in ["a", "b"] {
        let mut book = Book::read(&file.text()).unwrap();
        book.enter(run(id), file.sink()).unwrap();
    }
    let mut book = Book::read(&file.text()).unwrap();
    assert_eq!(book.items.len(), 2);
    let spent = book.epsilon().unwrap();
    assert!(spent > 2.0 && spent <= 3.5, "{spent}");
    let error = book.enter(run("c"), file.sink()).unwrap_err().to_string();
    assert!(error.contains("above the limit 3.5"), "{error}");
    // An audit spends nothing that could be added, and is kept.
    book.enter(Item::Audit { run: "a".into(), time: "later".into() }, file.sink()).unwrap();
    let text = file.text();
    assert_eq!(text.lines().count(), 4);
    assert!(Book::read(&text.replacen("\"steps\":80", "\"steps\":8", 1)).is_err());
    let without_first: String = text.split_inclusive('\n').skip(1).collect();
    assert!(Book::read(&without_first).is_err() && Book::read("").is_err() && Book::read(text.trim_end()).is_err());
    for limit in [Limit { epsilon: f64::INFINITY, delta: 1e-5 }, Limit { epsilon: 1.0, delta: 1.0 }] {
        assert!(Book::open(limit, Memory::default().sink()).is_err());
    }
}
