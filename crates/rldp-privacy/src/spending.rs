//! Charging: the only way to a step's noise.

use crate::{
    accounting::{Event, NoiseDeck, RenyiFilter},
    claim::Claim,
    error::PrivacyError,
    ledger::{Chain, Entry, LedgerSink, read},
    regime::Regime,
    spent::PrefixCosts,
};

/// One paid step. It cannot be made, copied or used twice outside this crate: beginning a sum consumes it, and
/// [`Spender::charge`] makes it only after the ledger line is durable.
pub struct Charge {
    noise_multiplier: f64,
    noise_coordinates: u64,
    step: u64,
}

impl Charge {
    /// Number of the step, counted from 1.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// z, and the most numbers that may get noise.
    pub(crate) fn spend(self) -> (f64, u64) {
        (self.noise_multiplier, self.noise_coordinates)
    }

    #[cfg(test)]
    pub(crate) fn for_test(noise_multiplier: f64, noise_coordinates: u64) -> Self {
        Self { noise_multiplier, noise_coordinates, step: 1 }
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
    chain: Chain,
    guard: Guard,
    costs: PrefixCosts,
    steps: u64,
    exhausted: bool,
}

impl Spender {
    /// Checks the claim and writes it as the ledger's first line.
    ///
    /// # Errors
    /// When the plan does not prove the claim, or the line cannot be made durable.
    pub fn open(claim: Claim, sink: Box<dyn LedgerSink>) -> Result<Self, PrivacyError> {
        claim.validate()?;
        let mut chain = Chain::new(sink);
        chain.append(&Entry::Open { claim: Box::new(claim.clone()) })?;
        Self::fresh(claim, chain)
    }

    /// Takes over a run from its ledger. Every charge in it stays charged.
    ///
    /// # Errors
    /// When the ledger is damaged or closed, or `claim` differs from the one it was opened with (the field is named).
    pub fn resume(ledger: &str, claim: &Claim, sink: Box<dyn LedgerSink>) -> Result<Self, PrivacyError> {
        let reading = read(ledger)?;
        let Some((Entry::Open { claim: opened }, rest)) = reading.entries.split_first() else {
            return Err(PrivacyError::Ledger("it does not begin with a claim".into()));
        };
        if let Some(difference) = opened.difference(claim) {
            return Err(PrivacyError::Ledger(format!("the promise may not change: {difference}")));
        }
        let chain = Chain::after(sink, &reading);
        let mut spender = Self::fresh((**opened).clone(), chain)?;
        for entry in rest {
            spender.replay(entry)?;
        }
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
        Ok(Self { claim, chain, guard, costs: PrefixCosts::default(), steps: 0, exhausted: false })
    }

    fn replay(&mut self, entry: &Entry) -> Result<(), PrivacyError> {
        match entry {
            Entry::Charge { step, sampling_rate, noise_multiplier } => {
                let event = Event::new(*sampling_rate, *noise_multiplier, 1);
                if *step != self.steps + 1 || self.refusal(&event)?.is_some() {
                    return Err(PrivacyError::Ledger(format!("step {step} was charged against the claim's rules")));
                }
                self.steps += 1;
            }
            Entry::Refusal { .. } | Entry::Close { .. } => self.exhausted = true,
            Entry::Resume { .. } => {}
            Entry::Open { .. } => return Err(PrivacyError::Ledger("a second claim stands in it".into())),
        }
        Ok(())
    }

    /// Pays for one step at noise multiplier z, before anything private is touched. `None` when the budget refuses: then
    /// no later step is granted either.
    ///
    /// # Errors
    /// When the ledger line cannot be made durable; then nothing was granted, and the step counts as spent on resume
    /// if the line survived.
    pub fn charge(&mut self, noise_multiplier: f64) -> Result<Option<Charge>, PrivacyError> {
        if matches!(self.guard, Guard::Nothing) {
            return Err(PrivacyError::Claim("it promises nothing, so no charge can be made under it".into()));
        }
        let step = self.count(noise_multiplier)?;
        Ok(step.map(|step| Charge { noise_multiplier, noise_coordinates: self.claim.noise_coordinates, step }))
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
        if let Some(reason) = self.refusal(&event)? {
            self.exhausted = true;
            self.chain.append(&Entry::Refusal { noise_multiplier, reason })?;
            return Ok(None);
        }
        let step = self.steps + 1;
        self.steps += 1;
        let entry = Entry::Charge { step, sampling_rate: self.claim.sampling_rate, noise_multiplier };
        if let Err(error) = self.chain.append(&entry) {
            // The line may or may not have survived: nothing more is granted in this process.
            self.exhausted = true;
            return Err(error);
        }
        Ok(Some(step))
    }

    /// Why the event is refused; `None` when it is granted. The filter has then counted it.
    fn refusal(&mut self, event: &Event) -> Result<Option<String>, PrivacyError> {
        if !matches!(self.guard, Guard::Nothing) {
            event.validate()?;
        }
        if event.sampling_rate != self.claim.sampling_rate {
            return Ok(Some(format!(
                "it samples at {}, the claim at {}",
                event.sampling_rate, self.claim.sampling_rate
            )));
        }
        if self.steps >= self.claim.steps {
            return Ok(Some(format!("all {} steps of the claim are spent", self.claim.steps)));
        }
        Ok(match &mut self.guard {
            Guard::Filter(filter) => filter.try_charge(event).err().map(|refusal| refusal.to_string()),
            Guard::Deck(deck) => deck.try_charge(event).err().map(|refusal| refusal.to_string()),
            Guard::Plan => {
                let planned = self.claim.regime.committed_noise(self.steps);
                let differs = planned != Some(event.noise_multiplier);
                differs.then(|| format!("noise multiplier {} is not the committed {planned:?}", event.noise_multiplier))
            }
            Guard::Nothing => (event.noise_multiplier != 0.0)
                .then(|| format!("noise multiplier {} stands where there is no noise", event.noise_multiplier)),
        })
    }

    /// The noise multiplier closest to `wanted` that the next step may have: the nearest card of a deck; `wanted` itself
    /// in the other regimes, where [`Self::charge`] decides. Public.
    pub fn nearest_noise(&self, wanted: f64) -> f64 {
        match &self.guard {
            Guard::Deck(deck) => deck.nearest(wanted).unwrap_or(wanted),
            Guard::Plan | Guard::Filter(_) | Guard::Nothing => wanted,
        }
    }

    /// Writes the last line. No step is granted afterwards.
    ///
    /// # Errors
    /// When the line cannot be made durable.
    pub fn close(&mut self) -> Result<(), PrivacyError> {
        self.exhausted = true;
        self.chain.append(&Entry::Close { steps_charged: self.steps })
    }

    /// The claim.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Steps charged, in all processes of the run.
    pub fn steps_charged(&self) -> u64 {
        self.steps
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
