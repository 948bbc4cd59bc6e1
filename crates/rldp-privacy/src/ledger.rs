//! The ledger: what a run promised, what it charged, and what it left.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    chain::{Lines, read_lines},
    claim::{Claim, is_one, one},
    error::PrivacyError,
};

/// What the first line's `previous` says.
pub(crate) const GENESIS: &str = "rldp-ledger";

/// A place in a ledger: what stands before it is bound by the hash of its last line. State that was saved at such a place
/// belongs to no ledger that lacks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPosition {
    /// Lines up to here.
    pub lines: u64,
    /// Hash of the last of them.
    pub hash: String,
}

impl LedgerPosition {
    /// Checks that this place is in `ledger` (the text of `ledger.jsonl`).
    ///
    /// # Errors
    /// When the ledger is damaged, shorter, or another run's.
    pub fn check(&self, ledger: &str) -> Result<(), PrivacyError> {
        self.check_in(&read(ledger)?)
    }

    pub(crate) fn check_in(&self, reading: &Reading) -> Result<(), PrivacyError> {
        let lines = reading.hashes.len() as u64;
        let at = self.lines.checked_sub(1).and_then(|index| reading.hashes.get(usize::try_from(index).ok()?));
        let reason = match at {
            Some(hash) if *hash == self.hash => return Ok(()),
            Some(_) => format!("its line {} is not the one that the checkpoint was written after", self.lines),
            None => format!("it has {lines} lines, but the checkpoint was written after line {}", self.lines),
        };
        Err(PrivacyError::Ledger(format!(
            "{reason}; the ledger was rolled back or replaced. Restore the run's own ledger: what it charged stays spent"
        )))
    }
}

/// Steps that a ledger's whole lines charge.
///
/// # Errors
/// When the ledger is damaged.
pub fn charged_steps(ledger: &str) -> Result<u64, PrivacyError> {
    let charges = read(ledger)?.entries.into_iter().filter(|entry| matches!(entry, Entry::Charge { .. }));
    Ok(charges.count() as u64)
}

/// SHA-256 of files, in hexadecimal digits, by their names: those of the run folder as they stand there, those of the base model
/// after `base/`.
pub type Digests = BTreeMap<String, String>;

/// The claim at a ledger's head, as far as it can be read; [`crate::verify()`] says whether it holds.
pub fn claim_of(ledger: &str) -> Option<Claim> {
    match read(ledger.split_inclusive('\n').next()?).ok()?.entries.pop()? {
        Entry::Open { claim } => Some(*claim),
        _ => None,
    }
}

/// The ledger up to its line of hash `head`: what a run saw that went on from there. `None` when no line has that hash.
///
/// # Errors
/// When the ledger is damaged.
pub fn until<'a>(ledger: &'a str, head: &str) -> Result<Option<&'a str>, PrivacyError> {
    let place = read(ledger)?.hashes.iter().position(|hash| hash == head);
    let length = |place: usize| ledger.split_inclusive('\n').take(place + 1).map(str::len).sum::<usize>();
    Ok(place.map(|place| &ledger[..length(place)]))
}

/// Whether the run came to its end, and nothing was written after that.
pub fn is_closed(ledger: &str) -> bool {
    read(ledger).is_ok_and(|reading| matches!(reading.entries.last(), Some(Entry::Close { .. })))
}

/// What a ledger says about files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It has no line that binds files: the run was killed before it wrote any, or lines were cut off.
    Nothing,
    /// The run was stopped and did not close. This is what it had written then.
    Paused(Digests),
    /// The run closed in a version that bound no files.
    Unbound,
    /// The run closed, and these are its files.
    Closed(Digests),
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// The claim; always the first line.
    Open {
        /// The promise.
        claim: Box<Claim>,
    },
    /// A step was paid for. Its noise is drawn after this line is durable, or never.
    Charge {
        /// Counted from 1.
        step: u64,
        /// q.
        sampling_rate: f64,
        /// z.
        noise_multiplier: f64,
        /// b: the claim's. With more than one, steps are not priced one by one but in rounds of b, at b times the rate.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        noise_bands: u64,
    },
    /// A step was refused; no step follows.
    Refusal {
        /// z of the refused step.
        noise_multiplier: f64,
        /// Why.
        reason: String,
    },
    /// A process took the run over. Charges whose result was lost stay charged.
    Resume {
        /// Steps charged so far.
        steps_charged: u64,
    },
    /// A process wrote what it had and stopped; the run may go on.
    Pause {
        /// Steps charged so far.
        steps_charged: u64,
        /// What it wrote.
        digests: Digests,
    },
    /// The run ended; no step follows.
    Close {
        /// Steps charged in all.
        steps_charged: u64,
        /// What it released and what it worked on; none in ledgers of versions that bound no files.
        #[serde(default, skip_serializing_if = "Digests::is_empty")]
        digests: Digests,
    },
}

/// A ledger that was read back.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) entries: Vec<Entry>,
    /// One for each entry.
    pub(crate) hashes: Vec<String>,
    /// The file ends in the middle of a line. That line's append never returned, so its noise was never drawn.
    pub(crate) torn: bool,
}

impl Reading {
    pub(crate) fn last_hash(&self) -> &str {
        self.hashes.last().map_or(GENESIS, String::as_str)
    }

    /// What the last line about files says.
    pub(crate) fn bound(&self) -> Bound {
        let found = self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Close { digests, .. } if digests.is_empty() => Some(Bound::Unbound),
            Entry::Close { digests, .. } => Some(Bound::Closed(digests.clone())),
            Entry::Pause { digests, .. } => Some(Bound::Paused(digests.clone())),
            _ => None,
        });
        found.unwrap_or(Bound::Nothing)
    }
}

/// Reads a ledger and checks its chain.
pub(crate) fn read(text: &str) -> Result<Reading, PrivacyError> {
    let Lines { entries, hashes, torn } = read_lines(text, GENESIS).map_err(PrivacyError::Ledger)?;
    Ok(Reading { entries, hashes, torn })
}
