//! The run folder: what is written, when, and how durably.
//!
//! `metrics.jsonl` holds released and public values only. `private/` holds what is not to be handed out,
//! among it wall-clock times, which depend on how many units a step drew.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use fs_err as fs;
use rldp_privacy::LedgerSink;
use serde::Serialize;
use serde_json::Value;

use super::storage::{Storage, Written, folder_of, replace, whole_lines};
use crate::{error::TrainError, settings::TrainSettings};

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
    /// Wall-clock times, in the private folder; unsafe to release.
    pub const TIMING: &str = "private/timing.jsonl";
    /// PEFT adapter.
    pub const ADAPTER: &str = "adapter";
    /// PEFT adapter of the warm-up on public text.
    pub const PUBLIC: &str = "public";
    /// The controller's policy.
    pub const POLICY: &str = "policy";
    /// The report.
    pub const REPORT: &str = "report.html";
    /// What is never to be released: wall-clock times, who was held out, planted canaries.
    pub const PRIVATE: &str = "private";
    /// Coins of the units, in the private folder.
    pub const MEMBERSHIP: &str = "membership.csv";
    /// Canaries and their coins, in the private folder.
    pub const CANARIES: &str = "canaries.csv";
    /// Held while a process writes the folder.
    pub const LOCK: &str = "lock";
}

/// What stands in the private folder for whoever finds it.
const PRIVATE_README: &str = "Never release this folder. It says how long steps took, which depends on how many units each drew, and where it was asked \
    for, who was trained on and which secrets were planted: `rldp audit` reads that, and whoever sees it with the rest of the run can \
    test every guess. A resumed run needs it. `rldp export` leaves it out.\n";

/// An append-only file of JSON lines, each synced before its charge is granted.
pub struct LedgerFile {
    file: Box<dyn Written>,
}

impl LedgerFile {
    /// Opens `folder`'s ledger for appending, creating it when absent, and reads what it holds. The caller holds the folder.
    ///
    /// A last line without its end is cut off, or the next one would be written into it. Its append never returned, so
    /// the noise it was to pay for was never drawn.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(folder: &Path, storage: &dyn Storage) -> Result<(Self, String), TrainError> {
        let path = folder.join(files::LEDGER);
        let mut bytes = if path.exists() { fs::read(&path)? } else { Vec::new() };
        bytes.truncate(whole_lines(&bytes));
        let text = String::from_utf8(bytes).map_err(|error| TrainError::Corrupt {
            path: path.display().to_string(),
            reason: format!(
                "the ledger was changed (byte {} is no text); restore it: what it charged stays spent",
                error.utf8_error().valid_up_to()
            ),
        })?;
        let file = storage.reopen(&path, text.len() as u64)?;
        storage.sync_folder(folder)?;
        Ok((Self { file }, text))
    }
}

impl LedgerSink for LedgerFile {
    fn append(&mut self, line: &str) -> io::Result<()> {
        self.file.write(format!("{line}\n").as_bytes())?;
        self.file.sync()
    }
}

/// Writes a run's metrics.
pub struct Recorder {
    folder: PathBuf,
    storage: Arc<dyn Storage>,
    metrics: Box<dyn Written>,
    /// Bytes of metrics so far.
    length: u64,
    timing: Box<dyn Written>,
    started: Instant,
    before: f64,
    _lock: FolderLock,
}

impl Recorder {
    /// Creates a run folder, private to the user, with its resolved settings, which come last: a folder without them holds no
    /// run.
    ///
    /// # Errors
    /// When the folder already holds a run, or cannot be written.
    pub fn create(settings: &TrainSettings, manifest: &Value, storage: Arc<dyn Storage>) -> Result<Self, TrainError> {
        let folder = settings.output.out.clone();
        refuse_second_run(&folder)?;
        create_private_folder(&folder)?;
        let lock = FolderLock::take(&folder)?;
        // Another process may have been here before the lock was ours.
        refuse_second_run(&folder)?;
        let private = folder.join(files::PRIVATE);
        create_private_folder(&private)?;
        replace(&*storage, &private.join("README.txt"), &[PRIVATE_README.as_bytes()])?;
        write_json(&*storage, &folder.join(files::MANIFEST), manifest)?;
        write_settings(&*storage, &folder, settings)?;
        storage.sync_folder(folder_of(&folder))?;
        let mut recorder = Self::open(folder, lock, storage, 0.0)?;
        recorder.append_timing(&serde_json::json!({
            "label": "unsafe: wall-clock times depend on how many units each step drew; do not release this file"
        }))?;
        Ok(recorder)
    }

