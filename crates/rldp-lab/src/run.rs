//! One run folder, typed.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::LabError;

/// Released and public values of a run.
pub(crate) const METRICS: &str = "metrics.jsonl";

/// What a run wrote. A run that is still going, or was cut short, is read as far as it got.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// The folder.
    pub path: PathBuf,
    /// Resolved settings.
    pub config: toml::Table,
    /// `manifest.json`.
    pub manifest: Value,
    /// One for each step.
    pub steps: Vec<StepLine>,
    /// One for each interval.
    pub controls: Vec<ControlLine>,
    /// One for each evaluation.
    pub evals: Vec<EvalLine>,
    /// Texts before and after, one for each public prompt.
    pub samples: Vec<SampleLine>,
    /// Whether a warm-up on public text came before the first private step.
    pub warmed: bool,
    /// Whether the ledger was closed: all steps were made, or the budget refused.
    pub closed: bool,
}

/// One noisy step.
#[derive(Clone, Debug, Deserialize)]
pub struct StepLine {
    /// Steps charged.
    pub step: f64,
    /// Upper bound on the epsilon spent so far; infinite without noise.
    #[serde(deserialize_with = "infinite_when_null")]
    pub epsilon_spent: f64,
    /// z.
    pub noise_multiplier: f64,
    /// Rate of the update.
    pub learning_rate: f64,
    /// Released mean loss.
    pub loss: Option<f64>,
    /// Its noise.
    pub loss_std: Option<f64>,
    /// What a unit's loss counted as at most; earlier versions did not write it.
    pub loss_bound: Option<f64>,
    /// Energy of the release over its noise's, minus 1.
    pub snr: f64,
    /// How far releases agree with each other, in deviations; earlier versions did not write it.
    pub agreement: Option<f64>,
}

/// One interval.
#[derive(Clone, Debug, Deserialize)]
pub struct ControlLine {
    /// Its last step.
    pub step: f64,
    /// C_i (K).
    pub clip_norms: Vec<f64>,
    /// w_i (K).
    pub shares: Vec<f64>,
    /// Noise of a coordinate of the mean gradient (K).
    pub noise_std: Vec<f64>,
    /// Signal-to-noise (K).
    pub snr: Option<Vec<f64>>,
    /// Released clip fractions (K).
    pub clip_fractions: Option<Vec<f64>>,
    /// Factor on the learning rate.
    pub learning_rate_gain: f64,
    /// Reward.
    pub reward: Option<f64>,
    /// The controller's figures.
    pub controller: Map<String, Value>,
}

/// One evaluation on public records.
#[derive(Clone, Debug, Deserialize)]
pub struct EvalLine {
    /// Steps charged.
    pub step: f64,
    /// Perplexity; infinite when the run wrote none, because the model diverged.
    #[serde(deserialize_with = "infinite_when_null")]
    pub perplexity: f64,
    /// How many records.
    pub records: Option<f64>,
}

/// A public prompt, and how it was continued.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SampleLine {
    /// The prompt.
    pub prompt: String,
    /// What followed before the first private step; absent where the model gave none.
    pub before: Option<String>,
    /// What the adapter makes of it.
    pub after: Option<String>,
}

/// JSON has no infinity: what is not finite is written as null.
pub(crate) fn infinite_when_null<'a, D: serde::Deserializer<'a>>(value: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(f64::INFINITY))
}

/// Whether a resumed run got another value of this setting.
fn changed(resumed: &Value, key: &str) -> bool {
    let changes = resumed.get("changed").and_then(Value::as_array);
    changes.is_some_and(|changes| changes.iter().any(|change| change.get("key").is_some_and(|name| name == key)))
}

/// Whether a line of a ledger ends its run.
fn closes(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|entry| entry["kind"] == "close")
}

impl RunFolder {
    /// Reads a run folder.
    ///
    /// # Errors
    /// When a file is missing or not of the expected form. A torn last line of the metrics is left out.
    pub fn open(path: &Path) -> Result<Self, LabError> {
        let mut run = Self::before_metrics(path)?;
        run.read(&fs_err::read_to_string(path.join(METRICS))?)?;
        Ok(run)
    }

