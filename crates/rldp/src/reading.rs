//! How records are read and cut: by flags, or else as an adapter was trained, or else by default.

use std::path::Path;

use anyhow::Result;
use rldp_data::{Columns, RawRecord, TextColumns, TextLayout, TextTokenizer, TokenRecord, read_records, tokenize};
use rldp_model::ModelConfig;
use rldp_train::{
    Cuts, core_memory, files,
    settings::{DataSettings, TrainSettings},
};

use crate::{cli::ColumnArguments, exit::Wrong, progress::note};

/// Columns, layout and block length of records.
pub(crate) struct Reading {
    pub(crate) columns: Columns,
    pub(crate) layout: TextLayout,
    /// Longest block in tokens, within the model's positions.
    pub(crate) max_length: usize,
}

impl Reading {
    /// What the flags say; where they are silent, blocks and prompts are those of the run that made the adapter, so that it has one
    /// perplexity wherever it is measured.
    pub(crate) fn new(flags: &ColumnArguments, config: &ModelConfig, trained: Option<&DataSettings>) -> Self {
        let mut layout = TextLayout::new(config.eos_token_ids.first().copied());
        if let Some(end) = flags.prompt_end.as_ref().or(trained.map(|trained| &trained.prompt_end)) {
            layout.prompt_end.clone_from(end);
        }
        let length = flags.max_length.map(|length| length as usize).or(trained.map(|trained| trained.max_length));
        let max_length = length.unwrap_or_else(|| config.default_block_length(core_memory())).min(config.max_positions);
        let delimiter = flags.delimiter.map(|delimiter| delimiter as u8);
        let text = flags.named().unwrap_or(TextColumns::Usual);
        Self { columns: Columns { text, unit: None, delimiter }, layout, max_length }
    }

    /// The records of a file as they stand in it.
    pub(crate) fn raw(&self, data: &Path) -> Result<Vec<RawRecord>> {
        Ok(read_records(data, &self.columns).map_err(Wrong::input)?)
    }

    /// The records of a file as tokens.
    pub(crate) fn tokens(&self, data: &Path, tokenizer: &TextTokenizer) -> Result<Vec<TokenRecord>> {
        Ok(tokenize(data, &self.raw(data)?, tokenizer, &self.layout).map_err(Wrong::input)?)
    }

    /// Says on standard error what blocks leave out.
    pub(crate) fn say(&self, label: &str, records: &[TokenRecord]) {
        Cuts::of(records, self.max_length).words(label).iter().for_each(|words| note("note", words));
    }
}

/// The data settings of the run whose adapter this is; `None` for an adapter that stands in no run.
pub(crate) fn trained_with(adapter: Option<&Path>) -> Result<Option<DataSettings>> {
    let Some(path) = adapter.and_then(Path::parent).map(|run| run.join(files::CONFIG)).filter(|path| path.exists())
    else {
        return Ok(None);
    };
    let text = fs_err::read_to_string(&path).map_err(Wrong::input)?;
    // A folder of adapters may hold somebody else's file of that name.
    Ok(toml::from_str::<TrainSettings>(&text).ok().map(|settings| settings.data))
}
