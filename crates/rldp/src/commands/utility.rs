//! What a model is good for, on records that are assumed public: text against references, and the likelihood of labels.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use rldp_data::{Block, Columns, Content, RawRecord, TextColumns, read_records, tokenize};
use rldp_lab::utility::{corpus_bleu, rouge_l};
use rldp_model::{
    Sequence,
    generate::{GenerateOptions, Sampling},
};
use rldp_train::evaluate::sequence;
use serde_json::{Map, Value, json};

use crate::{exit::Wrong, models::Opened, reading::Reading};

/// What is computed beside perplexity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Metric {
    /// BLEU of greedy continuations of the prompts, as sacrebleu computes it
    Bleu,
    /// ROUGE-L of the same continuations
    RougeL,
    /// How often the likeliest of all completions in the file is the record's own
    Accuracy,
}

/// More distinct completions than this are texts and no labels.
const MOST_LABELS: usize = 100;

/// Computes `metrics` on the prompts and completions of `data`.
pub(crate) fn measure(
    opened: &mut Opened,
    data: &Path,
    ((prompt, completion), reading): ((&str, &str), &Reading),
    metrics: &[Metric],
    max_new_tokens: usize,
) -> Result<Map<String, Value>> {
    let text = TextColumns::PromptCompletion { prompt: prompt.to_owned(), completion: completion.to_owned() };
    let records = read_records(data, &Columns { text, ..reading.columns.clone() }).map_err(Wrong::input)?;
    let records = pairs(data, records)?;
    let mut found = Map::new();
    if metrics.contains(&Metric::Accuracy) {
        let labels: BTreeSet<&str> = records.iter().map(|record| record.completion.as_str()).collect();
        let labels: Vec<&str> = labels.into_iter().collect();
        if !(2..=MOST_LABELS).contains(&labels.len()) {
            bail!(Wrong::input(anyhow::anyhow!(
                "{}: the column `{completion}` has {} distinct values, but labels are 2 to {MOST_LABELS}; name another column",
                data.display(),
                labels.len()
            )));
        }
        found.extend(accuracy(opened, data, (&records, reading), &labels)?);
    }
    if metrics.iter().any(|metric| *metric != Metric::Accuracy) {
        let groups = grouped(&records);
        let texts = continuations(opened, &groups, reading, max_new_tokens)?;
        let references: Vec<Vec<String>> = groups.into_iter().map(|(_, references)| references).collect();
        found.insert("prompts".into(), json!(texts.len()));
        if metrics.contains(&Metric::Bleu) {
            found.insert("bleu".into(), json!(corpus_bleu(&texts, &references)));
        }
        if metrics.contains(&Metric::RougeL) {
            let scores = texts.iter().zip(&references).map(|(text, references)| rouge_l(text, references));
            found.insert("rouge_l".into(), json!(scores.sum::<f64>() / texts.len() as f64));
        }
    }
    Ok(found)
}

/// A prompt with its completion.
struct Pair {
    row: usize,
    prompt: String,
    completion: String,
}

/// The records as texts; conversations have no metrics.
fn pairs(data: &Path, records: Vec<RawRecord>) -> Result<Vec<Pair>> {
    let pair = |record: RawRecord| match record.content {
        Content::Pair { prompt, completion } => Ok(Pair { row: record.row, prompt, completion }),
        _ => Err(Wrong::input(anyhow::anyhow!(
            "{}: --metrics takes prompts and completions that are texts; these are messages",
            data.display()
        ))
        .into()),
    };
    records.into_iter().map(pair).collect()
}

/// Distinct prompts in the file's order, each with all its completions.
fn grouped(records: &[Pair]) -> Vec<(String, Vec<String>)> {
    let mut place = std::collections::HashMap::new();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for Pair { prompt, completion, .. } in records {
        let at = *place.entry(prompt.as_str()).or_insert(groups.len());
        if at == groups.len() {
            groups.push((prompt.clone(), Vec::new()));
        }
        groups[at].1.push(completion.clone());
    }
    groups
}

/// Greedy continuations of the prompts, laid out as in training. A prompt that leaves no room for them loses its start.
fn continuations(
    opened: &mut Opened,
    groups: &[(String, Vec<String>)],
    reading: &Reading,
    max_new_tokens: usize,
) -> Result<Vec<String>> {
    let stop_tokens = opened.files.config.eos_token_ids.clone();
    let options = GenerateOptions { max_new_tokens, sampling: Sampling::GREEDY, seed: 0, stop_tokens };
    let room = opened.files.config.max_positions.saturating_sub(max_new_tokens).max(1);
    let mut one = |(prompt, _): &(String, Vec<String>)| -> Result<String> {
        let text = format!("{prompt}{}", reading.layout.prompt_end);
        let tokens = opened.tokenizer.encode_end(&text, room).map_err(Wrong::input)?;
        let new = opened.engine.generate(opened.adapter.as_ref(), &tokens, &options).map_err(Wrong::input)?;
        Ok(opened.tokenizer.decode(&new).map_err(Wrong::input)?.trim().to_owned())
    };
    groups.iter().map(&mut one).collect()
}

/// The share of records whose own label has the greatest log-likelihood after the prompt, its end included, and that of
/// the commonest label, which a model must beat to have learned anything.
fn accuracy(
    opened: &mut Opened,
    data: &Path,
    (records, reading): (&[Pair], &Reading),
    labels: &[&str],
) -> Result<Map<String, Value>> {
    let with = |record: &Pair, label: &str| RawRecord::pair(record.row, record.prompt.clone(), label.to_owned());
    let every: Vec<RawRecord> =
        records.iter().flat_map(|record| labels.iter().map(move |label| with(record, label))).collect();
    let tokens = tokenize(data, &every, &opened.tokenizer, &reading.layout).map_err(Wrong::input)?;
    let blocks: Vec<Vec<Block>> = tokens.iter().map(|record| record.blocks(reading.max_length)).collect();
    let sequences: Vec<Sequence> = blocks.iter().flatten().map(|block| sequence(block, 1.0)).collect();
    let mut found = opened.engine.losses(opened.adapter.as_ref(), &sequences).map_err(Wrong::input)?.into_iter();
    let losses: Vec<f64> =
        blocks.iter().map(|blocks| found.by_ref().take(blocks.len()).map(|loss| loss.nll).sum()).collect();
    ensure!(losses.len() == records.len() * labels.len() && found.next().is_none(), "the engine lost a sequence");
    let right = records.iter().zip(losses.chunks_exact(labels.len())).filter(|(record, losses)| {
        let best = losses.iter().zip(labels).min_by(|a, b| a.0.total_cmp(b.0));
        best.is_some_and(|(_, label)| *label == record.completion)
    });
    let right = right.count() as f64;
    let commonest =
        labels.iter().map(|label| records.iter().filter(|record| record.completion == *label).count()).max();
    let count = records.len() as f64;
    let mut found = Map::new();
    found.insert("accuracy".into(), json!(right / count));
    found.insert("commonest_label".into(), json!(commonest.unwrap_or(0) as f64 / count));
    found.insert("labels".into(), json!(labels.len()));
    Ok(found)
}
