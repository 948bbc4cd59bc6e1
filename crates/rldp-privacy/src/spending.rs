//! Charging: the only way to a step's noise.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    accounting::{Event, NoiseDeck, RenyiFilter},
    bands::Bands,
    boundary::TakenOver,
    chain::{Chain, LedgerSink},
    claim::{Claim, Guarantee},
    error::PrivacyError,
    ledger::{Digests, Entry, GENESIS, LedgerPosition, read},
    regime::Regime,
    secrecy::Secrecy,
    spent::PrefixCosts,
};

/// One paid step. It cannot be made, copied or used twice outside this crate: beginning a sum consumes it, and
/// [`Spender::charge`] makes it only after the ledger line is durable.
pub struct Charge {
    noise_multiplier: f64,
    noise_coordinates: u64,
    bands: Bands,
    step: u64,
    run: u64,
    promised: bool,
}

impl Charge {
    /// Number of the step, counted from 1.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// z that was charged, which may be another than what was wanted.
    pub fn noise_multiplier(&self) -> f64 {
        self.noise_multiplier
    }

    /// Whether the claim is a promise.
    pub(crate) fn is_promised(&self) -> bool {
        self.promised
    }

    /// Number of the run, unlike that of any other in this process.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// The most numbers that may get noise.
    pub(crate) fn noise_coordinates(&self) -> u64 {
        self.noise_coordinates
    }

    /// z, and how noise is correlated over steps.
    pub(crate) fn spend(self) -> (f64, Bands) {
        (self.noise_multiplier, self.bands)
    }

    #[cfg(test)]
    pub(crate) fn for_test(noise_multiplier: f64, noise_coordinates: u64) -> Self {
        Self::for_test_of(noise_multiplier, noise_coordinates, 1, 1, 0)
    }

    #[cfg(test)]
    pub(crate) fn for_test_of(noise_multiplier: f64, noise_coordinates: u64, bands: u64, step: u64, run: u64) -> Self {
        let bands = Bands::new(bands).expect("a number of bands that may be");
        Self { noise_multiplier, noise_coordinates, bands, step, run, promised: false }
    }
}

/// One step of a run whose claim says that it promises nothing. It begins a [`crate::PlainSum`] and nothing else.
pub struct UnsafeStep(());

/// What stands between a step and its charge.
enum Guard {
    /// The committed plan, step by step.
    Plan,
    /// The cards that are left.
    Deck(NoiseDeck),
    /// A Rényi budget at one order.
    Filter(RenyiFilter),
    /// Nothing: the claim promises nothing.
    Nothing,
}

/// Guards a claim: charges steps, refuses what would overspend, for good.
pub struct Spender {
    claim: Claim,
    bands: Bands,
    chain: Chain,
    guard: Guard,
    costs: PrefixCosts,
    steps: u64,
    exhausted: bool,
    taken_over: Option<TakenOver>,
    run: u64,
}

/// Numbers of runs in this process.
static RUNS: AtomicU64 = AtomicU64::new(0);

impl Spender {
    /// Checks the claim and writes it as the ledger's first line.
    ///
    /// # Errors
    /// When the plan does not prove the claim, or the line cannot be made durable.
    pub fn open(claim: Claim, sink: Box<dyn LedgerSink>) -> Result<Self, PrivacyError> {
        claim.validate()?;
        let mut chain = Chain::new(sink, GENESIS);
        chain.append(&Entry::Open { claim: Box::new(claim.clone()) })?;
        Self::fresh(claim, chain)
    }

    /// Takes over a run from its ledger. Every charge in it stays charged. `saved` is where the ledger stood when the state
    /// that goes on was saved: a ledger behind it would refund what that state was paid with.
    ///
    /// # Errors
    /// When the ledger is damaged or behind `saved`, or `claim` differs from the one it was opened with (the field is
    /// named). Nothing was written then.
    pub fn resume(
        ledger: &str,
        claim: &Claim,
        saved: Option<&LedgerPosition>,
        sink: Box<dyn LedgerSink>,
    ) -> Result<Self, PrivacyError> {
        let reading = read(ledger)?;
        if let Some(saved) = saved {
            saved.check_in(&reading)?;
        }
        let Some((Entry::Open { claim: opened }, rest)) = reading.entries.split_first() else {
            return Err(PrivacyError::Ledger("it does not begin with a claim".into()));
        };
        if let Some(difference) = opened.difference(claim)? {
            return Err(PrivacyError::Ledger(format!("the promise may not change: {difference}")));
        }
        let chain = Chain::after(sink, GENESIS, &reading.hashes);
        let mut spender = Self::fresh((**opened).clone(), chain)?;
        for entry in rest {
            spender.replay(entry)?;
        }
        spender.taken_over = saved.map(|_| TakenOver::new());
        spender.chain.append(&Entry::Resume { steps_charged: spender.steps })?;
        Ok(spender)
    }

