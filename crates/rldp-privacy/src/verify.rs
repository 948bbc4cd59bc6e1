//! Replays a ledger and says whether its claim holds.

use serde::Serialize;

use crate::{
    accounting::{AccountantKind, AccountingError, Event, FilterSpec, NoiseDeck, accountant, merge, rdp},
    claim::{Claim, Guarantee},
    ledger::{Bound, Entry, Reading, read},
    noise::noise_delta,
    regime::Regime,
};

/// One question and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was asked.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// What a replay found.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Whether every check passed.
    pub holds: bool,
    /// The claim in words.
    pub statement: String,
    /// Target epsilon of the claim; none when the run promises nothing.
    pub epsilon: Option<f64>,
    /// Delta of the claim.
    pub delta: Option<f64>,
    /// The accountant that the claim rests on; none when the run promises nothing.
    pub accountant: Option<AccountantKind>,
    /// Steps charged.
    pub steps: u64,
    /// Epsilon of the charged steps by the accountant the claim rests on, recomputed. Of a ledger that is still open it is what was
    /// spent so far: who ends the run there because of what it released has spent what the whole plan does.
    pub epsilon_recomputed: Option<f64>,
    /// Epsilon by a second, independent accountant: an upper bound under committed noise; a diagnostic without force
    /// under adaptive noise.
    pub epsilon_second: Option<f64>,
    /// What `epsilon_second` is.
    pub second_accountant: &'static str,
    /// Who stands behind both accountants.
    pub accountants_note: &'static str,
    /// Whether the run came to its end and says what its files are.
    pub closed: bool,
    /// Hash of the ledger's last line, which binds all before it: what a signature is over.
    pub head: Option<String>,
    /// Whose signature was found valid, as the fingerprint of a key.
    pub signed_by: Option<String>,
    /// When it was made, by the signer's clock.
    pub signed_at: Option<String>,
    /// Every check.
    pub checks: Vec<Check>,
    /// What the ledger says about files.
    #[serde(skip)]
    pub bound: Bound,
    /// The claim at the ledger's head, for comparison with what the run says elsewhere.
    #[serde(skip)]
    pub claim: Option<Claim>,
}

/// What two accountants that agree do not show.
const ACCOUNTANTS_NOTE: &str = "both accountants are this program's own and share their authors; PRIVACY.md has a script that \
                                recomputes the claim with dp-accounting";

/// Replays `ledger` (the text of `ledger.jsonl`).
pub fn verify(ledger: &str) -> Verification {
    let mut found = Verification {
        holds: false,
        statement: "no claim could be read".into(),
        epsilon: None,
        delta: None,
        accountant: None,
        steps: 0,
        epsilon_recomputed: None,
        epsilon_second: None,
        second_accountant: "",
        accountants_note: ACCOUNTANTS_NOTE,
        closed: false,
        head: None,
        signed_by: None,
        signed_at: None,
        bound: Bound::Nothing,
        checks: Vec::new(),
        claim: None,
    };
    match read(ledger) {
        Ok(reading) => found.replay(&reading),
        Err(error) => found.check("chain", false, error.to_string()),
    }
    found.holds = !found.checks.is_empty() && found.checks.iter().all(|check| check.passed);
    found
}

impl Verification {
    /// Adds a check, such as a comparison with a run's settings, and settles anew whether all hold.
    pub fn check(&mut self, name: &'static str, passed: bool, detail: impl Into<String>) {
        self.checks.push(Check { name, passed, detail: detail.into() });
        self.holds = self.checks.iter().all(|check| check.passed);
    }

