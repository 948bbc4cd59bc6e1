//! Whether all ranks are about to do the same.

use rldp_data::PrivacyUnits;
use rldp_model::Engine;
use sha2::{Digest as _, Sha256};

use super::message::{read, write};
use crate::{Group, RanksError};

/// Compares named values, such as digests, with those of rank 0. All ranks learn the verdict, and end alike.
///
/// # Errors
/// On every rank, when a value of any rank differs: names it.
pub fn agree(group: &mut dyn Group, values: &[(&str, String)]) -> Result<(), RanksError> {
    let all: Vec<Vec<(String, String)>> =
        group.gather(write(&values)?)?.iter().map(|bytes| read(bytes)).collect::<Result<_, _>>()?;
    let verdict = all.iter().enumerate().find_map(|(rank, theirs)| difference(values, rank, theirs));
    let verdict = group.broadcast(write(&verdict)?)?;
    match read::<Option<(String, u64, String, String)>>(&verdict)? {
        None => Ok(()),
        Some((what, rank, ours, theirs)) => Err(RanksError::Differs { what, rank: rank as usize, ours, theirs }),
    }
}

fn difference(
    ours: &[(&str, String)],
    rank: usize,
    theirs: &[(String, String)],
) -> Option<(String, u64, String, String)> {
    let absent = || "nothing".to_owned();
    let found =
        |what: &str| theirs.iter().find(|(name, _)| name == what).map_or_else(absent, |(_, value)| value.clone());
    let differs = ours.iter().find(|(what, value)| found(what) != *value);
    differs.map(|(what, value)| ((*what).to_owned(), rank as u64, value.clone(), found(what)))
}

/// Digest of everything that a rank computes units' gradients from, but for the model: a function of private records, to be compared
/// between ranks and shown nowhere else.
pub fn units_digest(units: &PrivacyUnits) -> [u8; 32] {
    let mut hash = Sha256::new();
    for unit in 0..units.len() {
        let blocks = &units.unit(unit).blocks;
        hash.update((blocks.len() as u64).to_le_bytes());
        for block in blocks {
            hash.update((block.tokens.len() as u64).to_le_bytes());
            block.tokens.iter().for_each(|token| hash.update(token.to_le_bytes()));
            hash.update((block.scored_from as u64).to_le_bytes());
            let skipped = block.skipped.iter().flat_map(|gap| [gap.start as u64, gap.end as u64]);
            skipped.for_each(|at| hash.update(at.to_le_bytes()));
            hash.update(u64::MAX.to_le_bytes());
            hash.update(block.weight.to_bits().to_le_bytes());
        }
    }
    hash.finalize().into()
}

/// Digest of what the base model makes of fixed tokens: ranks with other weights, precisions or processors' results differ in it.
///
/// # Errors
/// When the engine fails.
pub fn engine_digest(engine: &mut dyn Engine) -> Result<[u8; 32], rldp_model::EngineError> {
    let (vocab, positions) = (engine.config().vocab_size as u32, engine.config().max_positions);
    let tokens: Vec<u32> = (0..16_u32).take(positions).map(|i| (i * 7919 + 1) % vocab).collect();
    let mut hash = Sha256::new();
    for logit in engine.logits(None, &tokens)? {
        hash.update(logit.to_bits().to_le_bytes());
    }
    Ok(hash.finalize().into())
}