    fn fresh(claim: Claim, chain: Chain) -> Result<Self, PrivacyError> {
        let guard = match &claim.regime {
            Regime::Committed { .. } => Guard::Plan,
            Regime::Deck { cards, .. } => Guard::Deck(NoiseDeck::new(cards)?),
            Regime::Adaptive { filter } => Guard::Filter(RenyiFilter::new(*filter)),
            Regime::NonPrivate => Guard::Nothing,
        };
        let bands = Bands::new(claim.noise_bands)?;
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let costs = PrefixCosts::default();
        Ok(Self { claim, bands, chain, guard, costs, steps: 0, exhausted: false, taken_over: None, run })
    }

    fn replay(&mut self, entry: &Entry) -> Result<(), PrivacyError> {
        match entry {
            Entry::Charge { step, sampling_rate, noise_multiplier, noise_bands } => {
                let event = Event::new(*sampling_rate, *noise_multiplier, 1);
                if *step != self.steps + 1 || *noise_bands != self.claim.noise_bands || self.take(&event)?.is_err() {
                    return Err(PrivacyError::Ledger(format!("step {step} was charged against the claim's rules")));
                }
                self.steps += 1;
            }
            Entry::Refusal { .. } | Entry::Close { .. } => self.exhausted = true,
            Entry::Resume { .. } | Entry::Pause { .. } => {}
            Entry::Open { .. } => return Err(PrivacyError::Ledger("a second claim stands in it".into())),
        }
        Ok(())
    }

    /// Pays for one step, before anything private is touched, at the noise multiplier closest to `wanted` that the step may have:
    /// the nearest card of a deck, `wanted` itself in the other regimes. The charge says which it was. `None` when the budget
    /// refuses: then no later step is granted either.
    ///
    /// `randomness` is that of the noise and of the sampling together, which a promise needs to be secret.
    ///
    /// # Errors
    /// When the randomness is known under a promise, or the ledger line cannot be made durable; then nothing was granted, and the
    /// step counts as spent on resume if the line survived.
    pub fn charge(&mut self, wanted: f64, randomness: Secrecy) -> Result<Option<Charge>, PrivacyError> {
        if matches!(self.guard, Guard::Nothing) {
            return Err(PrivacyError::Claim("it promises nothing, so no charge can be made under it".into()));
        }
        let promised = self.claim.guarantee == Guarantee::Holds;
        if promised {
            randomness.demanded_of("noise or sampling")?;
        }
        let noise_multiplier = match &self.guard {
            Guard::Deck(deck) => deck.nearest(wanted).unwrap_or(wanted),
            Guard::Plan | Guard::Filter(_) | Guard::Nothing => wanted,
        };
        let step = self.count(noise_multiplier)?;
        Ok(step.map(|step| Charge {
            noise_multiplier,
            noise_coordinates: self.claim.noise_coordinates,
            bands: self.bands.clone(),
            step,
            run: self.run,
            promised,
        }))
    }

    /// Counts one step without clipping and noise in the ledger. `None` when all steps are made.
    ///
    /// # Errors
    /// When the claim is not that of a run that promises nothing, or the ledger line cannot be made durable.
    pub fn unsafe_step(&mut self) -> Result<Option<UnsafeStep>, PrivacyError> {
        if !matches!(self.guard, Guard::Nothing) {
            return Err(PrivacyError::Claim("it is a promise, so every step needs clipping and noise".into()));
        }
        Ok(self.count(0.0)?.map(|_| UnsafeStep(())))
    }

