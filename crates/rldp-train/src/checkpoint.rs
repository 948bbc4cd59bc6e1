//! One file that holds everything a run needs to go on, replaced atomically and checked by its hash.
//!
//! Contents are released or public values only: parameters, optimizer moments, controller state, allocation. The ledger,
//! not the checkpoint, says what is spent: an old checkpoint refunds nothing.

use std::{io::Write as _, path::Path};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::TrainError;

const MAGIC: &[u8; 16] = b"rldp-checkpoint1";
const FILE: &str = "checkpoint.bin";

/// State of a run between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Everything but the long vectors.
    pub state: CheckpointState,
    /// Adapter parameters (P).
    pub parameters: Vec<f32>,
    /// First moments of the optimizer (P).
    pub first_moment: Vec<f32>,
    /// Second moments of the optimizer (P).
    pub second_moment: Vec<f32>,
    /// What the geometry learned; empty without one.
    pub geometry: Vec<f32>,
}

/// The small part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Steps charged when the checkpoint was written.
    pub steps_charged: u64,
    /// Optimizer updates made.
    pub updates: u64,
    /// Clip norms in force (K).
    pub clip_norms: Vec<f64>,
    /// Shares in force (K).
    pub shares: Vec<f64>,
    /// Noise multiplier in force.
    pub noise_multiplier: f64,
    /// The controller's factor on the learning rate.
    pub learning_rate_gain: f64,
    /// The controller's own state.
    pub controller: serde_json::Value,
}

impl Checkpoint {
    /// Replaces the checkpoint in `folder`.
    ///
    /// # Errors
    /// When the file cannot be written; the previous checkpoint then still stands.
    pub fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let json = serde_json::to_vec(&self.state).map_err(|error| corrupt(folder, &error.to_string()))?;
        let mut payload = Vec::with_capacity(json.len() + 16 + 12 * self.parameters.len());
        payload.extend((json.len() as u64).to_le_bytes());
        payload.extend((self.parameters.len() as u64).to_le_bytes());
        payload.extend(json);
        for vector in [&self.parameters, &self.first_moment, &self.second_moment, &self.geometry] {
            payload.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
        }
        write_atomically(&folder.join(FILE), &[MAGIC, Sha256::digest(&payload).as_slice(), &payload])
    }

    /// Reads the checkpoint of `folder`; `None` when there is none.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn load(folder: &Path) -> Result<Option<Self>, TrainError> {
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
        let payload = bytes.strip_prefix(MAGIC.as_slice()).filter(|rest| rest.len() >= 48).ok_or_else(damaged)?;
        let (digest, payload) = payload.split_at(32);
        if Sha256::digest(payload).as_slice() != digest {
            return Err(damaged());
        }
        let length = |at: usize| payload[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default() as usize;
        let (json_length, parameters) = (length(0), length(8));
        let rest = &payload[16..];
        if rest.len() < json_length + 12 * parameters {
            return Err(damaged());
        }
        let (json, vectors) = rest.split_at(json_length);
        let (vectors, geometry) = vectors.split_at(12 * parameters);
        let state = serde_json::from_slice(json).map_err(|error| corrupt(&path, &error.to_string()))?;
        let mut parts = vectors.chunks_exact((4 * parameters).max(1)).map(floats);
        let mut next = || parts.next().unwrap_or_default();
        let geometry = floats(geometry);
        Ok(Some(Self { state, parameters: next(), first_moment: next(), second_moment: next(), geometry }))
    }
}

/// Writes `parts` to a temporary neighbour, syncs it and moves it over `path`. On failure `path` is what it was.
///
/// # Errors
/// When the file cannot be written; the message names it.
pub fn write_atomically(path: &Path, parts: &[&[u8]]) -> Result<(), TrainError> {
    let temporary = path.with_extension("partial");
    if let Err(error) = write_synced(&temporary, parts).and_then(|()| fs::rename(&temporary, path)) {
        // What could not be written whole is of no use; that it may not be there to remove is no second error.
        let _ = fs::remove_file(&temporary);
        return Err(error.into());
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn write_synced(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

fn corrupt(path: &Path, reason: &str) -> TrainError {
    TrainError::Corrupt { path: path.display().to_string(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            state: CheckpointState {
                steps_charged: 7,
                updates: 6,
                clip_norms: vec![0.1, 0.2],
                shares: vec![0.5, 0.5],
                noise_multiplier: 1.25,
                learning_rate_gain: 1.0,
                controller: serde_json::json!({"kind": "fixed"}),
            },
            parameters: vec![1.0, -2.5, f32::MIN_POSITIVE],
            first_moment: vec![0.0, 0.1, 0.2],
            second_moment: vec![3.0, 4.0, 5.0],
            geometry: vec![6.0],
        }
    }

    #[test]
    fn round_trips() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::load(folder.path()).unwrap(), None);
        checkpoint().save(folder.path()).unwrap();
        assert_eq!(Checkpoint::load(folder.path()).unwrap(), Some(checkpoint()));
    }

    #[test]
    fn any_torn_or_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        checkpoint().save(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(Checkpoint::load(folder.path()).is_err(), "cut at {cut} went unnoticed");
        }
        for index in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert!(Checkpoint::load(folder.path()).is_err(), "flip at {index} went unnoticed");
        }
    }
}
