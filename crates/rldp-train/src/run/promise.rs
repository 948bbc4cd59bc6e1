//! What may not change when a run is resumed.

use std::fmt::{self, Display, Formatter};

use toml::{Table, Value};

use crate::{error::TrainError, settings::TrainSettings};

/// Sections whose every key is part of the promise, but for what is named here.
const PROMISED: &[&str] = &["privacy", "data"];
/// Keys of those sections that touch public records only.
const FREE: &[&str] = &["eval"];

/// Keys outside them that the saved state was made for.
const SHAPES: &[(&str, &str)] = &[
    ("model", "rank"),
    ("model", "lora_alpha"),
    ("model", "init_lora_weights"),
    ("model", "target_modules"),
    ("model", "use_rslora"),
    ("model", "trainable"),
    ("control", "controller"),
];

/// Settings that differ between a run's own and those it is resumed with, as `section.key`, with both values.
///
/// # Errors
/// When one of them is part of the promise, or the saved state does not fit it: it is named, and the run stays as it is.
pub(crate) fn changes(before: &TrainSettings, now: &TrainSettings) -> Result<Vec<Change>, TrainError> {
    let found = differences(&table(before)?, &table(now)?);
    let promised = |change: &&Change| PROMISED.contains(&&*change.section) && !FREE.contains(&&*change.key);
    let shapes = |change: &&Change| SHAPES.contains(&(&*change.section, &*change.key));
    let refuse = |change: &Change, why: &str| {
        Err(TrainError::Refused(format!("{change}; {why}: resume without it, or start a new run")))
    };
    if let Some(change) = found.iter().find(promised) {
        return refuse(change, "the promise of a run may not change");
    }
    let named = |change: &&Change| (&*change.section, &*change.key, &*change.before) == ("model", "adapter", UNSET);
    if let Some(change) = found.iter().find(named) {
        return refuse(change, "the claim names no adapter that the run started from");
    }
    if let Some(change) = found.iter().find(shapes) {
        return refuse(change, "the saved adapter and controller do not fit another one");
    }
    Ok(found)
}

/// Value of a setting that is not there.
const UNSET: &str = "not set";

/// One setting that changed.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Change {
    section: String,
    key: String,
    before: String,
    now: String,
}

impl Display for Change {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { section, key, before, now } = self;
        write!(formatter, "`{section}.{key}` was {before} when the run began and is {now} now")
    }
}

fn table(settings: &TrainSettings) -> Result<Table, TrainError> {
    Table::try_from(settings).map_err(|error| TrainError::Usage(format!("the settings are no TOML: {error}")))
}

fn differences(before: &Table, now: &Table) -> Vec<Change> {
    let mut found = Vec::new();
    let mut sections: Vec<&String> = before.keys().chain(now.keys()).collect();
    sections.sort_unstable();
    sections.dedup();
    for section in sections.into_iter().filter(|section| *section != "output") {
        let of = |table: &Table| match table.get(section) {
            Some(Value::Table(inner)) => inner.clone(),
            Some(value) => Table::from_iter([(section.clone(), value.clone())]),
            None => Table::new(),
        };
        let (before, now) = (of(before), of(now));
        let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let text = |value: Option<&Value>| value.map_or_else(|| UNSET.to_owned(), ToString::to_string);
        found.extend(keys.into_iter().filter(|key| before.get(*key) != now.get(*key)).map(|key| Change {
            section: section.clone(),
            key: key.clone(),
            before: text(before.get(key)),
            now: text(now.get(key)),
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn promises_are_kept_and_the_rest_is_listed() {
        let before = settings();
        let mut now = settings();
        now.optimizer.learning_rate = Some(0.5);
        now.output.out = "elsewhere".into();
        now.data.eval = Some("public.csv".into());
        let found = changes(&before, &now).unwrap();
        let names: Vec<String> = found.iter().map(|change| format!("{}.{}", change.section, change.key)).collect();
        assert_eq!(names, ["data.eval", "optimizer.learning_rate"]);
        for change in [
            |settings: &mut TrainSettings| settings.privacy.epsilon = 9.0,
            |settings: &mut TrainSettings| settings.privacy.steps = 51,
            |settings: &mut TrainSettings| settings.data.unit_column = Some("patient".into()),
            |settings: &mut TrainSettings| settings.data.train = "other.csv".into(),
        ] {
            let mut now = settings();
            change(&mut now);
            let error = changes(&before, &now).unwrap_err().to_string();
            assert!(error.contains("may not change"), "{error}");
        }
        now.model.adapter = Some("adapter".into());
        assert!(changes(&before, &now).unwrap_err().to_string().contains("names no adapter"));
    }
}
