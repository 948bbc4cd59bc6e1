//! Reads and tokenizes what a run trains and evaluates on.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use rldp_control::Controller;
use rldp_data::{
    Columns, IdBook, PrivacyUnits, TextLayout, TextTokenizer, TokenRecord, UnitPolicy, is_in_memory, is_standard_input,
    read_more_records, shared_records, tokenize,
};
use rldp_model::{Engine, EngineError, ModelConfig};
use rldp_privacy::{Digests, PublicFile};

use crate::{
    cuts::Cuts,
    error::TrainError,
    evaluate::PublicRecords,
    learner::PublicText,
    overlap::{
        refuse_declared_public, refuse_more_units, refuse_same_file, refuse_same_records, shared_eval, unit_warnings,
    },
    run::secrets::{Secrets, plant},
    settings::{CanarySettings, DataSettings, TrainSettings},
};

/// What a run works on.
pub struct Inputs {
    /// Computes losses and gradients of the base model.
    pub engine: Box<dyn Engine>,
    /// A controller of the caller's own, in place of the one that the settings name.
    pub controller: Option<Box<dyn Controller>>,
    /// The private records, grouped into units.
    pub units: PrivacyUnits,
    /// Coins and canaries of a new run, to be written into its folder.
    pub secrets: Secrets,
    /// Records that are assumed public.
    pub eval: Option<PublicRecords>,
    /// Text to begin with, declared public.
    pub public: Option<PublicText>,
    /// How PEFT names the base model.
    pub base_name: String,
    /// SHA-256 of the base model's files by their names after `base/`; empty for an embedded model.
    pub base_digests: Digests,
}

/// Records of a run, tokenized.
pub struct Records {
    /// The private records, grouped into units.
    pub units: PrivacyUnits,
    /// Coins and canaries of a new run, to be written into its folder.
    pub secrets: Secrets,
    /// Records that are assumed public.
    pub eval: Option<PublicRecords>,
    /// What the blocks leave out of the private records: for the person who runs the training, not for release.
    pub cuts: Cuts,
    /// Text to begin with, declared public.
    pub public: Option<PublicText>,
    /// What the person at the terminal should know about the units. It is a function of private records, and for nobody else.
    pub warnings: Vec<String>,
}

/// Units and evaluation records of a run.
///
/// # Errors
/// When a file cannot be read, a column is missing, or a record has no tokens; messages never show a record.
pub fn load_records(
    settings: &TrainSettings,
    tokenizer: &TextTokenizer,
    config: &ModelConfig,
) -> Result<Records, TrainError> {
    let data = &settings.data;
    let limit = config.max_positions;
    if data.max_length > limit {
        return Err(TrainError::setting(
            "max-length",
            data.max_length,
            &format!("at most {limit}, the model's positions"),
        ));
    }
    let train = tokenized(data.train.paths(), data, true, tokenizer, config)?;
    let cuts = Cuts::of(&train, data.max_length);
    let policy = UnitPolicy {
        max_length: data.max_length,
        max_records: data.max_records_per_unit,
        unsafe_seed: settings.privacy.unsafe_noise_seed,
    };
    let units = match data.unit_column {
        Some(_) => PrivacyUnits::by_column(&train, &policy)?,
        None => PrivacyUnits::by_record(&train, &policy)?,
    };
    let mut warnings = unit_warnings(train.len(), data.unit_column.as_deref(), units.len());
    if data.max_records_per_unit.is_some() && data.unit_column.is_none() {
        warnings.push("--max-records-per-unit does nothing without --unit-column: every record is a unit".into());
    }
    let eval = match &data.eval {
        Some(path) => Some(evaluated(settings, path, &train, tokenizer, config)?),
        None => None,
    };
    let public = public_text(data, &train, tokenizer, config)?;
    refuse_declared_public(settings)?;
    if let Some(declared) = data.units {
        refuse_more_units(units.len(), declared)?;
    }
    let missing = data.units.map_or(0, |declared| declared.saturating_sub(units.len() as u64));
    let (units, secrets) = plant(settings, units, tokenizer, config)?;
    let chance = 1.0 - data.hold_out_members.unwrap_or(0.0);
    Ok(Records { units: units.with_absent(missing, chance), secrets, eval, cuts, public, warnings })
}

