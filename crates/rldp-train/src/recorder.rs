//! The run folder: what is written, when, and how durably.
//!
//! `metrics.jsonl` holds released and public values only. `timing.jsonl` holds wall-clock times, which depend on how many
//! units a step drew; it is a side channel, says so in its first line, and is not part of what may be handed out.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Instant,
};

use fs_err as fs;
use rldp_privacy::LedgerSink;
use serde::Serialize;

use crate::{checkpoint::write_atomically, error::TrainError, settings::TrainSettings};

/// Names of the files of a run folder.
pub mod files {
    /// Resolved settings.
    pub const CONFIG: &str = "config.toml";
    /// Versions, machine, model, unit.
    pub const MANIFEST: &str = "manifest.json";
    /// One event per charge.
    pub const LEDGER: &str = "ledger.jsonl";
    /// Released and public values.
    pub const METRICS: &str = "metrics.jsonl";
    /// Wall-clock times; unsafe to release.
    pub const TIMING: &str = "timing.jsonl";
    /// PEFT adapter.
    pub const ADAPTER: &str = "adapter";
    /// The controller's policy.
    pub const POLICY: &str = "policy";
    /// The report.
    pub const REPORT: &str = "report.html";
    /// Who was held out, and planted canaries; never to be released.
    pub const PRIVATE: &str = "private";
    /// Coins of the units, in the private folder.
    pub const MEMBERSHIP: &str = "membership.csv";
    /// Canaries and their coins, in the private folder.
    pub const CANARIES: &str = "canaries.csv";
    /// Held while a process writes the folder.
    pub const LOCK: &str = "lock";
}

/// An append-only file of JSON lines, each synced when it is the ledger.
pub struct LedgerFile {
    file: fs::File,
}

impl LedgerFile {
    /// Opens `folder`'s ledger for appending, creating it when absent. The caller holds the folder.
    ///
    /// A last line without its end is cut off, or the next one would be written into it. Its append never returned, so
    /// the noise it was to pay for was never drawn.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(files::LEDGER);
        let file = fs::OpenOptions::new().append(true).create(true).open(&path)?;
        let text = fs::read(&path)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
            file.sync_all()?;
        }
        fs::File::open(folder)?.sync_all()?;
        Ok(Self { file })
    }
}

impl LedgerSink for LedgerFile {
    fn append(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.file.sync_data()
    }
}

/// Writes a run's metrics.
pub struct Recorder {
    folder: PathBuf,
    metrics: fs::File,
    timing: fs::File,
    started: Instant,
    before: f64,
    _lock: FolderLock,
}

impl Recorder {
    /// Creates a run folder, private to the user, with its resolved settings.
    ///
    /// # Errors
    /// When the folder already holds a run, or cannot be written.
    pub fn create(settings: &TrainSettings, manifest: &serde_json::Value) -> Result<Self, TrainError> {
        let folder = settings.output.out.clone();
        if folder.join(files::LEDGER).exists() || folder.join(files::CONFIG).exists() {
            return Err(TrainError::Refused(format!(
                "{} already holds a run; choose another --out, or continue it with --resume",
                folder.display()
            )));
        }
        create_private_folder(&folder)?;
        let lock = FolderLock::take(&folder)?;
        let config = toml::to_string_pretty(settings)
            .map_err(|error| TrainError::Usage(format!("the settings cannot be written as TOML: {error}")))?;
        write_atomically(&folder.join(files::CONFIG), &[config.as_bytes()])?;
        write_json(&folder.join(files::MANIFEST), manifest)?;
        let mut recorder = Self::open(folder, lock, 0.0)?;
        recorder.append_timing(&serde_json::json!({
            "label": "unsafe: wall-clock times depend on how many units each step drew; do not release this file"
        }))?;
        Ok(recorder)
    }

    /// Opens the folder of a run that is being resumed. Metrics of steps after `step`, which the checkpoint forgot, are dropped.
    ///
    /// # Errors
    /// When another process holds the folder, or it cannot be written.
    pub fn resume(folder: &Path, step: u64) -> Result<Self, TrainError> {
        let lock = FolderLock::take(folder)?;
        let kept = kept_lines(&folder.join(files::METRICS), step)?;
        write_atomically(&folder.join(files::METRICS), &[kept.as_bytes()])?;
        let before = last_elapsed(&folder.join(files::TIMING));
        Self::open(folder.to_owned(), lock, before)
    }

    fn open(folder: PathBuf, lock: FolderLock, before: f64) -> Result<Self, TrainError> {
        let open = |name| fs::OpenOptions::new().append(true).create(true).open(folder.join(name));
        let (metrics, timing) = (open(files::METRICS)?, open(files::TIMING)?);
        Ok(Self { folder, metrics, timing, started: Instant::now(), before, _lock: lock })
    }

    /// The run folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends one line of released or public values.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn metric(&mut self, line: &impl Serialize) -> Result<(), TrainError> {
        append(&mut self.metrics, line)
    }

    /// Appends the time since the start, to the file that is not released.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn time(&mut self, step: u64) -> Result<(), TrainError> {
        let elapsed = self.before + self.started.elapsed().as_secs_f64();
        self.append_timing(&serde_json::json!({"step": step, "elapsed_secs": elapsed}))
    }

    fn append_timing(&mut self, line: &serde_json::Value) -> Result<(), TrainError> {
        append(&mut self.timing, line)
    }
}

/// Writes JSON atomically, readable by people.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| TrainError::Corrupt { path: path.display().to_string(), reason: error.to_string() })?;
    write_atomically(path, &[text.as_bytes(), b"\n"])
}

fn append(file: &mut fs::File, line: &impl Serialize) -> Result<(), TrainError> {
    let mut text = serde_json::to_string(line).map_err(io::Error::from)?;
    text.push('\n');
    Ok(file.write_all(text.as_bytes())?)
}

pub(crate) fn create_private_folder(folder: &Path) -> Result<(), TrainError> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    if !folder.exists() {
        fs::create_dir(folder)?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Lines of `metrics.jsonl` up to and including `step`.
fn kept_lines(path: &Path, step: u64) -> Result<String, TrainError> {
    let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    let keep = |line: &&str| {
        serde_json::from_str::<serde_json::Value>(line)
            .is_ok_and(|value| value.get("step").and_then(serde_json::Value::as_u64).is_none_or(|at| at <= step))
    };
    Ok(text.lines().filter(keep).map(|line| format!("{line}\n")).collect())
}

fn last_elapsed(path: &Path) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let elapsed = |line| serde_json::from_str::<serde_json::Value>(line).ok()?.get("elapsed_secs")?.as_f64();
    text.lines().rev().find_map(elapsed).unwrap_or(0.0)
}

/// Keeps a second process out of a run folder; released by the operating system when the process ends.
struct FolderLock {
    _file: std::fs::File,
}

impl FolderLock {
    fn take(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(files::LOCK);
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path)?.into_parts().0;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(TrainError::Refused(format!(
                "{} is being written by another process; wait for it or stop it first",
                folder.display()
            ))),
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }
}
