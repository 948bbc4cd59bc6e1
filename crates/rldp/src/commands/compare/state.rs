//! How far a run is, by what stands on disk, and who holds it.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::Result;
use fs_err as fs;
use rldp_privacy::Standing;
use rldp_train::files;

use crate::exit::Wrong;

/// How far a run is. Its ledger decides, whoever ran it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The ledger is closed: there is nothing left to do.
    Finished,
    /// Budget was charged; the run must be resumed, not repeated.
    Charged,
    /// Nothing was charged.
    Fresh,
}

impl State {
    /// Reads it from a run folder, which may be absent.
    ///
    /// A ledger that cannot be read is an error.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let path = folder.join(files::LEDGER);
        if !path.exists() {
            return Ok(Self::Fresh);
        }
        let ledger = fs::read(path).map_err(Wrong::input)?;
        Ok(match Standing::of(&String::from_utf8_lossy(&ledger)) {
            Standing::Closed => Self::Finished,
            Standing::Charged => Self::Charged,
            Standing::Fresh => Self::Fresh,
        })
    }

    /// For the plan.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Charged => "interrupted",
            Self::Fresh => "to start",
        }
    }
}

/// Takes the lock of a run, or nothing when some process works on it.
///
/// The file is handed to the run's process as its standard input: a lock belongs to the open file, so it is held until that
/// process ends, also when the comparison that started it was killed. The run's own lock counts too: a cluster's task holds
/// only that.
pub(super) fn take(lock: &Path, folder: &Path) -> Result<Option<File>> {
    let own = folder.join(files::LOCK);
    if own.exists() && try_lock(&own)?.is_none() {
        return Ok(None);
    }
    try_lock(lock)
}

/// An exclusive lock on a file, which is created when absent; nothing when another process holds it.
pub(super) fn try_lock(path: &Path) -> Result<Option<File>> {
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?.into_parts().0;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Names of the files of a comparison.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) out: PathBuf,
}

impl Layout {
    pub(super) fn create(out: &Path) -> Result<Self> {
        for folder in ["runs", "configs", "logs", "locks"] {
            fs::create_dir_all(out.join(folder))?;
        }
        // What runs say on standard error may be about private records: for the user only, like a run's folder.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(out.join("logs"), std::fs::Permissions::from_mode(0o700))?;
        }
        Ok(Self { out: out.to_owned() })
    }

    pub(super) fn config(&self, run: &str) -> PathBuf {
        self.out.join("configs").join(format!("{run}.toml"))
    }

    pub(super) fn log(&self, run: &str) -> PathBuf {
        self.out.join("logs").join(format!("{run}.log"))
    }

    pub(super) fn run_lock(&self, run: &str) -> PathBuf {
        self.out.join("locks").join(run)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_fresh_only_when_its_ledger_holds_no_more_than_the_claim() {
        let folder = tempfile::tempdir().unwrap();
        let state = |ledger: &[u8]| {
            fs::write(folder.path().join(files::LEDGER), ledger).unwrap();
            State::of(folder.path()).unwrap()
        };
        assert_eq!(State::of(&folder.path().join("absent")).unwrap(), State::Fresh);
        assert_eq!(state(b""), State::Fresh);
        assert_eq!(state(b"{\"kind\":\"claim\"}\n"), State::Fresh);
        assert_eq!(state(b"{\"kind\":\"claim\"}\n{\"ki\xff"), State::Charged);
        assert_eq!(state(b"{\"kind\":\"claim\"}\n{\"kind\":\"charge\"}\n"), State::Charged);
        assert_eq!(state(b"{}\n{\"kind\":\"close\"}\n"), State::Finished);
    }

    #[test]
    fn a_lock_keeps_others_out_until_its_last_holder_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (lock, run) = (folder.path().join("lock"), folder.path().join("run"));
        let held = take(&lock, &run).unwrap().unwrap();
        let inherited = held.try_clone().unwrap();
        drop(held);
        assert!(take(&lock, &run).unwrap().is_none());
        drop(inherited);
        assert!(take(&lock, &run).unwrap().is_some());
        fs::create_dir(&run).unwrap();
        let cluster = try_lock(&run.join(files::LOCK)).unwrap().unwrap();
        assert!(take(&lock, &run).unwrap().is_none(), "the run's own lock counts too");
        drop(cluster);
    }
}