    fn replay(&mut self, reading: &Reading) {
        let torn = if reading.torn { ", and a torn last line whose noise was never drawn" } else { "" };
        self.check("chain", true, format!("{} lines{torn}", reading.entries.len()));
        self.bound = reading.bound();
        self.closed = matches!(self.bound, Bound::Closed(_));
        self.head = (!reading.entries.is_empty()).then(|| reading.last_hash().to_owned());
        let Some((Entry::Open { claim }, rest)) = reading.entries.split_first() else {
            return self.check("claim", false, "the ledger does not begin with a claim");
        };
        self.statement = claim.statement();
        self.claim = Some((**claim).clone());
        self.epsilon = Some(claim.target_epsilon).filter(|epsilon| epsilon.is_finite());
        self.delta = Some(claim.delta);
        self.accountant = claim.regime.accountant();
        self.check_claim(claim);
        let charges = self.check_order(rest, claim.noise_bands);
        self.check_parameters(claim, &charges);
        let closed = rest.iter().any(|entry| matches!(entry, Entry::Close { .. }));
        self.recompute(claim, &charges, closed);
    }

    fn check_claim(&mut self, claim: &Claim) {
        let plan = claim.validate();
        let detail = plan.as_ref().map_or_else(ToString::to_string, |()| "the plan proves the target".into());
        self.check("claim", plan.is_ok(), detail);
        match &claim.guarantee {
            Guarantee::Holds => self.check("guarantee", true, "noise and sampling were secret"),
            Guarantee::None { reason } => self.check("guarantee", false, format!("no privacy guarantee: {reason}")),
        }
        if claim.regime == Regime::NonPrivate {
            return;
        }
        let needed = noise_delta(claim.target_epsilon, claim.delta, claim.noise_coordinates, claim.covered_steps());
        let detail = needed.as_ref().map_or_else(ToString::to_string, |needed| {
            format!(
                "delta {:?} of {:?} is set aside for the noise sampler, which needs {needed:?}",
                claim.noise_delta, claim.delta
            )
        });
        self.check("noise", needed.is_ok_and(|needed| claim.noise_delta >= needed), detail);
    }

    fn check_order(&mut self, rest: &[Entry], bands: u64) -> Vec<Event> {
        let (mut charges, mut ended, mut fault) = (Vec::new(), false, None);
        for entry in rest {
            match entry {
                Entry::Charge { step, sampling_rate, noise_multiplier, noise_bands } => {
                    if *noise_bands != bands {
                        fault.get_or_insert(format!("step {step} has noise of {noise_bands} bands, the claim {bands}"));
                    }
                    if ended {
                        fault.get_or_insert(format!("step {step} was charged after the run had ended"));
                    }
                    if *step != charges.len() as u64 + 1 {
                        fault.get_or_insert(format!("step {step} stands where {} belongs", charges.len() + 1));
                    }
                    charges.push(Event::new(*sampling_rate, *noise_multiplier, 1));
                }
                Entry::Refusal { .. } | Entry::Close { .. } => ended = true,
                Entry::Resume { .. } | Entry::Pause { .. } => {}
                Entry::Open { .. } => {
                    fault.get_or_insert("a second claim".into());
                }
            }
        }
        self.steps = charges.len() as u64;
        let detail = fault.clone().unwrap_or_else(|| format!("{} steps, each charged once", charges.len()));
        self.check("order", fault.is_none(), detail);
        charges
    }

    fn check_parameters(&mut self, claim: &Claim, charges: &[Event]) {
        let mut deck = match &claim.regime {
            Regime::Deck { cards, .. } => NoiseDeck::new(cards).ok(),
            Regime::Committed { .. } | Regime::Adaptive { .. } | Regime::NonPrivate => None,
        };
        let committed = claim.regime.committed_noises();
        let wrong = charges.iter().enumerate().find(|(index, event)| {
            let allowed = match &claim.regime {
                Regime::Committed { .. } => committed(claim.round_of(*index as u64)) == Some(event.noise_multiplier),
                Regime::Deck { .. } => deck.as_mut().is_some_and(|deck| deck.try_charge(event).is_ok()),
                Regime::Adaptive { .. } => true,
                Regime::NonPrivate => event.noise_multiplier == 0.0,
            };
            event.sampling_rate != claim.sampling_rate || !allowed
        });
        let within = charges.len() as u64 <= claim.steps;
        let detail = match wrong {
            Some((index, event)) => format!("step {} was charged with {event:?} against the claim", index + 1),
            None if !within => format!("{} steps exceed the claim's {}", charges.len(), claim.steps),
            None => "every charge has the claim's sampling rate and noise".into(),
        };
        self.check("parameters", wrong.is_none() && within, detail);
    }

