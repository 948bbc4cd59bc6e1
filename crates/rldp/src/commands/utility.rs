//! What a model is good for, on records that are assumed public: text against references, and the likelihood of labels.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use rldp_data::{Columns, PROMPT_END, RawRecord, TextColumns, TokenRecord, read_records, tokenize};
use rldp_lab::utility::{corpus_bleu, rouge_l};
use rldp_model::{
    Sequence,
    cpu::{CpuEngine, CpuOptions},
    generate::{GenerateOptions, Sampling, generate},
};
use serde_json::{Map, Value, json};

use crate::{exit::Wrong, models::Opened};

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
    (prompt, completion): (&str, &str),
    metrics: &[Metric],
    max_new_tokens: usize,
) -> Result<Map<String, Value>> {
    let text = TextColumns::PromptCompletion { prompt: prompt.to_owned(), completion: completion.to_owned() };
    let records = read_records(data, &Columns { text, unit: None }).map_err(Wrong::input)?;
    let mut found = Map::new();
    if metrics.contains(&Metric::Accuracy) {
        let labels: BTreeSet<&str> = records.iter().map(|record| record.text.as_str()).collect();
        let labels: Vec<&str> = labels.into_iter().collect();
        if !(2..=MOST_LABELS).contains(&labels.len()) {
            bail!(Wrong::input(anyhow::anyhow!(
                "{}: the column `{completion}` has {} distinct values, but labels are 2 to {MOST_LABELS}; name another column",
                data.display(),
                labels.len()
            )));
        }
        found.extend(accuracy(opened, data, &records, &labels)?);
    }
    if metrics.iter().any(|metric| *metric != Metric::Accuracy) {
        let groups = grouped(&records);
        let texts = continuations(opened, &groups, max_new_tokens)?;
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

/// Distinct prompts in the file's order, each with all its completions.
fn grouped(records: &[RawRecord]) -> Vec<(String, Vec<String>)> {
    let mut place = std::collections::HashMap::new();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for record in records {
        let prompt = record.prompt.clone().unwrap_or_default();
        let at = *place.entry(prompt.clone()).or_insert(groups.len());
        if at == groups.len() {
            groups.push((prompt, Vec::new()));
        }
        groups[at].1.push(record.text.clone());
    }
    groups
}

/// Greedy continuations of the prompts, laid out as in training.
fn continuations(opened: &Opened, groups: &[(String, Vec<String>)], max_new_tokens: usize) -> Result<Vec<String>> {
    let engine = CpuEngine::new(&opened.files, CpuOptions::default()).map_err(Wrong::input)?;
    let stop_tokens = opened.files.config.eos_token_ids.clone();
    let options = GenerateOptions { max_new_tokens, sampling: Sampling::GREEDY, seed: 0, stop_tokens };
    let one = |(prompt, _): &(String, Vec<String>)| -> Result<String> {
        let tokens = opened.tokenizer.encode(&format!("{prompt}{PROMPT_END}"), true).map_err(Wrong::input)?;
        let new = generate(&engine, opened.adapter.as_ref(), &tokens, &options).map_err(Wrong::input)?;
        Ok(opened.tokenizer.decode(&new).map_err(Wrong::input)?.trim().to_owned())
    };
    groups.iter().map(one).collect()
}

/// The share of records whose own label has the greatest log-likelihood after the prompt, its end included, and that of
/// the commonest label, which a model must beat to have learned anything.
fn accuracy(opened: &mut Opened, data: &Path, records: &[RawRecord], labels: &[&str]) -> Result<Map<String, Value>> {
    let with = |record: &RawRecord, label: &str| RawRecord {
        row: record.row,
        prompt: record.prompt.clone(),
        text: label.to_owned(),
        conversation: false,
        unit: None,
    };
    let every: Vec<RawRecord> =
        records.iter().flat_map(|record| labels.iter().map(move |label| with(record, label))).collect();
    let eos = opened.files.config.eos_token_ids.first().copied();
    let tokens = tokenize(data, &every, &opened.tokenizer, eos).map_err(Wrong::input)?;
    let limit = opened.files.config.max_positions;
    if let Some(long) = tokens.iter().find(|record| record.tokens.len() > limit) {
        bail!(Wrong::input(anyhow::anyhow!(
            "{}: row {} has {} tokens with a label, but the model takes {limit}; shorten the prompts",
            data.display(),
            long.row + 1,
            long.tokens.len()
        )));
    }
    let sequences: Vec<Sequence> = tokens
        .iter()
        .flat_map(TokenRecord::passages)
        .map(|(tokens, scored_from)| Sequence { tokens, scored_from, weight: 1.0 })
        .collect();
    let losses = opened.engine.losses(opened.adapter.as_ref(), &sequences).map_err(Wrong::input)?;
    ensure!(losses.len() == records.len() * labels.len(), "the engine lost a sequence");
    let right = records.iter().zip(losses.chunks_exact(labels.len())).filter(|(record, losses)| {
        let best = losses.iter().zip(labels).min_by(|a, b| a.0.nll.total_cmp(&b.0.nll));
        best.is_some_and(|(_, label)| *label == record.text)
    });
    let right = right.count() as f64;
    let commonest = labels.iter().map(|label| records.iter().filter(|record| record.text == *label).count()).max();
    let count = records.len() as f64;
    let mut found = Map::new();
    found.insert("accuracy".into(), json!(right / count));
    found.insert("commonest_label".into(), json!(commonest.unwrap_or(0) as f64 / count));
    found.insert("labels".into(), json!(labels.len()));
    Ok(found)
}
