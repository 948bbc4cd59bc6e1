//! A run for others: its scalars as TensorBoard's event files and as lines of JSON that Weights & Biases logs, and its model card.
//!
//! The same values as in the report, released or public; no clock time among them, which is a side channel.

mod card;
mod live;
mod tensorboard;

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value, json};

pub use card::{CARD, model_card};
pub use live::LiveEvents;

use crate::{error::LabError, run::RunFolder};

/// Name of the lines of JSON.
const HISTORY: &str = "history.jsonl";

/// Values by name at each step.
type Scalars = BTreeMap<u64, BTreeMap<String, f64>>;

/// Writes `folder/<run>/events.out.tfevents.0.rldp`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_tensorboard(run: &RunFolder, folder: &Path) -> Result<(), LabError> {
    let folder = folder.join(run.name());
    fs_err::create_dir_all(&folder)?;
    Ok(fs_err::write(folder.join(tensorboard::FILE), tensorboard::events(&scalars(run)))?)
}

/// Writes `folder/<run>/history.jsonl`: a line a step, which `wandb.log(line, step=line.pop("_step"))` takes as it is.
///
/// # Errors
/// When the file cannot be written.
pub fn write_history(run: &RunFolder, folder: &Path) -> Result<(), LabError> {
    let folder = folder.join(run.name());
    fs_err::create_dir_all(&folder)?;
    let line = |(step, values): (u64, BTreeMap<String, f64>)| {
        let mut line = Map::from_iter([("_step".to_owned(), json!(step))]);
        line.extend(values.into_iter().map(|(name, value)| (name, json!(value))));
        format!("{}\n", Value::Object(line))
    };
    let text: String = scalars(run).into_iter().map(line).collect();
    Ok(fs_err::write(folder.join(HISTORY), text)?)
}

/// Every finite number of a run, under names with `/` between group and figure.
fn scalars(run: &RunFolder) -> Scalars {
    let mut found = Scalars::new();
    let mut put = |step: f64, name: String, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            found.entry(step as u64).or_default().insert(name, value);
        }
    };
    for line in &run.steps {
        let values = [
            ("privacy/epsilon_spent", Some(line.epsilon_spent)),
            ("privacy/noise_multiplier", Some(line.noise_multiplier)),
            ("train/learning_rate", Some(line.learning_rate)),
            ("train/released_loss", line.loss),
            ("train/snr", Some(line.snr)),
            ("train/agreement", line.agreement),
        ];
        values.into_iter().for_each(|(name, value)| put(line.step, name.to_owned(), value));
    }
    run.evals.iter().for_each(|line| put(line.step, "eval/perplexity".to_owned(), Some(line.perplexity)));
    let pairs = run.pairs();
    for line in &run.controls {
        let groups = [
            ("clip_norm", Some(&line.clip_norms)),
            ("share", Some(&line.shares)),
            ("noise_std", Some(&line.noise_std)),
            ("snr", line.snr.as_ref()),
            ("clip_fraction", line.clip_fractions.as_ref()),
        ];
        for (group, values) in groups {
            for (pair, value) in pairs.iter().zip(values.into_iter().flatten()) {
                put(line.step, format!("{group}/{pair}"), Some(*value));
            }
        }
        put(line.step, "control/learning_rate_gain".to_owned(), Some(line.learning_rate_gain));
        put(line.step, "control/reward".to_owned(), line.reward);
        for (name, value) in &line.controller {
            put(line.step, format!("control/{name}"), value.as_f64());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_exports_hold_the_numbers_of_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("one");
        fs_err::create_dir(&run).unwrap();
        for (name, text) in [
            ("config.toml", ""),
            ("manifest.json", "{\"pairs\": [\"q\", \"v\"]}"),
            ("ledger.jsonl", ""),
            (
                "metrics.jsonl",
                "{\"kind\":\"eval\",\"step\":0,\"perplexity\":null}\n\
                 {\"kind\":\"step\",\"step\":1,\"epsilon_spent\":0.5,\"noise_multiplier\":1.5,\"learning_rate\":0.1,\
                 \"loss\":null,\"snr\":-0.25}\n\
                 {\"kind\":\"control\",\"step\":1,\"clip_norms\":[0.5,2.0],\"shares\":[0.5,0.5],\"noise_std\":[1.0,4.0],\
                 \"snr\":null,\"clip_fractions\":null,\"learning_rate_gain\":1.0,\"reward\":null,\"controller\":{\"replay\":3}}\n",
            ),
        ] {
            fs_err::write(run.join(name), text).unwrap();
        }
        let run = RunFolder::open(&run).unwrap();
        let out = folder.path().join("out");
        write_history(&run, &out).unwrap();
        write_tensorboard(&run, &out).unwrap();
        let text = fs_err::read_to_string(out.join("one").join(HISTORY)).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "what diverged has no number: {text}");
        assert_eq!(lines[0]["_step"], 1);
        assert_eq!(lines[0]["clip_norm/v"], 2.0);
        assert_eq!(lines[0]["control/replay"], 3.0);
        assert!(lines[0].get("train/released_loss").is_none());
        let events = fs_err::read(out.join("one").join(tensorboard::FILE)).unwrap();
        let found = tensorboard::tests::read(&events);
        let numbers = lines[0].as_object().unwrap().iter().filter(|(name, _)| *name != "_step");
        let want: Vec<(u64, String, f32)> =
            numbers.map(|(name, value)| (1, name.clone(), value.as_f64().unwrap() as f32)).collect();
        assert_eq!(found, want);
    }
}
