//! Membership scores of a record: higher means more likely a member.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};
use rldp_data::Block;
use rldp_model::{Adapter, Engine, Sequence, TokenStats};
use serde::Serialize;

use crate::error::AuditError;

/// The share of least likely tokens that Min-K % and Min-K%++ look at.
pub const MIN_K_SHARE: f64 = 0.2;
/// Records whose statistics are held at once.
const AT_ONCE: usize = 64;
/// Below this a model is as good as certain of the next token, and nothing can be standardized.
const LEAST_DEVIATION: f64 = 1e-6;

/// Which score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// Minus the mean token NLL (arXiv 1709.01604).
    Loss,
    /// Mean token NLL of the base model minus that of the tuned one.
    Reference,
    /// Mean log-probability of the 20 % least likely tokens (arXiv 2310.16789).
    MinK,
    /// The same over log-probabilities standardized under the model's own distribution (arXiv 2404.02936).
    MinKPlusPlus,
    /// Minus the mean token NLL over the zlib-compressed length of the text in bytes (arXiv 2012.07805).
    Zlib,
}

impl ScoreKind {
    /// All of them, in the order of [`RecordScores`].
    pub const ALL: [Self; 5] = [Self::Loss, Self::Reference, Self::MinK, Self::MinKPlusPlus, Self::Zlib];
}

/// The scores of one record, in the order of [`ScoreKind::ALL`].
#[derive(Clone, Copy)]
pub struct RecordScores(pub [f64; 5]);

impl RecordScores {
    /// One score.
    pub fn get(&self, kind: ScoreKind) -> f64 {
        self.0[kind as usize]
    }
}

/// A record to be scored. It holds private text and therefore cannot be printed.
pub struct ScoredRecord {
    /// Row of data, from 0.
    pub row: usize,
    /// The text of which the compressed length is taken.
    pub text: String,
    /// Its blocks, as in training.
    pub blocks: Vec<Block>,
}

/// Scores every record under the adapter, with the base model as reference. `progress` hears how many are done.
///
/// # Errors
/// When a record has nothing to score, or the engine refuses it; the row is named.
pub fn score_records(
    engine: &mut dyn Engine,
    adapter: &Adapter,
    records: &[ScoredRecord],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<RecordScores>, AuditError> {
    let mut found = Vec::with_capacity(records.len());
    for records in records.chunks(AT_ONCE) {
        let (tuned, base) = (statistics(engine, Some(adapter), records)?, statistics(engine, None, records)?);
        for ((record, tuned), base) in records.iter().zip(tuned).zip(base) {
            if tuned.is_empty() {
                return Err(AuditError::NothingToScore { row: record.row + 1, tokens: 0 });
            }
            let scores = record_scores(&tuned, &base, &record.text);
            if let Some(value) = scores.0.iter().find(|value| !value.is_finite()) {
                return Err(AuditError::NotFinite { row: record.row + 1, value: *value });
            }
            found.push(scores);
            progress(found.len());
        }
    }
    Ok(found)
}

fn sequence(block: &Block) -> Sequence<'_> {
    let Block { tokens, scored_from, skipped, .. } = block;
    Sequence { tokens, scored_from: *scored_from, skipped, weight: 1.0 }
}

/// What a model says about the tokens of every record.
fn statistics(
    engine: &mut dyn Engine,
    adapter: Option<&Adapter>,
    records: &[ScoredRecord],
) -> Result<Vec<Vec<TokenStats>>, AuditError> {
    let blocks = records.iter().flat_map(|record| &record.blocks);
    let sequences: Vec<Sequence> = blocks.map(sequence).collect();
    let mut found = engine.token_statistics(adapter, &sequences)?.into_iter();
    let of = |record: &ScoredRecord| found.by_ref().take(record.blocks.len()).flatten().collect();
    Ok(records.iter().map(of).collect())
}

/// All scores of one record from its token statistics under the tuned and the base model; at least one token.
pub fn record_scores(tuned: &[TokenStats], base: &[TokenStats], text: &str) -> RecordScores {
    let mean_log_prob = |stats: &[TokenStats]| mean(stats.iter().map(|token| token.log_prob));
    let loss = mean_log_prob(tuned);
    let standardized = |token: &TokenStats| (token.log_prob - token.mean) / token.deviation.max(LEAST_DEVIATION);
    RecordScores([
        loss,
        loss - mean_log_prob(base),
        mean_of_lowest(tuned.iter().map(|token| token.log_prob).collect()),
        mean_of_lowest(tuned.iter().map(standardized).collect()),
        loss / compressed_length(text) as f64,
    ])
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Mean of the lowest 20 %, rounded down, at least one.
fn mean_of_lowest(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = ((values.len() as f64 * MIN_K_SHARE) as usize).max(1);
    mean(values[..count].iter().copied())
}

/// Length of the text in bytes after zlib at level 6. Encoders differ: on short texts by up to a fifth.
pub fn compressed_length(text: &str) -> usize {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
    // Writing into a vector cannot fail.
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    written.map_or(text.len(), |bytes| bytes.len())
}
