//! Reads and tokenizes what a run trains and evaluates on.

use std::{collections::BTreeSet, path::Path};

use rldp_control::Controller;
use rldp_data::{
    Columns, PrivacyUnits, TextTokenizer, TokenRecord, UnitPolicy, is_standard_input, read_records, shared_records,
    tokenize,
};
use rldp_model::{Engine, EngineError, ModelConfig};
use rldp_privacy::PublicFile;

use crate::{
    error::TrainError,
    evaluate::PublicRecords,
    learner::PublicText,
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
}

/// Records of a run, tokenized.
pub struct Records {
    /// The private records, grouped into units.
    pub units: PrivacyUnits,
    /// Coins and canaries of a new run, to be written into its folder.
    pub secrets: Secrets,
    /// Records that are assumed public.
    pub eval: Option<PublicRecords>,
    /// Text to begin with, declared public.
    pub public: Option<PublicText>,
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
    let train = tokenized(&data.train, data, data.unit_column.as_deref(), tokenizer, config)?;
    let policy = UnitPolicy {
        max_length: data.max_length,
        max_records: data.max_records_per_unit,
        unsafe_seed: settings.privacy.unsafe_noise_seed,
    };
    let units = match data.unit_column {
        Some(_) => PrivacyUnits::by_column(&train, &policy)?,
        None => PrivacyUnits::by_record(&train, &policy)?,
    };
    let max_length = data.max_length;
    let eval = match &data.eval {
        Some(path) => Some(PublicRecords::declare(&tokenized(path, data, None, tokenizer, config)?, max_length)),
        None => None,
    };
    let public = public_text(data, &train, tokenizer, config)?;
    let (units, secrets) = plant(settings, units, tokenizer, config)?;
    Ok(Records { units, secrets, eval, public })
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
        if is_standard_input(path) {
            return Err(TrainError::Usage(
                "--public names files, which the claim tells apart by their digests; it reads no standard input".into(),
            ));
        }
        let found = tokenized(path, data, None, tokenizer, config)?;
        let shared = shared_records(train, &found);
        if shared > 0 {
            return Err(TrainError::Refused(format!(
                "{}: {shared} of {} records also stand in {}, so they are not public; take them out of one of the two files",
                path.display(),
                found.len(),
                data.train.display()
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
    if is_standard_input(&data.train) {
        return Err(TrainError::Usage(
            "units on standard input cannot be counted before they are read; give --steps and --batch-size".into(),
        ));
    }
    let columns = Columns { text: data.text_columns(), unit: data.unit_column.clone() };
    let records = read_records(&data.train, &columns)?;
    let units = match &data.unit_column {
        Some(_) => records.iter().map(|record| record.unit.as_deref()).collect::<BTreeSet<_>>().len(),
        None => records.len(),
    };
    let kept = units as f64 * (1.0 - data.hold_out_members.unwrap_or(0.0));
    Ok(kept + data.canaries.as_ref().map_or(0.0, CanarySettings::expected_units))
}

fn tokenized(
    path: &Path,
    data: &DataSettings,
    unit: Option<&str>,
    tokenizer: &TextTokenizer,
    config: &ModelConfig,
) -> Result<Vec<TokenRecord>, TrainError> {
    let text = data.text_columns();
    let records = read_records(path, &Columns { text, unit: unit.map(str::to_owned) })?;
    let records = tokenize(path, &records, tokenizer, config.eos_token_ids.first().copied())?;
    // The engine would find it too, but only in the step that samples the record, when that is paid for.
    let vocab = config.vocab_size;
    if let Some(&token) = records.iter().flat_map(|record| &record.tokens).find(|token| **token as usize >= vocab) {
        return Err(EngineError::UnknownToken { token, vocab }.into());
    }
    Ok(records)
}
