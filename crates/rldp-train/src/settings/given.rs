//! From what was given to one resolved [`TrainSettings`].
//!
//! Order: built-in defaults, then a settings file, then flags. A file may use the sections of a run's own `config.toml`, or the
//! flags' names at top level (`epsilon = 4.0`); unknown keys are refused.

use std::collections::BTreeSet;

use rldp_control::ControllerKind;
use rldp_model::{
    ModelConfig,
    cpu::{self, Precision},
};
use toml::{Table, Value};

use super::{DataSettings, PrecisionKind, Preset, Setting, TrainSettings, all};
use crate::{
    error::TrainError,
    planning::recommend::{Asked, Workload, recommend},
};
use rldp_privacy::Choice as _;

/// Key of the number of passes over the records, from which steps follow. It is asked for and never kept.
const EPOCHS: &str = "epochs";

/// What defaults follow from beside the settings themselves. All of it counts as public.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The base model's architecture, when it could be opened.
    pub model: Option<&'a ModelConfig>,
    /// N, expected number of units that are trained on.
    pub units: Option<f64>,
    /// Whether it computes on a card.
    pub card: bool,
}

/// Settings that were given, under their sections.
#[derive(Clone, Debug, Default)]
pub struct Given {
    table: Table,
    /// Keys that are no settings; [`Given::resolve`] refuses them.
    unknown: Vec<String>,
}

