//! What a comparison is going to do, in words.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use toml::Value;

use super::{grid::Planned, state::State};
use crate::commands::print_line;

/// Prints every run with the settings in which runs differ.
pub(super) fn print(runs: &[Planned], shape: &str) -> Result<()> {
    let flat: Vec<BTreeMap<String, String>> = runs.iter().map(flat).collect::<Result<_>>()?;
    let differing = differing(&flat);
    let (mut finished, mut interrupted) = (0, 0);
    for (index, (run, settings)) in runs.iter().zip(&flat).enumerate() {
        let differences: Vec<String> = differing
            .iter()
            .map(|key| format!("{key}={}", settings.get(key).map_or("(none)", String::as_str)))
            .collect();
        let state = State::of(&run.settings.output.out)?;
        finished += usize::from(state == State::Finished);
        interrupted += usize::from(state == State::Charged);
        print_line(&format!("{index}\t{}\t{}\t{}", run.name, state.word(), differences.join(" ")))?;
    }
    let open = runs.len() - finished - interrupted;
    print_line(&format!(
        "{} runs = {shape}; {finished} finished, {interrupted} interrupted, {open} to start",
        runs.len()
    ))?;
    Ok(())
}

/// Settings as `section.key`, without the folder.
fn flat(run: &Planned) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    walk("", &Value::try_from(&run.settings)?, &mut found);
    found.remove("output.out");
    Ok(found)
}

fn walk(prefix: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                walk(&name, value, found);
            }
        }
        value => {
            found.insert(prefix.to_owned(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
    }
}

/// Keys that are not the same in all runs.
fn differing(runs: &[BTreeMap<String, String>]) -> Vec<String> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(BTreeMap::keys).collect();
    let differs = |key: &&String| runs.windows(2).any(|pair| pair[0].get(*key) != pair[1].get(*key));
    keys.into_iter().filter(differs).cloned().collect()
}
