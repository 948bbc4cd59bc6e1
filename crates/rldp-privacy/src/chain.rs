//! Lines of JSON, each bound to the one before by its hash.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::PrivacyError;

/// Version of the line format.
const VERSION: u64 = 1;

/// SHA-256 in hexadecimal digits, as `sha256sum` prints it.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The same of what can be read, piece by piece.
///
/// # Errors
/// When it cannot be read to its end.
pub fn digest_of(mut source: impl io::Read) -> io::Result<String> {
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match source.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&piece[..read]),
        }
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Makes a line durable.
pub trait LedgerSink: Send {
    /// Appends one line (without its line break) and returns only when it survives a crash.
    ///
    /// # Errors
    /// When that cannot be promised.
    fn append(&mut self, line: &str) -> io::Result<()>;
}

/// Writes entries, each bound to its predecessor.
pub(crate) struct Chain {
    sink: Box<dyn LedgerSink>,
    previous: String,
    index: u64,
}

impl Chain {
    /// A chain whose first line says `genesis` where others name their predecessor.
    pub(crate) fn new(sink: Box<dyn LedgerSink>, genesis: &str) -> Self {
        Self { sink, previous: genesis.to_owned(), index: 0 }
    }

    /// Goes on after the lines with `hashes`.
    pub(crate) fn after(sink: Box<dyn LedgerSink>, genesis: &str, hashes: &[String]) -> Self {
        let previous = hashes.last().map_or(genesis, String::as_str).to_owned();
        Self { sink, previous, index: hashes.len() as u64 }
    }

    /// Lines so far, and the hash of the last.
    pub(crate) fn place(&self) -> (u64, &str) {
        (self.index, &self.previous)
    }

    /// Durable when it returns.
    pub(crate) fn append(&mut self, entry: &impl Serialize) -> Result<(), PrivacyError> {
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

/// Lines that were read back, and their hashes.
pub(crate) struct Lines<E> {
    pub(crate) entries: Vec<E>,
    pub(crate) hashes: Vec<String>,
    /// The file ends in the middle of a line.
    pub(crate) torn: bool,
}

/// Reads lines and checks their chain; the error names the line.
pub(crate) fn read_lines<E: DeserializeOwned>(text: &str, genesis: &str) -> Result<Lines<E>, String> {
    let (whole, torn) = match text.rfind('\n') {
        Some(end) => (&text[..=end], end + 1 < text.len()),
        None => ("", !text.is_empty()),
    };
    let mut lines = Lines { entries: Vec::new(), hashes: Vec::new(), torn };
    for (index, line) in whole.lines().enumerate() {
        let previous = lines.hashes.last().map_or(genesis, String::as_str);
        let (entry, hash) =
            read_line(line, index, previous).map_err(|reason| format!("line {}: {reason}", index + 1))?;
        lines.entries.push(entry);
        lines.hashes.push(hash);
    }
    Ok(lines)
}

fn read_line<E: DeserializeOwned>(line: &str, index: usize, previous: &str) -> Result<(E, String), String> {
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
    digest(body.to_string().as_bytes())
}
