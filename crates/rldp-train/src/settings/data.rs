//! Which records a run trains on, and what is hidden among them for its audit.

use std::{borrow::Cow, path::PathBuf};

use rldp_data::{
    Columns, PROMPT_END, TextColumns, TextLayout, UnitColumn, UnitIds,
    canaries::{Kind, expected_units},
    is_standard_input,
};
use rldp_model::ModelConfig;
use serde::{Deserialize, Serialize};

use super::{
    MemorySize, Preset, Reader, Setting,
    describe::{at_least, default, derived, required, settings, strictly_between, unset, whole},
    groups,
};
use crate::{RecordFiles, core_memory, error::TrainError};

/// Tokens of a block where neither a length nor a model is known.
const USUAL_LENGTH: usize = 128;

settings! {
    /// Which records, and what one unit of privacy is.
    #[section("data", "Data")]
    pub struct DataSettings {
        /// Private training records: CSV, TSV, JSON lines, a JSON array or Parquet; all but Parquet may be compressed (.gz, .zst); -
        /// reads standard input; hf://datasets/OWNER/NAME is a public set on the hub. May be given several times.
        train: RecordFiles = required(),
        /// Evaluation records, assumed public; the first words of two of them stand in the report.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        eval: Option<PathBuf> = unset(),
        /// Text that you declare public: the adapter is trained on it, without noise, before the first private step; may be given
        /// more than once.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        public: Vec<PathBuf> = unset(),
        /// Column that holds the text.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        text_column: Option<String> = derived("the usual columns: text; messages; prompt and completion; instruction, input, output"),
        /// Column that holds the prompt, which is not scored; a text, or an array of messages.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        prompt_column: Option<String> = unset(),
        /// Column that holds the completion, which alone is scored.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        completion_column: Option<String> = unset(),
        /// Column that holds a conversation, an array of messages with role and content (or from and value), rendered by the model's
        /// chat template with the column tools, where there is one; the assistant's turns alone are scored.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        messages_column: Option<String> = unset(),
        /// Column that names the privacy unit, such as a patient; without it every record is a unit.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        unit_column: Option<String> = unset(),
        /// When two ids in that column are one unit. What differs only in blanks, case, leading zeros or Unicode form is refused where
        /// ids are checked.
        #[serde(skip_serializing_if = "is_checked", default)]
        unit_ids: UnitIds = default("checked"),
        /// What separates the fields of CSV, such as ; or \t.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        delimiter: Option<char> = derived("a comma, in .tsv a tab"),
        /// What stands between a prompt and its completion; \n and \t are understood.
        #[serde(skip_serializing_if = "is_line_break", default = "line_break")]
        prompt_end: String = derived("a line break").reader(Reader::Escaped),
        /// N, a public number that the training file has at most, such as all of a hospital's patients: the promise then holds for
        /// adding and removing a unit, and nothing that is written shows how many there are.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        units: Option<u64> = unset().bound(whole(1, 1_000_000_000)),
        /// Train although records of --eval stand in --train as well; the claim then leaves out the figures of --eval.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        allow_shared_eval: bool = default(false),
        /// Use at most this many records of a unit, sampled secretly.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        max_records_per_unit: Option<usize> = unset().bound(at_least(1, "; leave it out for no bound of your own")),
        /// Longest block in tokens. Of a longer record a prompt and earlier turns lose their start; what is scored and does not fit goes
        /// on in a further block of the same unit.
        max_length: usize = derived("what suits the model and the memory, 128 to 1024").bound(at_least(2, " tokens, so that one is predicted")),
        /// For an audit: hold every unit out with this probability (0.5 when none is given). The coins stand in RUN/private, which
        /// is never to be released.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        hold_out_members: Option<f64> =
            unset().group(groups::AUDIT).bound(strictly_between(0.0, 1.0, "; 0.5 tells most")),
        nested
        /// Secrets to plant for an audit.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        canaries: Option<CanarySettings>,
    }
}

