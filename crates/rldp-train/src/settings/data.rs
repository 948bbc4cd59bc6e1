//! Which records a run trains on, and what is hidden among them for its audit.

use std::{borrow::Cow, path::PathBuf};

use rldp_data::{TextColumns, canaries::Kind};
use serde::{Deserialize, Serialize};

use super::{
    Preset, Reader, Setting,
    describe::{at_least, default, derived, required, settings, strictly_between, unset},
    groups,
};

/// Tokens of a block at most, unless more are asked for.
const MOST_USUAL_LENGTH: usize = 128;

settings! {
    /// Which records, and what one unit of privacy is.
    #[section("data", "Data")]
    pub struct DataSettings {
        /// Private training records: CSV, JSONL or Parquet, plain or compressed (.gz, .zst); - reads standard input.
        train: PathBuf = required(),
        /// Evaluation records, assumed public.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        eval: Option<PathBuf> = unset(),
        /// Text that you declare public: the adapter is trained on it, without noise, before the first private step; may be given
        /// more than once.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        public: Vec<PathBuf> = unset(),
        /// Column that holds the text.
        text_column: String = default("text"),
        /// Column that holds the prompt, which is not scored.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        prompt_column: Option<String> = unset(),
        /// Column that holds the completion, which alone is scored.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        completion_column: Option<String> = unset(),
        /// Column that holds a conversation, an array of messages with role and content, rendered by the model's chat template;
        /// the assistant's turns alone are scored.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        messages_column: Option<String> = unset(),
        /// Column that names the privacy unit, such as a patient; without it every record is a unit.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        unit_column: Option<String> = unset(),
        /// Use at most this many records of a unit, sampled secretly.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        max_records_per_unit: Option<usize> = unset().bound(at_least(1, "; leave it out for no bound of your own")),
        /// Longest block in tokens; longer records are cut into blocks that stay one unit.
        max_length: usize = derived("the model's limit, at most 128").bound(at_least(2, " tokens, so that one is predicted")),
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
    /// Longest block where none is asked for, of a model with `positions` positions.
    pub(super) fn usual_length(positions: Option<usize>) -> usize {
        positions.map_or(MOST_USUAL_LENGTH, |positions| positions.min(MOST_USUAL_LENGTH))
    }

    /// Where a record's text is.
    pub fn text_columns(&self) -> TextColumns {
        let (prompt, completion) = (self.prompt_column.as_deref(), self.completion_column.as_deref());
        TextColumns::named(self.messages_column.as_deref(), prompt, completion)
            .unwrap_or_else(|| TextColumns::Text(self.text_column.clone()))
    }
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
        let of = |index: usize| self.repetitions.get(index % self.repetitions.len().max(1)).copied().unwrap_or(0);
        0.5 * (0..self.count).map(of).sum::<usize>() as f64
    }
}
