//! Everything `rldp demo` needs: a tiny pretrained model and a generator of pseudo-clinical notes.
//!
//! The model was pretrained by this project on WordNet's glosses and on health leaflets that it wrote itself; see
//! `assets/demo`. The notes are invented: no person stands behind them.

mod notes;
mod words;

use std::{collections::HashSet, path::Path};

pub use notes::{Note, notes};

use crate::error::DataError;

/// `config.json` of the demo model (GPT-2 architecture).
pub const MODEL_CONFIG: &str = include_str!("../../../../assets/demo/model/config.json");
/// `tokenizer.json` of the demo model.
pub const TOKENIZER: &str = include_str!("../../../../assets/demo/model/tokenizer.json");
/// `model.safetensors` of the demo model, f16.
pub const WEIGHTS: &[u8] = include_bytes!("../../../../assets/demo/model/model.safetensors");

/// Writes notes as CSV with columns `patient` and `text`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_notes(path: &Path, seed: u64, patients: usize) -> Result<(), DataError> {
    write_notes_apart(path, notes(seed, patients), &[])
}

/// The same of `written`, without those whose text stands among `others`: what is public must not be what is private.
///
/// # Errors
/// When the file cannot be written.
pub fn write_notes_apart(path: &Path, written: Vec<Note>, others: &[Note]) -> Result<(), DataError> {
    let others: HashSet<&str> = others.iter().map(|note| note.text.as_str()).collect();
    let failed = |error: csv::Error| DataError::File { path: path.to_owned(), reason: error.to_string() };
    let mut writer = csv::Writer::from_writer(fs_err::File::create(path)?);
    writer.write_record(["patient", "text"]).map_err(failed)?;
    for note in written.into_iter().filter(|note| !others.contains(note.text.as_str())) {
        writer.write_record([note.patient.as_str(), &note.text]).map_err(failed)?;
    }
    writer.flush()?;
    Ok(())
}
