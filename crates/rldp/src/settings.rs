//! From flags and a settings file to one resolved [`TrainSettings`].
//!
//! Order: built-in defaults, then the file of `--config`, then flags. A file may use the sections of a run's own
//! `config.toml`, or the flags' names at top level (`epsilon = 4.0`); unknown keys are refused.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use rldp_train::settings::{TrainSettings, default_learning_rate};
use toml::{Table, Value};

use crate::exit::Wrong;

/// Every setting and the section it lives in; top-level keys stand alone.
const KEYS: &[(&str, &str)] = &[
    ("seed", ""),
    ("epsilon", "privacy"),
    ("delta", "privacy"),
    ("steps", "privacy"),
    ("other_steps", "privacy"),
    ("noise_bands", "privacy"),
    ("batch_size", "privacy"),
    ("regime", "privacy"),
    ("accountant", "privacy"),
    ("clipping", "privacy"),
    ("scaling", "privacy"),
    ("geometry", "privacy"),
    ("clip_norm", "privacy"),
    ("statistics_share", "privacy"),
    ("unsafe_noise_seed", "privacy"),
    ("unsafe_non_private", "privacy"),
    ("train", "data"),
    ("eval", "data"),
    ("text_column", "data"),
    ("prompt_column", "data"),
    ("completion_column", "data"),
    ("messages_column", "data"),
    ("unit_column", "data"),
    ("max_records_per_unit", "data"),
    ("max_length", "data"),
    ("hold_out_members", "data"),
    ("canaries", "data"),
    ("model", "model"),
    ("rank", "model"),
    ("lora_alpha", "model"),
    ("target_modules", "model"),
    ("trainable", "model"),
    ("engine", "model"),
    ("precision", "model"),
    ("micro_batch_tokens", "model"),
    ("memory_limit", "model"),
    ("optimizer", "optimizer"),
    ("learning_rate", "optimizer"),
    ("warmup", "optimizer"),
    ("decay", "optimizer"),
    ("beta1", "optimizer"),
    ("beta2", "optimizer"),
    ("adam_epsilon", "optimizer"),
    ("noise_floor", "optimizer"),
    ("weight_decay", "optimizer"),
    ("controller", "control"),
    ("interval", "control"),
    ("rate_search", "control"),
    ("policy", "control"),
    ("frozen", "control"),
    ("public_probe", "control"),
    ("unsafe_raw_observations", "control"),
    ("sac", "control"),
    ("out", "output"),
    ("eval_every", "output"),
    ("checkpoint_every", "output"),
];

const SECTIONS: &[&str] = &["privacy", "data", "model", "optimizer", "control", "output"];

/// Settings that were given, under their sections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given(Table);

impl Given {
    /// Sets one key, when there is a value.
    pub(crate) fn set(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let (Some(value), Some(section)) = (value, section_of(key)) {
            section_table(&mut self.0, section).insert(key.to_owned(), value.into());
        }
    }

    /// Sets one key of a setting that is a table, such as `sac`.
    pub(crate) fn set_in(&mut self, table: &str, key: &str, value: Option<impl Into<Value>>) {
        if let (Some(value), Some(section)) = (value, section_of(table)) {
            section_table(section_table(&mut self.0, section), table).insert(key.to_owned(), value.into());
        }
    }

    /// Whether a key was given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A text value, when it was given.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.value(key)?.as_str().map(str::to_owned)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let section = section_of(key)?;
        let table = if section.is_empty() { Some(&self.0) } else { self.0.get(section).and_then(Value::as_table) };
        table?.get(key)
    }

    /// Reads a settings file. Relative paths in it are taken from the current folder, as on the command line.
    pub(crate) fn from_file(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Wrong::input)?;
        let table: Table =
            text.parse().with_context(|| format!("{} is not valid TOML", path.display())).map_err(Wrong::usage)?;
        Self::from_table(table, &path.display().to_string())
    }

    /// Takes settings from a table of flags' names or sections; `source` says in errors where they stand.
    pub(crate) fn from_table(table: Table, source: &str) -> Result<Self> {
        let mut given = Self::default();
        for (key, value) in table {
            let name = key.replace('-', "_");
            match value {
                // `model` names both a section and the flag `--model`; only a table is the section.
                Value::Table(section) if SECTIONS.contains(&name.as_str()) => {
                    merge(section_table(&mut given.0, &name), section);
                }
                value if section_of(&name).is_some() => given.set(&name, Some(value)),
                _ => bail!(Wrong::usage(anyhow::anyhow!(
                    "{source}: unknown setting `{key}`; `rldp train --help` lists the settings"
                ))),
            }
        }
        Ok(given)
    }

    /// Lays `over` on top of these settings.
    pub(crate) fn overlay(&mut self, over: Self) {
        merge(&mut self.0, over.0);
    }

    /// Fills what was not given from `defaults` and checks every key's name and type.
    pub(crate) fn resolve(mut self, defaults: Table) -> Result<TrainSettings> {
        if self.value("unsafe_non_private").and_then(Value::as_bool) == Some(true) {
            self.fill_non_private();
        }
        let missing: Vec<String> = ["model", "train", "epsilon", "delta", "out"]
            .iter()
            .filter(|key| !self.has(key))
            .map(|key| format!("--{key}"))
            .collect();
        if !missing.is_empty() {
            bail!(Wrong::usage(anyhow::anyhow!("missing {}; give it as a flag or in --config", missing.join(", "))));
        }
        let mut table = defaults;
        merge(&mut table, self.0);
        fill_learning_rate(&mut table);
        let settings: TrainSettings =
            Value::Table(table).try_into().context("a setting was not understood").map_err(Wrong::usage)?;
        settings.validate()?;
        Ok(settings)
    }
}

impl Given {
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

/// The default rate follows from the number of steps and `lora_alpha`, whoever gave them. Where one is no number, checks of
/// their own refuse it.
fn fill_learning_rate(table: &mut Table) {
    let of = |section: &str, key: &str| table.get(section).and_then(|section| section.get(key));
    let steps = of("privacy", "steps").and_then(Value::as_integer).and_then(|steps| u64::try_from(steps).ok());
    let alpha =
        of("model", "lora_alpha").and_then(|alpha| alpha.as_float().or(alpha.as_integer().map(|alpha| alpha as f64)));
    let rate = default_learning_rate(steps.unwrap_or(1), alpha.filter(|alpha| *alpha > 0.0).unwrap_or(1.0));
    let optimizer = section_table(table, "optimizer");
    optimizer.entry("learning_rate").or_insert_with(|| rate.into());
}

fn section_of(key: &str) -> Option<&'static str> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, section)| *section)
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

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}
