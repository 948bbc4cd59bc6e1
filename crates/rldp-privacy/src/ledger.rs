//! The ledger: one JSON object a line, each bound to the one before by its hash.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    claim::{Claim, is_one, one},
    error::PrivacyError,
};

/// Version of the line format.
const VERSION: u64 = 1;
/// What the first line's `previous` says.
const GENESIS: &str = "rldp-ledger";

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

/// Makes a line durable.
pub trait LedgerSink: Send {
    /// Appends one line (without its line break) and returns only when it survives a crash.
    ///
    /// # Errors
    /// When that cannot be promised.
    fn append(&mut self, line: &str) -> io::Result<()>;
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
    /// The run ended; no step follows.
    Close {
        /// Steps charged in all.
        steps_charged: u64,
    },
}

/// Writes entries, each bound to its predecessor.
pub(crate) struct Chain {
    sink: Box<dyn LedgerSink>,
    previous: String,
    index: u64,
}

impl Chain {
    pub(crate) fn new(sink: Box<dyn LedgerSink>) -> Self {
        Self { sink, previous: GENESIS.to_owned(), index: 0 }
    }

    pub(crate) fn after(sink: Box<dyn LedgerSink>, read: &Reading) -> Self {
        Self { sink, previous: read.last_hash().to_owned(), index: read.entries.len() as u64 }
    }

    pub(crate) fn position(&self) -> LedgerPosition {
        LedgerPosition { lines: self.index, hash: self.previous.clone() }
    }

    /// Durable when it returns.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), PrivacyError> {
        let mut body = serde_json::to_value(entry).map_err(|error| PrivacyError::Ledger(error.to_string()))?;
        body["version"] = VERSION.into();
        body["index"] = self.index.into();
        body["previous"] = self.previous.clone().into();
        let hash = hash(&body);
        body["hash"] = hash.clone().into();
        self.sink.append(&body.to_string()).map_err(PrivacyError::Sink)?;
        self.previous = hash;
        self.index += 1;
        Ok(())
    }
}

/// A ledger that was read back.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) entries: Vec<Entry>,
    /// One for each entry.
    hashes: Vec<String>,
    /// The file ends in the middle of a line. That line's append never returned, so its noise was never drawn.
    pub(crate) torn: bool,
}

impl Reading {
    fn last_hash(&self) -> &str {
        self.hashes.last().map_or(GENESIS, String::as_str)
    }
}

/// Reads a ledger and checks its chain.
pub(crate) fn read(text: &str) -> Result<Reading, PrivacyError> {
    let (whole, torn) = match text.rfind('\n') {
        Some(end) => (&text[..=end], end + 1 < text.len()),
        None => ("", !text.is_empty()),
    };
    let mut reading = Reading { entries: Vec::new(), hashes: Vec::new(), torn };
    for (index, line) in whole.lines().enumerate() {
        let (entry, hash) = read_line(line, index, reading.last_hash())
            .map_err(|reason| PrivacyError::Ledger(format!("line {}: {reason}", index + 1)))?;
        reading.entries.push(entry);
        reading.hashes.push(hash);
    }
    Ok(reading)
}

fn read_line(line: &str, index: usize, previous: &str) -> Result<(Entry, String), String> {
    let mut body: Value = serde_json::from_str(line).map_err(|error| format!("not JSON ({error})"))?;
    let fields = body.as_object_mut().ok_or("not a JSON object")?;
    let recorded = fields.remove("hash").and_then(|hash| hash.as_str().map(str::to_owned)).ok_or("no hash")?;
    if fields.get("version").and_then(Value::as_u64) != Some(VERSION) {
        return Err(format!(
            "version {} is not the supported {VERSION}",
            fields.get("version").unwrap_or(&Value::Null)
        ));
    }
    if fields.get("index").and_then(Value::as_u64) != Some(index as u64) {
        return Err("lines are missing or out of order (the index does not fit)".into());
    }
    if fields.get("previous").and_then(Value::as_str) != Some(previous) {
        return Err("the chain is broken (the hash of the line before does not fit)".into());
    }
    if hash(&body) != recorded {
        return Err("the line was changed (its hash does not fit)".into());
    }
    let entry = serde_json::from_value(body).map_err(|error| format!("not an entry ({error})"))?;
    Ok((entry, recorded))
}

/// Hash of a body whose keys JSON objects keep sorted.
fn hash(body: &Value) -> String {
    let digest = Sha256::digest(body.to_string().as_bytes());
    digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