/// Evaluation records, which a run that promises something takes only when they are not its private ones.
fn evaluated(
    settings: &TrainSettings,
    path: &PathBuf,
    train: &[TokenRecord],
    tokenizer: &TextTokenizer,
    config: &ModelConfig,
) -> Result<PublicRecords, TrainError> {
    let data = &settings.data;
    let promises = settings.unsafe_reasons().is_empty();
    if promises {
        data.train.paths().iter().try_for_each(|train| refuse_same_file(train, path))?;
    }
    let records = tokenized(std::slice::from_ref(path), data, false, tokenizer, config)?;
    if promises && is_in_memory(path) {
        refuse_same_records(data.train.first(), train, path, &records)?;
    }
    if promises && !data.allow_shared_eval && shared_records(train, &records) > 0 {
        return Err(shared_eval(settings, path));
    }
    let declared = PublicRecords::declare(&records, data.max_length);
    // Words of records that may be private ones belong into no report.
    let apart = promises && !data.allow_shared_eval;
    Ok(if apart { declared.with_openings(&records) } else { declared })
}

/// The text of `--public`, none of which may stand among the private records.
fn public_text(
    data: &DataSettings,
    train: &[TokenRecord],
    tokenizer: &TextTokenizer,
    config: &ModelConfig,
) -> Result<Option<PublicText>, TrainError> {
    let (mut files, mut records) = (Vec::new(), Vec::new());
    for path in &data.public {
        if is_standard_input(path) || is_in_memory(path) {
            return Err(TrainError::Usage(
                "--public names files, which the claim tells apart by their digests; it reads no standard input and no table in memory"
                    .into(),
            ));
        }
        let found = tokenized(std::slice::from_ref(path), data, false, tokenizer, config)?;
        if shared_records(train, &found) > 0 {
            return Err(TrainError::Refused(format!(
                "{}: records of it also stand among those of --train, so they are not public; take them out of one of the two files",
                path.display()
            )));
        }
        files.push(PublicFile::of(&fs_err::read(path)?, found.len()));
        records.extend(found);
    }
    if files.is_empty() { Ok(None) } else { PublicText::declare(files, records, data.max_length).map(Some) }
}

/// N, the expected number of units of a run, without tokenizing anything: what a plan may depend on.
///
/// # Errors
/// When the file cannot be read, or is standard input, which can be read once.
pub fn count_units(data: &DataSettings) -> Result<f64, TrainError> {
    if data.units.is_none() && data.train.has_standard_input() {
        return Err(TrainError::Usage(
            "units on standard input cannot be counted before they are read; give --steps and --batch-size".into(),
        ));
    }
    let units = match data.units {
        Some(declared) => declared as f64,
        None => counted(data)? as f64,
    };
    let kept = units * (1.0 - data.hold_out_members.unwrap_or(0.0));
    Ok(kept + data.canaries.as_ref().map_or(0.0, CanarySettings::expected_units))
}

/// How many units the files hold.
fn counted(data: &DataSettings) -> Result<usize, TrainError> {
    let (columns, mut ids) = (data.columns(true), IdBook::new(data.unit_ids));
    let (mut records, mut named) = (0, BTreeSet::new());
    for file in data.train.paths() {
        let found = read_more_records(file, &columns, &mut ids)?;
        records += found.len();
        named.extend(found.into_iter().map(|record| record.unit));
    }
    Ok(if data.unit_column.is_some() { named.len() } else { records })
}

/// Records of several files, one after another.
fn tokenized(
    files: &[PathBuf],
    data: &DataSettings,
    with_unit: bool,
    tokenizer: &TextTokenizer,
    config: &ModelConfig,
) -> Result<Vec<TokenRecord>, TrainError> {
    let (columns, mut ids) = (data.columns(with_unit), IdBook::new(data.unit_ids));
    let mut all = Vec::new();
    for file in files {
        let first = all.len();
        let records = tokenized_file(file, &columns, &mut ids, &data.layout(config), tokenizer)?;
        all.extend(records.into_iter().map(|record| TokenRecord { row: first + record.row, ..record }));
    }
    // The engine would find it too, but only in the step that samples the record, when that is paid for.
    let vocab = config.vocab_size;
    if let Some(&token) = all.iter().flat_map(|record| &record.tokens).find(|token| **token as usize >= vocab) {
        return Err(EngineError::UnknownToken { token, vocab }.into());
    }
    Ok(all)
}

fn tokenized_file(
    file: &Path,
    columns: &Columns,
    ids: &mut IdBook,
    layout: &TextLayout,
    tokenizer: &TextTokenizer,
) -> Result<Vec<TokenRecord>, TrainError> {
    let records = read_more_records(file, columns, ids)?;
    Ok(tokenize(file, &records, tokenizer, layout)?)
}
