//! What is attacked: a model with its adapter, from a run folder or named by flags.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;
use rldp_audit::score::{RecordScores, ScoredRecord, score_records};
use rldp_data::{RawRecord, TextColumns, TokenRecord, read_records, tokenize};
use rldp_model::{Adapter, ModelSource};
use rldp_train::{files, settings::TrainSettings};

use crate::{
    cli::{AuditArguments, ColumnArguments, ModelArguments},
    exit::Wrong,
    models::Opened,
    origin::Origin,
    progress::note,
};

/// Notes of progress on the way.
const NOTES: usize = 10;

/// A model, its adapter and what its run promised.
pub(super) struct Target {
    pub(super) opened: Opened,
    pub(super) adapter: Adapter,
    pub(super) adapter_path: PathBuf,
    pub(super) settings: Option<TrainSettings>,
    max_length: usize,
}

impl Target {
    pub(super) fn open(arguments: &AuditArguments) -> Result<Self> {
        let settings = arguments.run.as_deref().map(settings).transpose()?;
        let model = match (&arguments.model, &arguments.run, &settings) {
            (Some(model), ..) => Some(model.clone()),
            (None, Some(run), Some(settings)) => Some(Origin::of(run).model(&settings.model.model)?),
            _ => None,
        };
        let adapter_path =
            arguments.adapter.clone().or_else(|| arguments.run.as_ref().map(|run| run.join(files::ADAPTER)));
        let (Some(model), Some(adapter_path)) = (model, adapter_path) else {
            anyhow::bail!(Wrong::usage(anyhow::anyhow!("give a run folder, or --model with --adapter")));
        };
        if matches!(ModelSource::classify(&model), ModelSource::Absent(_)) {
            anyhow::bail!(Wrong::input(anyhow::anyhow!(
                "the model {} is not there; say where it is with --model",
                model.display()
            )));
        }
        let mut opened =
            Opened::new(&ModelArguments { model, adapter: Some(adapter_path.clone()), engine: arguments.engine })?;
        let Some(adapter) = opened.adapter.take() else { anyhow::bail!("an adapter was given but not loaded") };
        let limit = opened.files.config.max_positions;
        let max_length = arguments.columns.max_length.map_or(limit, |length| (length as usize).min(limit));
        Ok(Self { opened, adapter, adapter_path, settings, max_length })
    }

    /// Scores the records of a file.
    pub(super) fn score_file(
        &mut self,
        label: &str,
        path: &Path,
        columns: &ColumnArguments,
    ) -> Result<Vec<RecordScores>> {
        let records = self.read(label, path, columns)?;
        self.score(label, path, &records)
    }

    /// The records of a file, ready to be scored.
    pub(super) fn read(&self, label: &str, path: &Path, columns: &ColumnArguments) -> Result<Vec<ScoredRecord>> {
        let text = self.text_columns(columns);
        let records = read_records(path, &rldp_data::Columns { text, unit: None }).map_err(Wrong::input)?;
        self.tokenized(label, path, &records)
    }

    /// Scores texts that stand in `path`, one a row.
    pub(super) fn score_texts(&mut self, label: &str, path: &Path, texts: &[&str]) -> Result<Vec<RecordScores>> {
        let record = |(row, text): (usize, &&str)| RawRecord {
            row,
            prompt: None,
            text: (*text).to_owned(),
            conversation: false,
            unit: None,
        };
        let records: Vec<RawRecord> = texts.iter().enumerate().map(record).collect();
        let records = self.tokenized(label, path, &records)?;
        self.score(label, path, &records)
    }

    fn tokenized(&self, label: &str, path: &Path, records: &[RawRecord]) -> Result<Vec<ScoredRecord>> {
        let eos = self.opened.files.config.eos_token_ids.first().copied();
        let tokens = tokenize(path, records, &self.opened.tokenizer, eos).map_err(Wrong::input)?;
        let long = tokens.iter().filter(|record| record.tokens.len() > self.max_length).count();
        if long > 0 {
            note("note", &format!("{label}: {long} records are longer than {} tokens and are cut", self.max_length));
        }
        // A conversation is judged by its last answer, given all that was said before.
        let cut = |(mut tokens, raw): (TokenRecord, &RawRecord)| {
            tokens.truncate(self.max_length);
            let (passage, scored_from) = tokens.passages().last().unwrap_or_default();
            ScoredRecord { row: raw.row, text: raw.text.clone(), tokens: passage.to_vec(), scored_from }
        };
        Ok(tokens.into_iter().zip(records).map(cut).collect())
    }

    /// Scores records of `path`.
    pub(super) fn score(&mut self, label: &str, path: &Path, records: &[ScoredRecord]) -> Result<Vec<RecordScores>> {
        let total = records.len();
        let mut progress = |done: usize| {
            if done == total || done.is_multiple_of((total / NOTES).max(50)) {
                note(label, &format!("{done} of {total} records"));
            }
        };
        let found = score_records(self.opened.engine.as_mut(), &self.adapter, records, &mut progress);
        found.map_err(|error| Wrong::input(anyhow::anyhow!("{}: {error}", path.display())).into())
    }

    /// The columns of the flags, or those that the run was trained on.
    fn text_columns(&self, columns: &ColumnArguments) -> TextColumns {
        let trained = || self.settings.as_ref().map(|settings| settings.data.text_columns());
        columns.named().or_else(trained).unwrap_or_else(|| TextColumns::Text("text".to_owned()))
    }
}

pub(super) fn settings(run: &Path) -> Result<TrainSettings> {
    let path = run.join(files::CONFIG);
    let text = fs::read_to_string(&path).map_err(Wrong::input)?;
    TrainSettings::from_toml(&text)
        .map_err(|error| Wrong::input(anyhow::anyhow!("{} cannot be read: {}", path.display(), error.message())).into())
}

/// Why a run promises nothing, when it does not.
pub(super) fn without_guarantee(settings: &TrainSettings) -> Option<String> {
    let reasons = settings.unsafe_reasons();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
