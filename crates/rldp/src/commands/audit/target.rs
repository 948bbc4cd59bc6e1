//! What is attacked: a model with its adapter, from a run folder or named by flags.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;
use rldp_audit::score::{RecordScores, ScoredRecord, score_records};
use rldp_data::{RawRecord, TokenRecord, tokenize};
use rldp_model::{Adapter, ModelSource};
use rldp_train::{files, settings::TrainSettings};

use crate::{
    cli::{AuditArguments, ModelArguments},
    exit::Wrong,
    models::Opened,
    origin::Origin,
    progress::note,
    reading::{self, Reading},
};

/// Notes of progress on the way.
const NOTES: usize = 10;

/// A model, its adapter and what its run promised.
pub(super) struct Target {
    pub(super) opened: Opened,
    pub(super) adapter: Adapter,
    pub(super) adapter_path: PathBuf,
    pub(super) settings: Option<TrainSettings>,
    reading: Reading,
}

/// What names a target, before its model is opened.
pub(super) struct Named {
    settings: Option<TrainSettings>,
    adapter_path: PathBuf,
}

impl Named {
    /// Opens what the arguments name.
    pub(super) fn open(arguments: &AuditArguments) -> Result<(Opened, Self)> {
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
        let opened = Opened::new(&ModelArguments {
            model,
            adapter: Some(adapter_path.clone()),
            engine: arguments.engine,
            device: arguments.device,
        })?;
        Ok((opened, Self { settings, adapter_path }))
    }
}

impl Target {
    pub(super) fn new(mut opened: Opened, named: Named, arguments: &AuditArguments) -> Result<Self> {
        let Named { settings, adapter_path } = named;
        let Some(adapter) = opened.adapter.take() else { anyhow::bail!("an adapter was given but not loaded") };
        let beside = reading::trained_with(Some(&adapter_path))?;
        let trained = settings.as_ref().map(|run| &run.data).or(beside.as_ref());
        let mut reading = Reading::new(&arguments.columns, &opened.files.config, trained);
        if let Some(own) = settings.as_ref().map(|run| &run.data) {
            // The columns of the flags, or those that the run was trained on.
            reading.columns.text = arguments.columns.named().unwrap_or_else(|| own.text_columns());
            reading.columns.delimiter = reading.columns.delimiter.or(own.delimiter.map(|delimiter| delimiter as u8));
        }
        Ok(Self { opened, adapter, adapter_path, settings, reading })
    }

    /// Scores the records of a file.
    pub(super) fn score_file(&mut self, label: &str, path: &Path) -> Result<Vec<RecordScores>> {
        let records = self.read(label, path)?;
        self.score(label, path, &records)
    }

    /// The records of a file, ready to be scored.
    pub(super) fn read(&self, label: &str, path: &Path) -> Result<Vec<ScoredRecord>> {
        self.tokenized(label, path, &self.reading.raw(path)?)
    }

    /// Scores texts that stand in `path`, one a row.
    pub(super) fn score_texts(&mut self, label: &str, path: &Path, texts: &[&str]) -> Result<Vec<RecordScores>> {
        let record = |(row, text): (usize, &&str)| RawRecord::text(row, (*text).to_owned());
        let records: Vec<RawRecord> = texts.iter().enumerate().map(record).collect();
        let records = self.tokenized(label, path, &records)?;
        self.score(label, path, &records)
    }

    fn tokenized(&self, label: &str, path: &Path, records: &[RawRecord]) -> Result<Vec<ScoredRecord>> {
        let tokens = tokenize(path, records, &self.opened.tokenizer, &self.reading.layout).map_err(Wrong::input)?;
        self.reading.say(label, &tokens);
        let scored = |(tokens, raw): (TokenRecord, &RawRecord)| ScoredRecord {
            row: raw.row,
            text: raw.scored_text().to_owned(),
            blocks: tokens.blocks(self.reading.max_length),
        };
        Ok(tokens.into_iter().zip(records).map(scored).collect())
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
}

/// Settings of a run, its files as they are reached from here.
pub(super) fn settings(run: &Path) -> Result<TrainSettings> {
    let path = run.join(files::CONFIG);
    let text = fs::read_to_string(&path).map_err(Wrong::input)?;
    let settings = TrainSettings::from_toml(&text)
        .map_err(|error| Wrong::input(anyhow::anyhow!("{} cannot be read: {}", path.display(), error.message())))?;
    // The model is located where it is opened: it may be named anew.
    Origin::of(run).locate(&settings, |key| key == "model")
}

/// Why a run promises nothing, when it does not.
pub(super) fn without_guarantee(settings: &TrainSettings) -> Option<String> {
    let reasons = settings.unsafe_reasons();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
