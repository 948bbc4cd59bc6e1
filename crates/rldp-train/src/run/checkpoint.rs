//! The file that holds a [`RunState`], replaced atomically and checked by its hash.
//!
//! Sixteen bytes that name the format, the SHA-256 of the rest, and the state in MessagePack.

use std::path::Path;

use fs_err as fs;
use sha2::{Digest as _, Sha256};

use super::{
    state::RunState,
    storage::{Storage, replace},
};
use crate::error::TrainError;

const MAGIC: &[u8; 16] = b"rldp-checkpoint5";
/// Name of the file.
pub const FILE: &str = "checkpoint.bin";
const DIGEST: usize = 32;

/// Replaces the checkpoint in `folder`.
///
/// # Errors
/// When the file cannot be written; the previous checkpoint then still stands.
pub(crate) fn save(state: &RunState, folder: &Path, storage: &dyn Storage) -> Result<(), TrainError> {
    let path = folder.join(FILE);
    let payload = rmp_serde::to_vec_named(state).map_err(|error| corrupt(&path, &error.to_string()))?;
    Ok(replace(storage, &path, &[MAGIC, Sha256::digest(&payload).as_slice(), &payload])?)
}

/// Reads the checkpoint of `folder`; `None` when there is none.
///
/// # Errors
/// When the file is damaged.
pub fn load(folder: &Path) -> Result<Option<RunState>, TrainError> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path)?;
    let damaged = || {
        corrupt(
            &path,
            "the checkpoint is damaged (its checksum does not match); restore the file from a backup, or start a new run: what the ledger records stays spent",
        )
    };
    let family = &MAGIC[..MAGIC.len() - 1];
    if bytes.starts_with(family) && !bytes.starts_with(MAGIC) && bytes.get(family.len()).is_some_and(u8::is_ascii_digit)
    {
        return Err(corrupt(
            &path,
            "the checkpoint was written by another version of rldp; resume with the one that began the run",
        ));
    }
    let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or_else(damaged)?;
    let (digest, payload) = rest.split_at_checked(DIGEST).ok_or_else(damaged)?;
    if Sha256::digest(payload).as_slice() != digest {
        return Err(damaged());
    }
    // A right hash says nothing about who wrote it.
    parse(payload).map(Some).map_err(|reason| corrupt(&path, &reason))
}

fn parse(payload: &[u8]) -> Result<RunState, String> {
    let mut rest = payload;
    let state = rmp_serde::from_read(&mut rest)
        .map_err(|error| format!("the state in the checkpoint is not this version's ({error})"))?;
    if !rest.is_empty() {
        return Err(format!(
            "{} bytes follow the state in the checkpoint; it was not written by this program",
            rest.len()
        ));
    }
    Ok(state)
}

fn corrupt(path: &Path, reason: &str) -> TrainError {
    TrainError::Corrupt { path: path.display().to_string(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tempfile::TempDir;

    use super::*;
    use crate::{
        run::storage::Disk,
        testing::{StopAfter, demo_settings, demo_trainer},
    };

    /// The state of a run after three steps, with everything in it that a state may hold.
    fn saved() -> (TempDir, RunState) {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = demo_settings(folder.path(), 8);
        settings.privacy.batch_size = 4.0;
        settings.model.rank = 1;
        settings.model.target_modules = Some(vec!["c_proj".into()]);
        settings.control.interval = 2;
        settings.control.rate_search = true;
        let mut trainer = demo_trainer(&settings);
        trainer.run(&mut StopAfter(3)).unwrap();
        let mut state = trainer.state(99).unwrap();
        // JSON could not hold this.
        let nll = f64::INFINITY;
        state.evaluation = Some((3, crate::evaluate::Evaluation { perplexity: nll, nll, tokens: 3, records: 2 }));
        (folder, state)
    }

    #[test]
    fn round_trips() {
        let (_run, state) = saved();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), None);
        save(&state, folder.path(), &Disk).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Some(state));
    }

    #[test]
    fn another_versions_checkpoint_is_named_as_such() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"rldp-checkpoint3 and more").unwrap();
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another version"), "{error}");
    }

    #[test]
    fn any_torn_or_flipped_byte_is_noticed() {
        let (_run, state) = saved();
        let folder = tempfile::tempdir().unwrap();
        save(&state, folder.path(), &Disk).unwrap();
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        // Every byte of the head, and some of the state.
        let places = (0..MAGIC.len() + DIGEST + 64).chain((0..whole.len()).step_by(1009));
        for place in places {
            fs::write(&path, &whole[..place]).unwrap();
            assert!(load(folder.path()).is_err(), "cut at {place} went unnoticed");
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert!(load(folder.path()).is_err(), "flip at {place} went unnoticed");
        }
    }

    /// A checksum can be computed by anybody: lengths behind a right one are checked all the same, and nothing is made ready for
    /// numbers that are not there.
    #[test]
    fn hostile_payloads_behind_a_right_checksum_are_refused() {
        let (_run, state) = saved();
        let folder = tempfile::tempdir().unwrap();
        let good = rmp_serde::to_vec_named(&state).unwrap();
        let mut longer = good.clone();
        longer.push(0);
        // A map of 2^32 − 1 entries, a list and bytes of that length, and a whole state with one length changed.
        let huge = [0xdf_u8, 0xdd, 0xc6].map(|kind| vec![kind, 0xff, 0xff, 0xff, 0xff]);
        let at = good.windows(10).position(|window| window == b"parameters").unwrap() + 10;
        let mut stretched = good.clone();
        stretched[at + 1] = 0x7f;
        for payload in huge.into_iter().chain([longer, stretched, good[..good.len() / 2].to_vec(), Vec::new()]) {
            let whole = [MAGIC.as_slice(), Sha256::digest(&payload).as_slice(), &payload].concat();
            fs::write(folder.path().join(FILE), whole).unwrap();
            let error = load(folder.path()).unwrap_err().to_string();
            assert!(error.contains("checkpoint"), "{error}");
        }
    }
}