    /// Opens the folder of a run that is being resumed. Of the metrics it keeps the first `length` bytes, which the checkpoint
    /// knows, and what earlier resumes said.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn resume(folder: &Path, lock: FolderLock, storage: Arc<dyn Storage>, length: u64) -> Result<Self, TrainError> {
        let path = folder.join(files::METRICS);
        let bytes = if path.exists() { fs::read(&path)? } else { Vec::new() };
        let (known, rest) = bytes.split_at(bytes.len().min(length as usize));
        let mut kept = known[..whole_lines(known)].to_vec();
        for (_, line) in metric_lines(rest).into_iter().filter(|(value, _)| value["kind"] == "resume") {
            kept.extend_from_slice(line.as_bytes());
            kept.push(b'\n');
        }
        replace(&*storage, &path, &[&kept])?;
        // Runs of earlier versions have none.
        create_private_folder(&folder.join(files::PRIVATE))?;
        let before = last_elapsed(&folder.join(files::TIMING))?;
        Self::open(folder.to_owned(), lock, storage, before)
    }

    fn open(folder: PathBuf, lock: FolderLock, storage: Arc<dyn Storage>, before: f64) -> Result<Self, TrainError> {
        let open = |name| -> io::Result<(Box<dyn Written>, u64)> {
            let path = folder.join(name);
            let length = if path.exists() { whole_lines(&fs::read(&path)?) as u64 } else { 0 };
            Ok((storage.reopen(&path, length)?, length))
        };
        let ((metrics, length), (timing, _)) = (open(files::METRICS)?, open(files::TIMING)?);
        Ok(Self { folder, storage, metrics, length, timing, started: Instant::now(), before, _lock: lock })
    }

    /// Where the run is written.
    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Makes the metrics durable, since a checkpoint must not be ahead of them, and returns their length in bytes.
    ///
    /// # Errors
    /// When that cannot be promised.
    pub fn sync(&mut self) -> Result<u64, TrainError> {
        self.metrics.sync()?;
        Ok(self.length)
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
        self.length += append(&mut *self.metrics, line)?;
        Ok(())
    }

    /// Whether the metrics hold a line of `kind`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn holds(&self, kind: &str) -> Result<bool, TrainError> {
        let lines = metric_lines(&fs::read(self.folder.join(files::METRICS))?);
        Ok(lines.iter().any(|(value, _)| value["kind"] == kind))
    }

    /// Appends the time since the start, to the file that is not released.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn time(&mut self, step: u64) -> Result<(), TrainError> {
        let elapsed = self.before + self.started.elapsed().as_secs_f64();
        self.append_timing(&serde_json::json!({"step": step, "elapsed_secs": elapsed}))
    }

    fn append_timing(&mut self, line: &Value) -> Result<(), TrainError> {
        append(&mut *self.timing, line).map(drop)
    }
}

/// Writes JSON atomically, readable by people.
pub(crate) fn write_json(storage: &dyn Storage, path: &Path, value: &impl Serialize) -> Result<(), TrainError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| TrainError::Corrupt { path: path.display().to_string(), reason: error.to_string() })?;
    Ok(replace(storage, path, &[text.as_bytes(), b"\n"])?)
}

/// Writes `config.toml`.
pub(crate) fn write_settings(storage: &dyn Storage, folder: &Path, settings: &TrainSettings) -> Result<(), TrainError> {
    let text = toml::to_string_pretty(settings)
        .map_err(|error| TrainError::Usage(format!("the settings cannot be written as TOML: {error}")))?;
    Ok(replace(storage, &folder.join(files::CONFIG), &[text.as_bytes()])?)
}

/// Appends one line; its length in bytes.
fn append(file: &mut dyn Written, line: &impl Serialize) -> Result<u64, TrainError> {
    let mut text = serde_json::to_string(line).map_err(io::Error::from)?;
    text.push('\n');
    file.write(text.as_bytes())?;
    Ok(text.len() as u64)
}

fn refuse_second_run(folder: &Path) -> Result<(), TrainError> {
    if folder.join(files::LEDGER).exists() || folder.join(files::CONFIG).exists() {
        return Err(TrainError::Refused(format!(
            "{} already holds a run; choose another --out, or continue it with --resume",
            folder.display()
        )));
    }
    Ok(())
}

/// Makes a folder that only its owner can open.
pub(crate) fn create_private_folder(folder: &Path) -> Result<(), TrainError> {
    if folder.exists() && !folder.is_dir() {
        return Err(TrainError::Refused(format!("{} is a file; choose another --out", folder.display())));
    }
    let made = || -> io::Result<()> {
        fs::create_dir_all(folder_of(folder))?;
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        if let Err(error) = builder.create(folder)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        #[cfg(unix)]
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        Ok(())
    };
    made().map_err(|error| unwritable(folder, &error))
}

fn unwritable(folder: &Path, error: &io::Error) -> TrainError {
    TrainError::Refused(format!(
        "{} cannot be written ({error}); make it writable for this user, or choose another run folder",
        folder.display()
    ))
}

/// Whole lines of metrics that can be read. A crash of the machine may leave others at the end.
fn metric_lines(bytes: &[u8]) -> Vec<(Value, String)> {
    let text = String::from_utf8_lossy(&bytes[..whole_lines(bytes)]);
    text.lines().filter_map(|line| Some((serde_json::from_str(line).ok()?, line.to_owned()))).collect()
}

/// The last step that the metrics of `folder` speak of.
///
/// # Errors
/// When they cannot be read.
pub fn last_recorded_step(folder: &Path) -> io::Result<u64> {
    let path = folder.join(files::METRICS);
    let bytes = if path.exists() { fs::read(&path)? } else { Vec::new() };
    let steps = metric_lines(&bytes).into_iter().filter_map(|(value, _)| value["step"].as_u64());
    Ok(steps.max().unwrap_or(0))
}

/// Seconds that earlier processes of the run took; a run whose times were removed begins to count anew.
fn last_elapsed(path: &Path) -> io::Result<f64> {
    let text = if path.exists() { String::from_utf8_lossy(&fs::read(path)?).into_owned() } else { String::new() };
    let elapsed = |line| serde_json::from_str::<Value>(line).ok()?.get("elapsed_secs")?.as_f64();
    Ok(text.lines().rev().find_map(elapsed).unwrap_or(0.0))
}

/// Keeps a second process out of a run folder; released by the operating system when the process ends.
pub struct FolderLock {
    _file: std::fs::File,
}

impl FolderLock {
    /// Takes the folder.
    ///
    /// # Errors
    /// When another process holds it, or it cannot be written.
    pub fn take(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(files::LOCK);
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| unwritable(folder, &error))?.into_parts().0;
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