impl DataSettings {
    /// Longest block where none is asked for, of a model and for a run that may take so much memory. It follows from no record.
    pub(super) fn usual_length(model: Option<&ModelConfig>, limit: Option<MemorySize>) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let limit = limit.map(|limit| usize::try_from(limit.0).unwrap_or(usize::MAX) / cores);
        let memory = limit.map_or_else(core_memory, |limit| limit.min(core_memory()));
        model.map_or(USUAL_LENGTH, |config| config.default_block_length(memory))
    }

    /// Where a record's text is.
    pub fn text_columns(&self) -> TextColumns {
        let (prompt, completion) = (self.prompt_column.as_deref(), self.completion_column.as_deref());
        let text = || self.text_column.clone().map_or(TextColumns::Usual, TextColumns::Text);
        TextColumns::named(self.messages_column.as_deref(), prompt, completion).unwrap_or_else(text)
    }

    /// One unit in the words of a claim: `record`, or the column that names it, with how its ids are compared where that was chosen.
    pub fn unit_words(&self) -> String {
        match (&self.unit_column, self.unit_ids) {
            (None, _) => "record".to_owned(),
            (Some(column), UnitIds::Checked) => column.clone(),
            (Some(column), ids) => format!("{column} (ids {ids})"),
        }
    }

    /// How a record becomes one sequence.
    pub fn layout(&self, config: &ModelConfig) -> TextLayout {
        TextLayout { prompt_end: self.prompt_end.clone(), eos: config.eos_token_ids.first().copied() }
    }

    /// Which columns are read, and how.
    pub(crate) fn columns(&self, with_unit: bool) -> Columns {
        let unit = self.unit_column.clone().filter(|_| with_unit).map(|name| UnitColumn { name, ids: self.unit_ids });
        Columns { text: self.text_columns(), unit, delimiter: self.delimiter.map(|delimiter| delimiter as u8) }
    }

    /// Whether what is read, and how, goes together.
    pub(super) fn validate_reading(&self) -> Result<(), TrainError> {
        let standard = usize::from(self.eval.as_deref().is_some_and(is_standard_input))
            + self.train.paths().iter().filter(|file| is_standard_input(file)).count();
        if standard > 1 {
            return Err(TrainError::Usage("standard input can be read once: --train or --eval, not both".into()));
        }
        if self.train.paths().is_empty() {
            return Err(TrainError::Usage("--train names no file; give at least one".into()));
        }
        if self.prompt_column.is_some() != self.completion_column.is_some() {
            return Err(TrainError::Usage("--prompt-column and --completion-column go together".into()));
        }
        if self.unit_ids != UnitIds::default() && self.unit_column.is_none() {
            return Err(TrainError::Usage("--unit-ids needs --unit-column: without one every record is a unit".into()));
        }
        match self.delimiter {
            Some(delimiter) if !delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r' | '\0') => {
                let bound = "one ASCII character, neither a quote nor a line break";
                Err(TrainError::setting("delimiter", format!("{delimiter:?}"), bound))
            }
            _ => Ok(()),
        }
    }
}

fn line_break() -> String {
    PROMPT_END.to_owned()
}

fn is_line_break(text: &String) -> bool {
    text == PROMPT_END
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serialization asks by reference")]
fn is_checked(ids: &UnitIds) -> bool {
    *ids == UnitIds::default()
}

/// Secrets planted for an audit, each with probability one half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanarySettings {
    /// How many; about half are included.
    pub count: usize,
    /// What they look like, in turn.
    #[serde(default = "all_kinds")]
    pub kinds: Vec<Kind>,
    /// In how many units each stands, in turn.
    #[serde(default = "usual_repetitions")]
    pub repetitions: Vec<usize>,
}

fn all_kinds() -> Vec<Kind> {
    Kind::ALL.to_vec()
}

fn usual_repetitions() -> Vec<usize> {
    vec![1, 4, 16]
}

impl CanarySettings {
    /// What is known of each field; without a count, none is planted.
    pub(super) fn described() -> Vec<Setting> {
        let one = |key, flag: &'static str, sentence: &str, reader| Setting {
            section: "data.canaries",
            key,
            flag: Some(Cow::Borrowed(flag)),
            group: groups::AUDIT,
            sentence: sentence.to_owned(),
            reader,
            default: Preset::Unset,
        };
        let list = |reader| Reader::List(Box::new(reader));
        vec![
            one(
                "count",
                "canaries",
                "For an audit: plant this many secrets, each with probability one half. They stand in RUN/private",
                Reader::Whole,
            ),
            one(
                "kinds",
                "canary-kinds",
                "Kinds of canaries, in turn; all by default",
                list(Reader::Choice(Kind::ALL.map(|kind| (kind.name(), kind.meaning())).to_vec())),
            ),
            one(
                "repetitions",
                "canary-repetitions",
                "In how many units a canary stands, in turn; 1,4,16 by default",
                list(Reader::Whole),
            ),
        ]
    }

    /// Units that are expected to hold a canary.
    pub(crate) fn expected_units(&self) -> f64 {
        expected_units(self.count, self.kinds.len(), &self.repetitions)
    }
}
