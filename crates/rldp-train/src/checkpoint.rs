//! One file that holds everything a run needs to go on, replaced atomically and checked by its hash.
//!
//! Contents are released or public values only: parameters, optimizer moments, what the controller knows and has seen,
//! allocation. The ledger, not the checkpoint, says what is spent: an old checkpoint refunds nothing, and one that the
//! ledger does not reach is refused. There is no state of the sampler or the noise on purpose: both draw from fresh keys
//! in every process, so that no stream is used twice.

use std::path::Path;

use fs_err as fs;
use rldp_control::RateSearch;
use rldp_privacy::LedgerPosition;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    error::TrainError,
    evaluate::Evaluation,
    loss_bound::LossBound,
    observe::ObserverState,
    post_processing::PostProcessing,
    storage::{Storage, replace},
    trainer::NonFinite,
};

const MAGIC: &[u8; 16] = b"rldp-checkpoint4";
/// Name of the file.
pub const FILE: &str = "checkpoint.bin";
/// Vectors of P numbers.
const VECTORS: usize = 4;
/// Bytes of the four lengths: of the JSON, of the controller's state, of a vector, of the average.
const HEAD: usize = 32;

/// State of a run between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The small parts.
    pub state: CheckpointState,
    /// The controller's own state in MessagePack, with its replay and its public randomness.
    pub controller: Vec<u8>,
    /// Adapter parameters (P).
    pub parameters: Vec<f32>,
    /// First moments of the optimizer (P).
    pub first_moment: Vec<f32>,
    /// Second moments of the optimizer (P).
    pub second_moment: Vec<f32>,
    /// The last release (P), which the next one is compared with; zeros before the first.
    pub last_release: Vec<f32>,
    /// The average of iterates (P); empty without one.
    pub average: Vec<f32>,
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
    /// Sum of the weights in the first moment.
    pub first_weight: f64,
    /// What happens to releases.
    pub post: PostProcessing,
    /// The search for the learning rate, when there is one.
    pub rate_search: Option<RateSearch>,
    /// Where the ledger stood: the state may only go on with a ledger that has this place.
    pub ledger: LedgerPosition,
    /// Bytes of metrics written before it.
    pub metrics: u64,
    /// What the observer has of the interval.
    pub observer: ObserverState,
    /// Utility and spent budget at the end of the last interval.
    pub reward: Option<(f64, f64)>,
    /// Released fractions of units with a non-finite gradient.
    pub non_finite: NonFinite,
    /// What the paid loss is bounded by.
    pub(crate) loss_bound: LossBound,
    /// The last evaluation on public records.
    pub evaluation: Option<SavedEvaluation>,
}

/// An evaluation as a checkpoint keeps it: JSON has no infinity, so a loss that is not finite is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedEvaluation {
    /// Steps charged.
    pub step: u64,
    nll: Option<f64>,
    tokens: usize,
    records: usize,
}

impl SavedEvaluation {
    /// Of `step`.
    pub fn of(step: u64, evaluation: &Evaluation) -> Self {
        let Evaluation { nll, tokens, records, .. } = *evaluation;
        Self { step, nll: nll.is_finite().then_some(nll), tokens, records }
    }

    /// The evaluation again.
    pub fn restore(&self) -> Evaluation {
        let nll = self.nll.unwrap_or(f64::NAN);
        Evaluation { perplexity: nll.exp(), nll, tokens: self.tokens, records: self.records }
    }
}

impl Checkpoint {
    /// Replaces the checkpoint in `folder`.
    ///
    /// # Errors
    /// When the file cannot be written; the previous checkpoint then still stands.
    pub fn save(&self, folder: &Path, storage: &dyn Storage) -> Result<(), TrainError> {
        let json = serde_json::to_vec(&self.state).map_err(|error| corrupt(folder, &error.to_string()))?;
        let lengths = [json.len(), self.controller.len(), self.parameters.len(), self.average.len()];
        let lengths = lengths.map(|length| (length as u64).to_le_bytes());
        let long = [&self.parameters, &self.first_moment, &self.second_moment, &self.last_release];
        let long: Vec<_> =
            long.into_iter().chain([&self.average, &self.geometry]).map(|vector| bytes(vector)).collect();
        let mut parts: Vec<&[u8]> = vec![lengths.as_flattened(), &json, &self.controller];
        parts.extend(long.iter().map(Vec::as_slice));
        let digest = parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize();
        Ok(replace(storage, &folder.join(FILE), &[&[MAGIC, digest.as_slice()], parts.as_slice()].concat())?)
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
        let family = &MAGIC[..MAGIC.len() - 1];
        if bytes.starts_with(family)
            && !bytes.starts_with(MAGIC)
            && bytes.get(family.len()).is_some_and(u8::is_ascii_digit)
        {
            return Err(corrupt(
                &path,
                "the checkpoint was written by another version of rldp; resume with the one that began the run",
            ));
        }
        let payload =
            bytes.strip_prefix(MAGIC.as_slice()).filter(|rest| rest.len() >= 32 + HEAD).ok_or_else(damaged)?;
        let (digest, payload) = payload.split_at(32);
        if Sha256::digest(payload).as_slice() != digest {
            return Err(damaged());
        }
        Self::parse(payload).map(Some).map_err(|reason| corrupt(&path, &reason))
    }