    fn recompute(&mut self, claim: &Claim, charges: &[Event], closed: bool) {
        if charges.is_empty() {
            return self.check("epsilon", true, "nothing was charged");
        }
        if claim.regime == Regime::NonPrivate {
            return self.check("epsilon", false, "steps without noise have no epsilon");
        }
        // One round over all classes is one event for a unit, whichever of its steps is its turn.
        let bands = claim.noise_bands.max(1);
        let round = |steps: &[Event]| {
            let first = steps.first()?;
            Some(Event { sampling_rate: first.sampling_rate * bands as f64, ..*first })
        };
        let rounds = charges.chunks(usize::try_from(bands).unwrap_or(usize::MAX));
        let rounds: Vec<Event> = rounds.filter_map(round).collect();
        let events = match merge(&rounds) {
            Ok(events) => events,
            Err(error) => return self.check("epsilon", false, error.to_string()),
        };
        match &claim.regime {
            // Who ended the run before its time may have looked at its releases: the price is then the whole plan's, since
            // no prefix's holds at a moment that was chosen on the way.
            Regime::Committed { accountant: kind, segments } if closed && self.steps < claim.steps => {
                self.recompute_plan(claim, *kind, segments);
            }
            Regime::Committed { accountant: kind, .. } => self.recompute_plan(claim, *kind, &events),
            // The order was chosen on the way: the theorem speaks of the whole deck, never of what was played of it.
            Regime::Deck { cards, accountant: kind } => self.recompute_plan(claim, *kind, cards),
            Regime::Adaptive { filter } => self.recompute_filtered(claim, filter, &events),
            Regime::NonPrivate => {}
        }
    }

    fn recompute_filtered(&mut self, claim: &Claim, filter: &FilterSpec, events: &[Event]) {
        let cost =
            |event: &Event| Ok(rdp(event.sampling_rate, event.noise_multiplier, filter.order)? * event.steps as f64);
        match events.iter().map(cost).sum::<Result<f64, AccountingError>>() {
            Ok(spent) => {
                let detail = format!("Rényi divergence {spent} of {} at order {}", filter.budget, filter.order);
                self.epsilon_recomputed = Some(claim.target_epsilon);
                self.check("epsilon", spent <= filter.budget, detail);
            }
            Err(error) => self.check("epsilon", false, error.to_string()),
        }
        self.second_accountant = "pld over the realised noise: a diagnostic, not a guarantee";
        self.epsilon_second = accountant(AccountantKind::Pld).epsilon(events, claim.ideal_delta()).ok();
    }

    fn recompute_plan(&mut self, claim: &Claim, kind: AccountantKind, events: &[Event]) {
        let other = if kind == AccountantKind::Rdp { AccountantKind::Pld } else { AccountantKind::Rdp };
        self.second_accountant = if other == AccountantKind::Rdp { "rdp" } else { "pld" };
        self.epsilon_second = accountant(other).epsilon_under(claim.adjacency, events, claim.ideal_delta()).ok();
        match accountant(kind).epsilon_under(claim.adjacency, events, claim.ideal_delta()) {
            Ok(epsilon) => {
                self.epsilon_recomputed = Some(epsilon);
                let detail = format!("{epsilon} by {kind}, at most the claimed {}", claim.target_epsilon);
                self.check("epsilon", epsilon <= claim.target_epsilon, detail);
            }
            Err(error) => self.check("epsilon", false, error.to_string()),
        }
        let (rdp, pld) = if kind == AccountantKind::Rdp {
            (self.epsilon_recomputed, self.epsilon_second)
        } else {
            (self.epsilon_second, self.epsilon_recomputed)
        };
        if let (Some(rdp), Some(pld)) = (rdp, pld) {
            let detail = format!(
                "rdp {rdp}, pld {pld}: the looser bound must not lie below the tighter one ({ACCOUNTANTS_NOTE})"
            );
            self.check("two accountants", rdp >= pld * (1.0 - 1e-3), detail);
        }
    }
}