    /// Makes the line of the next step durable and gives its number; `None` when it is refused.
    fn count(&mut self, noise_multiplier: f64) -> Result<Option<u64>, PrivacyError> {
        if self.exhausted {
            return Ok(None);
        }
        let event = Event::new(self.claim.sampling_rate, noise_multiplier, 1);
        if let Err(reason) = self.take(&event)? {
            self.exhausted = true;
            self.chain.append(&Entry::Refusal { noise_multiplier, reason })?;
            return Ok(None);
        }
        let step = self.steps + 1;
        self.steps += 1;
        let Claim { sampling_rate, noise_bands, .. } = self.claim;
        let entry = Entry::Charge { step, sampling_rate, noise_multiplier, noise_bands };
        if let Err(error) = self.chain.append(&entry) {
            // The line may or may not have survived: nothing more is granted in this process.
            self.exhausted = true;
            return Err(error);
        }
        Ok(Some(step))
    }

    /// Takes an event out of the budget, or says why it is refused.
    fn take(&mut self, event: &Event) -> Result<Result<(), String>, PrivacyError> {
        if !matches!(self.guard, Guard::Nothing) {
            event.validate()?;
        }
        if event.sampling_rate != self.claim.sampling_rate {
            return Ok(Err(format!(
                "it samples at {}, the claim at {}",
                event.sampling_rate, self.claim.sampling_rate
            )));
        }
        if self.steps >= self.claim.steps {
            return Ok(Err(format!("all {} steps of the claim are spent", self.claim.steps)));
        }
        Ok(match &mut self.guard {
            Guard::Filter(filter) => filter.try_charge(event).map_err(|refusal| refusal.to_string()),
            Guard::Deck(deck) => deck.try_charge(event).map_err(|refusal| refusal.to_string()),
            Guard::Plan => {
                let planned = self.claim.regime.committed_noise(self.claim.round_of(self.steps));
                if planned == Some(event.noise_multiplier) {
                    Ok(())
                } else {
                    Err(format!("noise multiplier {} is not the committed {planned:?}", event.noise_multiplier))
                }
            }
            Guard::Nothing if event.noise_multiplier == 0.0 => Ok(()),
            Guard::Nothing => {
                Err(format!("noise multiplier {} stands where there is no noise", event.noise_multiplier))
            }
        })
    }

    /// Writes the last line, which binds the files that `digests` names. No step is granted afterwards.
    ///
    /// # Errors
    /// When the line cannot be made durable.
    pub fn close(&mut self, digests: Digests) -> Result<(), PrivacyError> {
        self.exhausted = true;
        self.chain.append(&Entry::Close { steps_charged: self.steps, digests })
    }

    /// Binds what a process wrote that stops before the run's end.
    ///
    /// # Errors
    /// When the line cannot be made durable.
    pub fn pause(&mut self, digests: Digests) -> Result<(), PrivacyError> {
        self.chain.append(&Entry::Pause { steps_charged: self.steps, digests })
    }

    /// The claim.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// How the run's noise is correlated over steps.
    pub fn bands(&self) -> &Bands {
        &self.bands
    }

    /// Steps charged, in all processes of the run.
    pub fn steps_charged(&self) -> u64 {
        self.steps
    }

    /// Proof that saved state of this run may go on; only after a [`Spender::resume`] whose ledger reaches it.
    pub fn taken_over(&self) -> Option<TakenOver> {
        self.taken_over
    }

    /// Where the ledger stands; saved beside any state that must never be ahead of it.
    pub fn position(&self) -> LedgerPosition {
        let (lines, hash) = self.chain.place();
        LedgerPosition { lines, hash: hash.to_owned() }
    }

    /// Whether no further step will be granted.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Fraction of the budget that is spent, public: of the filter's divergence, or of the committed steps.
    pub fn spent_fraction(&self) -> f64 {
        match &self.guard {
            Guard::Filter(filter) => filter.spent() / filter.spec().budget,
            Guard::Plan | Guard::Deck(_) | Guard::Nothing => self.steps as f64 / self.claim.steps as f64,
        }
    }

    /// An upper bound on the epsilon of the steps so far at the claim's delta, for progress; the run's promise is always
    /// the target.
    pub fn spent_epsilon(&mut self) -> f64 {
        match &self.guard {
            Guard::Filter(filter) => filter.spent_epsilon().min(self.claim.target_epsilon),
            Guard::Plan | Guard::Deck(_) | Guard::Nothing => self.costs.at(&self.claim, self.steps),
        }
    }
}