    /// What a run folder says beside its metrics.
    pub(crate) fn before_metrics(path: &Path) -> Result<Self, LabError> {
        let wrong = |name: &str, reason: String| LabError::Run { path: path.join(name), reason };
        let text = |name: &str| fs_err::read_to_string(path.join(name)).map_err(LabError::from);
        let config =
            text("config.toml")?.parse().map_err(|error: toml::de::Error| wrong("config.toml", error.to_string()))?;
        let manifest =
            serde_json::from_str(&text("manifest.json")?).map_err(|error| wrong("manifest.json", error.to_string()))?;
        let closed = text("ledger.jsonl")?.lines().any(closes);
        Ok(Self { closed, ..Self::with(path, config, manifest) })
    }

    /// Takes over the whole lines at the beginning of `metrics`; their length in bytes.
    pub(crate) fn read(&mut self, metrics: &str) -> Result<usize, LabError> {
        let whole = metrics.rfind('\n').map_or("", |end| &metrics[..=end]);
        for (index, line) in whole.lines().enumerate() {
            let path = self.path.join(METRICS);
            self.add(line).map_err(|error| LabError::Run { path, reason: format!("line {}: {error}", index + 1) })?;
        }
        Ok(whole.len())
    }

    /// Drops the lines of metrics that were read.
    pub(crate) fn forget_lines(&mut self) {
        self.steps.clear();
        self.controls.clear();
        self.evals.clear();
        self.samples.clear();
    }

    fn with(path: &Path, config: toml::Table, manifest: Value) -> Self {
        Self {
            path: path.to_owned(),
            config,
            manifest,
            steps: vec![],
            controls: vec![],
            evals: vec![],
            samples: vec![],
            warmed: false,
            closed: true,
        }
    }

    fn add(&mut self, line: &str) -> Result<(), serde_json::Error> {
        let value: Value = serde_json::from_str(line)?;
        match value.get("kind").and_then(Value::as_str) {
            Some("step") => self.steps.push(serde_json::from_value(value)?),
            Some("control") => self.controls.push(serde_json::from_value(value)?),
            Some("eval") => self.evals.push(serde_json::from_value(value)?),
            Some("sample") => self.samples.push(serde_json::from_value(value)?),
            Some("warm_up") => self.warmed = true,
            // What was evaluated before on other records cannot be compared.
            Some("resume") if changed(&value, "eval") => self.evals.clear(),
            _ => {}
        }
        Ok(())
    }

    /// Name of the run: its folder's.
    pub fn name(&self) -> String {
        let canonical = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        canonical.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// Name of the run as it was when it began: the same wherever the folder lies.
    pub fn title(&self) -> String {
        let out = self.config.get("output").and_then(|output| output.get("out")).and_then(toml::Value::as_str);
        let name = out.and_then(|out| Path::new(out).file_name()).map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| self.name())
    }

    /// N as it was declared, or as the manifest counts it.
    pub(crate) fn units(&self) -> String {
        self.number("data", "units").map_or_else(|| self.fact("units"), |declared| declared.to_string())
    }

    /// A setting that is a number.
    pub fn number(&self, section: &str, key: &str) -> Option<f64> {
        let value = self.config.get(section)?.get(key)?;
        value.as_float().or_else(|| value.as_integer().map(|value| value as f64))
    }

    /// A setting as text, such as `privacy`, `epsilon`.
    pub fn setting(&self, section: &str, key: &str) -> String {
        let value = self.config.get(section).and_then(|section| section.get(key));
        value.map_or_else(|| "–".to_owned(), |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// Names of the adapter pairs (K).
    pub fn pairs(&self) -> Vec<String> {
        let names = self.manifest.get("pairs").and_then(Value::as_array).cloned().unwrap_or_default();
        names.iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A text of the manifest.
    pub fn fact(&self, key: &str) -> String {
        let value = self.manifest.get(key).unwrap_or(&Value::Null);
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Why the run promises nothing, when it does not.
    pub fn without_guarantee(&self) -> Option<String> {
        let reason = self.manifest.get("guarantee")?.get("none")?.get("reason")?;
        reason.as_str().map(str::to_owned)
    }

    #[cfg(test)]
    pub(crate) fn empty(config: toml::Table, manifest: Value) -> Self {
        Self::with(Path::new("run"), config, manifest)
    }
}