impl Given {
    /// These settings and one more.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.set(key, Some(value));
        self
    }

    /// Sets one key, when there is a value.
    pub fn set(&mut self, key: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        match section_of(key) {
            Some(section) => {
                section_table(&mut self.table, section).insert(key.to_owned(), value.into());
            }
            None => self.unknown.push(key.to_owned()),
        }
    }

    /// Sets one key of a setting that is a table, such as `sac`.
    pub fn set_in(&mut self, table: &str, key: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        match section_of(table) {
            Some(section) => {
                let inner = section_table(section_table(&mut self.table, section), table);
                inner.insert(key.to_owned(), value.into());
            }
            None => self.unknown.push(format!("{table}.{key}")),
        }
    }

    /// Sets what a flag's setting is.
    pub fn set_described(&mut self, setting: &Setting, value: Value) {
        place(&mut self.table, setting.section).insert(setting.key.to_owned(), value);
    }

    /// Takes a key back.
    pub fn forget(&mut self, key: &str) {
        if let Some(section) = section_of(key) {
            section_table(&mut self.table, section).remove(key);
        }
    }

    /// As a settings file.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string_pretty(&self.table)
            .map_err(|error| TrainError::Usage(format!("the settings are no TOML: {error}")))
    }

    /// Whether a key was given.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A text value, when it was given.
    pub fn text(&self, key: &str) -> Option<String> {
        self.value(key)?.as_str().map(str::to_owned)
    }

    /// One or several text values, as many as were given.
    pub fn texts(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Value::Array(values)) => values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect(),
            Some(Value::String(text)) => vec![text.clone()],
            _ => Vec::new(),
        }
    }

    /// A number, when it was given.
    pub fn number(&self, key: &str) -> Option<f64> {
        number(self.value(key)?)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let section = section_of(key)?;
        let table =
            if section.is_empty() { Some(&self.table) } else { self.table.get(section).and_then(Value::as_table) };
        table?.get(key)
    }

    /// Takes settings from a table of flags' names or sections; `source` says in errors where they stand.
    ///
    /// # Errors
    /// When a key is no setting.
    pub fn from_table(table: Table, source: &str) -> Result<Self, TrainError> {
        let mut given = Self::default();
        let mut seen = BTreeSet::new();
        let mut once = |name: &str| {
            if seen.insert(name.to_owned()) {
                return Ok(());
            }
            Err(TrainError::Usage(format!(
                "{source}: `{name}` is given twice, flat and in its section or in two spellings; leave one out"
            )))
        };
        for (key, value) in table {
            let name = key.replace('-', "_");
            match value {
                // `model` names both a section and the flag `--model`; only a table is the section.
                Value::Table(section) if is_section(&name) => {
                    if let Some(key) = section.keys().find(|key| section_of(key) != Some(name.as_str())) {
                        return Err(unknown(source, &format!("{name}.{key}")));
                    }
                    section.keys().try_for_each(|key| once(key))?;
                    merge(section_table(&mut given.table, &name), section);
                }
                value if section_of(&name).is_some() => {
                    once(&name)?;
                    given.set(&name, Some(value));
                }
                _ => return Err(unknown(source, &key)),
            }
        }
        Ok(given)
    }

    /// Lays `over` on top of these settings.
    pub fn overlay(&mut self, over: Self) {
        // A rate that is given anew, searched for, or moved by a controller is not the rule's any more, which the settings below may
        // have let follow.
        let controller = over.text("controller").and_then(|name| name.parse::<ControllerKind>().ok());
        let moved = over.has("learning_rate")
            || over.has("rate_search")
            || controller.is_some_and(ControllerKind::moves_learning_rate);
        if moved && !over.has("rate_adaptation") {
            self.forget("rate_adaptation");
        }
        merge(&mut self.table, over.table);
        self.unknown.extend(over.unknown);
    }

    /// Whether defaults follow from the number of units, because a plan was not given.
    pub fn needs_units(&self) -> bool {
        !(self.has("batch_size") && self.has("steps"))
    }

    /// Which records were named.
    ///
    /// # Errors
    /// When no records were named, or a setting of theirs was not understood.
    pub fn data(&self) -> Result<DataSettings, TrainError> {
        let mut table = place(&mut default_table(), "data").clone();
        table.insert("max_length".to_owned(), whole(DataSettings::usual_length(None, None)));
        merge(&mut table, place(&mut self.table.clone(), "data").clone());
        Value::Table(table).try_into().map_err(|error| misunderstood(&error))
    }

    /// Fills what was not given and checks every key's name, type and bound.
    ///
    /// # Errors
    /// When something that has no default is missing, or a setting is not understood or out of bounds.
    pub fn resolve(mut self, known: &Known) -> Result<TrainSettings, TrainError> {
        if let Some(key) = self.unknown.first() {
            return Err(TrainError::Usage(format!("unknown setting `{key}`; `rldp train --help` lists the settings")));
        }
        if self.value("unsafe_non_private").and_then(Value::as_bool) == Some(true) {
            self.fill_non_private();
        }
        self.check_missing()?;
        let epochs = self.table.remove(EPOCHS);
        let mut table = default_table();
        merge(&mut table, self.table);
        let limit =
            place(&mut table, "model").get("memory_limit").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let usual_length = || whole(DataSettings::usual_length(known.model, limit));
        place(&mut table, "data").entry("max_length").or_insert_with(usual_length);
        // Telling takes some milliseconds on some processors, so only where nobody says.
        place(&mut table, "model").entry("precision").or_insert_with(|| fastest_precision(known.card).name().into());
        fill_plan(&mut table, epochs.as_ref(), known)?;
        let settings = understood(table)?;
        settings.validate()?;
        Ok(settings)
    }

    /// Names all that must be given and was not.
    fn check_missing(&self) -> Result<(), TrainError> {
        let required = all().iter().filter(|setting| setting.default == Preset::Required);
        let missing = required.filter(|setting| !self.has(setting.key)).filter_map(|setting| setting.flag.as_deref());
        let missing: Vec<String> = missing.map(|flag| format!("--{flag}")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(TrainError::Usage(format!("missing {}; give it as a flag or in --config", missing.join(", "))))
    }

    /// Without noise there is no epsilon to ask for, and nothing to steer.
    fn fill_non_private(&mut self) {
        let settings: [(&str, Value); 3] =
            [("epsilon", f64::INFINITY.into()), ("delta", 0.0.into()), ("controller", "fixed".into())];
        for (key, value) in settings {
            if !self.has(key) {
                self.set(key, Some(value));
            }
        }
    }
}

fn unknown(source: &str, key: &str) -> TrainError {
    TrainError::Usage(format!("{source}: unknown setting `{key}`; `rldp train --help` lists the settings"))
}

