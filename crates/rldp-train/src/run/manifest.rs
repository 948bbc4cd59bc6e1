//! `manifest.json`: versions, machine, model and unit; public facts only.

use std::{
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rldp_data::{columns_in_memory, is_in_memory};
use rldp_model::{Adapter, ModelSource};
use rldp_privacy::{Claim, Digests, digest};
use serde_json::{Value, json};

use super::{continued::start_folder, recorder::files, secrets::words};
use crate::{error::TrainError, inputs::Inputs, mechanism::plan::Plan, settings::TrainSettings};

/// Which run it is: a number that books and policies name it by, and when it began.
pub(crate) struct Birth {
    pub(crate) id: String,
    pub(crate) time: String,
}

impl Birth {
    /// Of a run that starts at `time`; a function of what is released anyway.
    pub(crate) fn at(time: String, claim: &Claim, out: &Path) -> Self {
        let claim = serde_json::to_string(claim).unwrap_or_default();
        let mut id = digest(format!("{time}\n{}\n{claim}", out.display()).as_bytes());
        id.truncate(16);
        Self { id, time }
    }
}

/// The manifest of a run that starts now. Nothing in it depends on what the records hold, and on their number only where it is public.
pub(crate) fn manifest(
    settings: &TrainSettings,
    inputs: &Inputs,
    adapter: &Adapter,
    plan: &Plan,
    controller: &str,
    birth: &Birth,
    book: Option<&Value>,
) -> Value {
    let layout = adapter.layout();
    let config = inputs.engine.config();
    let mut manifest = json!({
        "rldp_version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("RLDP_COMMIT"),
        "id": birth.id,
        "started": birth.time,
        "machine": machine(),
        "started_from": started_from(&settings.output.out),
        "public_seed": settings.seed,
        "pairs": layout.pairs().iter().map(|pair| pair.linear.name.as_str()).collect::<Vec<_>>(),
        "model": {
            "family": config.family.model_type(),
            "path": inputs.base_name,
            "hub": matches!(ModelSource::classify(&settings.model.model), ModelSource::HubId(_)),
            "digests": inputs.base_digests,
            "parameters": config.parameter_count(),
            "layers": config.layers,
            "hidden_size": config.hidden_size,
            "vocab_size": config.vocab_size,
        },
        "adapter": {
            "start": start_folder(&settings.model),
            "rank": layout.rank(),
            "lora_alpha": layout.lora_alpha(),
            "target_modules": layout.target_modules(),
            "parameters": layout.parameter_count(),
            "trained": layout.trained_count(),
        },
        "units": inputs.units.len(),
        "units_declared": settings.data.units.is_some(),
        "expected_units": inputs.units.expected(),
        "controller": controller,
        "planted": words(settings),
        "never_release": [files::PRIVATE],
        "book": book,
        "unit": settings.data.unit_words(),
        "statement": plan.claim.statement(),
        "guarantee": plan.claim.guarantee,
    });
    if !plan.claim.public_text.is_empty() {
        manifest["public_text"] = json!({"declared_by": "whoever started the run", "files": plan.claim.public_text});
    }
    if let Some(tables) = in_memory(settings, inputs) {
        manifest["in_memory"] = tables;
    }
    manifest
}

/// Which records were handed over in memory, and in which columns. Of public ones also how many they are, and their digest; of private ones
/// neither, as of private files: a digest would tell whoever guesses the records that the guess is right. An evaluation table may be private
/// where `--allow-shared-eval` says so.
fn in_memory(settings: &TrainSettings, inputs: &Inputs) -> Option<Value> {
    let data = &settings.data;
    let mut tables = serde_json::Map::new();
    let columns = |path: &Path, private| columns_in_memory(path, &data.columns(private));
    for path in data.train.paths().iter().filter(|path| is_in_memory(path)) {
        tables.insert("train".into(), json!({"columns": columns(path, true)}));
    }
    if let Some((path, eval)) = data.eval.as_ref().filter(|path| is_in_memory(path)).zip(inputs.eval.as_ref()) {
        let mut table = json!({"columns": columns(path, false)});
        if !data.allow_shared_eval {
            (table["records"], table["sha256"]) = (json!(eval.records()), json!(eval.sha256()));
        }
        tables.insert("eval".into(), table);
    }
    (!tables.is_empty()).then_some(Value::Object(tables))
}

/// The way from the run folder to the one in which it is started: relative paths in its settings are meant from there.
fn started_from(out: &Path) -> Option<String> {
    let (run, here) = (std::path::absolute(out).ok()?, std::env::current_dir().ok()?);
    let shared = run.components().zip(here.components()).take_while(|(run, here)| run == here).count();
    let up = run.components().skip(shared).map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(here.components().skip(shared)).collect();
    Some(if way.as_os_str().is_empty() { ".".into() } else { way.to_str()?.to_owned() })
}

/// Refuses to go on with another base model than the run began with.
///
/// # Errors
/// Which file differs.
pub(crate) fn check_base(run: &Path, inputs: &Inputs) -> Result<(), TrainError> {
    let text = fs_err::read_to_string(run.join(files::MANIFEST))?;
    let begun: Option<Digests> = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|manifest| serde_json::from_value(manifest["model"]["digests"].clone()).ok());
    // Manifests of earlier versions have none.
    let Some(begun) = begun else { return Ok(()) };
    let differs = begun.iter().find(|(name, digest)| inputs.base_digests.get(*name) != Some(digest));
    differs.map_or(Ok(()), |(name, _)| {
        Err(TrainError::Refused(format!(
            "{name} is not the one that the run began with: the adapter was made for another base model; resume with the run's own"
        )))
    })
}

/// The machine, as manifests name it: public facts that say what a duration means.
pub fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    json!({ "cpu": cpu(), "cores": cores, "memory_mib": memory_mib() })
}

/// Date and time in UTC, for the reader; nothing is computed from it.
pub fn started() -> String {
    date(SystemTime::now())
}

/// A clock may stand anywhere; what a calendar of four digits cannot name is moved to its ends.
fn date(now: SystemTime) -> String {
    let latest = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(now.clamp(UNIX_EPOCH, latest)).to_string()
}

fn cpu() -> Option<String> {
    let text = fs_err::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Memory of the machine for each of its cores, in bytes; 4 GiB where it cannot be told.
pub fn core_memory() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    memory_mib().map_or(4 << 30, |mib| ((mib << 20) as usize) / cores)
}

fn memory_mib() -> Option<u64> {
    let text = fs_err::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clock_stops_a_run() {
        let second = Duration::from_secs(1);
        let far = Duration::from_secs(1 << 55);
        assert_eq!(date(UNIX_EPOCH - second), "1970-01-01T00:00:00Z");
        assert_eq!(date(UNIX_EPOCH + 86_400 * second), "1970-01-02T00:00:00Z");
        assert_eq!(date(UNIX_EPOCH + far), "9999-12-31T23:59:59Z");
    }
}