    /// Reads a payload whose hash was right, which says nothing about who wrote it.
    fn parse(payload: &[u8]) -> Result<Self, String> {
        let misfit = || "the lengths in the checkpoint do not fit it; it was not written by this program".to_owned();
        let (head, rest) = payload.split_first_chunk::<HEAD>().ok_or_else(misfit)?;
        let lengths = head.as_chunks::<8>().0;
        let [json, controller, parameters, average] = [0, 1, 2, 3].map(|at| u64::from_le_bytes(lengths[at]));
        if average != 0 && average != parameters {
            return Err(misfit());
        }
        let vectors = parameters.checked_mul(4 * VECTORS as u64).ok_or_else(misfit)?;
        let vectors = vectors.checked_add(4 * average).ok_or_else(misfit)?;
        let before = json.checked_add(controller).ok_or_else(misfit)?;
        if before.checked_add(vectors).is_none_or(|least| least > rest.len() as u64) {
            return Err(misfit());
        }
        let (json, rest) = rest.split_at(json as usize);
        let (controller, rest) = rest.split_at(controller as usize);
        let (vectors, geometry) = rest.split_at(vectors as usize);
        let state = serde_json::from_slice(json)
            .map_err(|error| format!("the state in the checkpoint is not this version's ({error})"))?;
        let mut parts = vectors.chunks_exact((4 * parameters as usize).max(1)).map(floats);
        let mut next = || parts.next().unwrap_or_default();
        let (parameters, first_moment, second_moment, last_release, average) = (next(), next(), next(), next(), next());
        let (controller, geometry) = (controller.to_vec(), floats(geometry));
        Ok(Self { state, controller, parameters, first_moment, second_moment, last_release, average, geometry })
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(values)];
    for (place, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *place = value.to_le_bytes();
    }
    bytes
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
    use crate::storage::Disk;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            state: CheckpointState {
                steps_charged: 7,
                updates: 6,
                clip_norms: vec![0.1, 0.2],
                shares: vec![0.5, 0.5],
                noise_multiplier: 1.25,
                first_weight: 0.9,
                post: PostProcessing::start(2),
                rate_search: Some(RateSearch::new(0.0)),
                ledger: LedgerPosition { lines: 8, hash: "ab".into() },
                metrics: 99,
                observer: ObserverState::default(),
                reward: Some((-2.5, 0.125)),
                non_finite: NonFinite::default(),
                loss_bound: LossBound::default(),
                evaluation: Some(SavedEvaluation { step: 5, nll: None, tokens: 3, records: 2 }),
            },
            controller: vec![1, 2, 3],
            parameters: vec![1.0, -2.5, f32::MIN_POSITIVE],
            first_moment: vec![0.0, 0.1, 0.2],
            second_moment: vec![3.0, 4.0, 5.0],
            last_release: vec![0.0, -0.0, 7.0],
            average: vec![0.5, 1.5, 2.5],
            geometry: vec![6.0],
        }
    }

    #[test]
    fn round_trips() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::load(folder.path()).unwrap(), None);
        checkpoint().save(folder.path(), &Disk).unwrap();
        assert_eq!(Checkpoint::load(folder.path()).unwrap(), Some(checkpoint()));
    }

    #[test]
    fn another_versions_checkpoint_is_named_as_such() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"rldp-checkpoint3 and more").unwrap();
        let error = Checkpoint::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another version"), "{error}");
    }

    #[test]
    fn any_torn_or_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        checkpoint().save(folder.path(), &Disk).unwrap();
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

    /// A checksum can be computed by anybody: lengths behind a right one are checked all the same.
    #[test]
    fn hostile_lengths_behind_a_right_checksum_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for lengths in [
            [u64::MAX, 0, 1, 0],
            [0, u64::MAX, 1, 0],
            [u64::MAX, 1, 0, 0],
            [0, 0, u64::MAX / 16 + 1, 0],
            [8, 0, 0, 0],
            [u64::MAX - 15, 0, 1, 1],
            [0, u64::MAX - 15, 1, 1],
            [0, 0, u64::MAX, u64::MAX],
            [1 << 40, 0, 1 << 40, 0],
            [0, 0, 1, 2],
            [0, 0, u64::MAX / 16, u64::MAX / 16],
        ] {
            let mut payload: Vec<u8> = lengths.map(u64::to_le_bytes).concat();
            payload.extend([0; 16]);
            let whole = [MAGIC.as_slice(), Sha256::digest(&payload).as_slice(), &payload].concat();
            fs::write(folder.path().join(FILE), whole).unwrap();
            let error = Checkpoint::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains("checkpoint"), "{error}");
        }
    }
}