/// All defaults that follow from nothing else, under their sections.
pub(super) fn default_table() -> Table {
    let mut table = Table::new();
    for setting in all() {
        if let Preset::Value(value) = &setting.default {
            place(&mut table, setting.section).insert(setting.key.to_owned(), value.clone());
        }
    }
    table
}

/// Steps and batch that were not given are those that are recommended.
fn fill_plan(table: &mut Table, epochs: Option<&Value>, known: &Known) -> Result<(), TrainError> {
    let privacy = place(table, "privacy");
    let (steps, batch_size) = (privacy.get("steps").cloned(), privacy.get("batch_size").cloned());
    let epochs = epochs.map(|epochs| {
        let found = number(epochs).filter(|epochs| *epochs > 0.0 && epochs.is_finite());
        found.ok_or_else(|| TrainError::setting(EPOCHS, epochs, "positive and finite"))
    });
    let epochs = epochs.transpose()?;
    if steps.is_some() && epochs.is_some() {
        return Err(TrainError::Usage("--steps and --epochs exclude each other: steps are epochs · N / batch".into()));
    }
    if steps.is_some() && batch_size.is_some() {
        return Ok(());
    }
    // What is recommended depends on neither of the two that are filled in here.
    privacy.entry("steps").or_insert(1.into());
    privacy.entry("batch_size").or_insert(1.0.into());
    let draft = understood(table.clone())?;
    draft.validate()?;
    let Some(units) = known.units else {
        return Err(TrainError::Usage(
            "a number of steps and a batch size can only be recommended for a known number of units; give --steps and --batch-size"
                .into(),
        ));
    };
    let asked = Asked {
        steps: steps.is_some().then_some(draft.privacy.steps),
        batch_size: batch_size.is_some().then_some(draft.privacy.batch_size),
        epochs,
        records: None,
    };
    let plan = recommend(&draft, &Workload::new(&draft, units, known.model)?, &asked)?;
    let privacy = place(table, "privacy");
    privacy.insert("steps".to_owned(), whole(plan.steps as usize));
    privacy.insert("batch_size".to_owned(), plan.batch_size.into());
    Ok(())
}

fn fastest_precision(card: bool) -> PrecisionKind {
    match if card { Precision::Bf16 } else { cpu::fastest_precision() } {
        Precision::Bf16 => PrecisionKind::Bf16,
        Precision::F32 => PrecisionKind::F32,
    }
}

fn understood(table: Table) -> Result<TrainSettings, TrainError> {
    Value::Table(table).try_into().map_err(|error| misunderstood(&error))
}

fn misunderstood(error: &toml::de::Error) -> TrainError {
    TrainError::Usage(format!("a setting was not understood: {}", error.to_string().trim_end()))
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or(value.as_integer().map(|number| number as f64))
}

fn whole(number: usize) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The section of a key, or of a table of settings such as `sac`.
fn section_of(key: &str) -> Option<&'static str> {
    let nested = |setting: &Setting| setting.section.split_once('.').filter(|(_, table)| *table == key);
    let outer = |setting: &'static Setting| nested(setting).map(|(section, _)| section);
    let own = |setting: &&Setting| setting.key == key && !setting.section.contains('.');
    all().iter().find(own).map(|setting| setting.section).or_else(|| all().iter().find_map(outer))
}

fn is_section(name: &str) -> bool {
    all().iter().any(|setting| setting.section.split('.').next() == Some(name))
}

/// The table of a section, which is made when it is not there.
fn place<'a>(table: &'a mut Table, section: &str) -> &'a mut Table {
    section.split('.').filter(|name| !name.is_empty()).fold(table, section_table)
}

fn section_table<'a>(table: &'a mut Table, section: &str) -> &'a mut Table {
    if section.is_empty() {
        return table;
    }
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if !entry.is_table() {
        *entry = Value::Table(Table::new());
    }
    match entry {
        Value::Table(inner) => inner,
        _ => unreachable!("just made a table"),
    }
}

/// Lays `over` on top of `base`, table by table.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}
