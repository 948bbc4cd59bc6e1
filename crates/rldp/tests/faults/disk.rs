//! A disk that fails on request. It stands in for the real one below the run's own code, in this test only.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rldp_train::storage::{Disk, Storage, Written};

/// What goes wrong, at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL before it.
    KillBefore,
    /// SIGKILL in the midst of it: half of a write is done.
    KillHalf,
    /// SIGKILL after it.
    KillAfter,
    /// The machine loses its power before it: what was not synced is gone.
    PowerCut,
    /// It fails with this error number and does nothing.
    Fail(i32),
    /// Half of a write is done, then the disk is full.
    Short,
    /// A sync fails, and what it should have made durable is gone.
    SyncLost,
}

/// Error numbers of Linux.
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;

impl Fault {
    pub(crate) const KILLS: [Self; 4] = [Self::KillBefore, Self::KillHalf, Self::KillAfter, Self::PowerCut];
    pub(crate) const FAILURES: [Self; 5] =
        [Self::Fail(ENOSPC), Self::Fail(EIO), Self::Fail(EROFS), Self::Short, Self::SyncLost];

    pub(crate) fn word(self) -> String {
        format!("{self:?}")
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::KILLS.into_iter().chain(Self::FAILURES).find(|fault| fault.word() == word)
    }
}

/// What the parts of one process of a run share.
#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Every operation so far, by name.
    trace: Vec<String>,
    plan: Option<(usize, Fault)>,
    /// Bytes of each file that are durable.
    synced: HashMap<PathBuf, u64>,
    /// The last step whose charge is durable.
    paid: Option<u64>,
    training: bool,
}

impl Shared {
    pub(crate) fn new(plan: Option<(usize, Fault)>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { plan, ..State::default() }) })
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.state.lock().unwrap().trace.clone()
    }

    /// From here on, gradients are of records.
    pub(crate) fn begin_training(&self) {
        self.state.lock().unwrap().training = true;
    }

    /// The step that is paid, 0 for none, when records are being touched.
    pub(crate) fn drawing(&self) -> Option<u64> {
        let state = self.state.lock().unwrap();
        state.training.then(|| state.paid.unwrap_or(0))
    }

    /// Notes an operation; the fault planned for it, if any. Kills before it happen here.
    pub(crate) fn reach(&self, name: String) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let index = state.trace.len();
        state.trace.push(name);
        let (at, fault) = state.plan?;
        if at != index {
            return None;
        }
        match fault {
            Fault::KillBefore => kill(),
            Fault::PowerCut => {
                for (path, length) in &state.synced {
                    if let Ok(file) = std::fs::OpenOptions::new().write(true).open(path) {
                        file.set_len(*length).unwrap();
                    }
                }
                kill()
            }
            other => Some(other),
        }
    }

    fn pay(&self, line: &[u8]) {
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(line)
            && value["kind"] == "charge"
        {
            self.state.lock().unwrap().paid = value["step"].as_u64();
        }
    }
}

/// Ends this process as the kernel would: nothing is flushed, closed or unwound.
pub(crate) fn kill() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

/// The disk.
pub(crate) struct FaultyDisk {
    pub(crate) shared: Arc<Shared>,
}

struct FaultyFile {
    path: PathBuf,
    inner: Box<dyn Written>,
    written: u64,
    last: Vec<u8>,
    shared: Arc<Shared>,
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Runs `operation` unless the fault of this point says otherwise.
pub(crate) fn guarded<T>(shared: &Shared, name: String, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match shared.reach(name) {
        None | Some(Fault::Short | Fault::SyncLost) => operation(),
        Some(Fault::KillAfter) => {
            let _ = operation();
            kill()
        }
        Some(Fault::KillHalf) => kill(),
        Some(Fault::Fail(number)) => Err(io::Error::from_raw_os_error(number)),
        Some(Fault::KillBefore | Fault::PowerCut) => unreachable!("handled where the point is reached"),
    }
}

impl FaultyDisk {
    fn file(&self, path: &Path, inner: Box<dyn Written>, written: u64) -> Box<dyn Written> {
        self.shared.state.lock().unwrap().synced.insert(path.to_owned(), written);
        let shared = Arc::clone(&self.shared);
        Box::new(FaultyFile { path: path.to_owned(), inner, written, last: Vec::new(), shared })
    }
}

impl Storage for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Written>> {
        let inner = guarded(&self.shared, format!("create {}", name(path)), || Disk.create(path))?;
        Ok(self.file(path, inner, 0))
    }

    fn reopen(&self, path: &Path, length: u64) -> io::Result<Box<dyn Written>> {
        let inner = guarded(&self.shared, format!("reopen {}", name(path)), || Disk.reopen(path, length))?;
        Ok(self.file(path, inner, length))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        guarded(&self.shared, format!("rename to {}", name(to)), || Disk.rename(from, to))?;
        let mut state = self.shared.state.lock().unwrap();
        if let Some(length) = state.synced.remove(from) {
            state.synced.insert(to.to_owned(), length);
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        guarded(&self.shared, format!("sync folder {}", name(folder)), || Disk.sync_folder(folder))
    }
}

impl Written for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let half = &bytes[..bytes.len() / 2];
        match self.shared.reach(format!("write {}", name(&self.path))) {
            None | Some(Fault::SyncLost) => self.inner.write(bytes)?,
            Some(Fault::KillAfter) => {
                let _ = self.inner.write(bytes);
                kill()
            }
            Some(Fault::KillHalf) => {
                let _ = self.inner.write(half);
                kill()
            }
            Some(Fault::Short) => {
                self.inner.write(half)?;
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
            Some(Fault::Fail(number)) => return Err(io::Error::from_raw_os_error(number)),
            Some(Fault::KillBefore | Fault::PowerCut) => unreachable!("handled where the point is reached"),
        }
        self.written += bytes.len() as u64;
        bytes.clone_into(&mut self.last);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let fault = self.shared.reach(format!("sync {}", name(&self.path)));
        if fault == Some(Fault::SyncLost) {
            let durable = self.shared.state.lock().unwrap().synced.get(&self.path).copied().unwrap_or(0);
            std::fs::OpenOptions::new().write(true).open(&self.path)?.set_len(durable)?;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        match fault {
            Some(Fault::Fail(number)) => return Err(io::Error::from_raw_os_error(number)),
            Some(Fault::KillHalf) => kill(),
            _ => self.inner.sync()?,
        }
        if fault == Some(Fault::KillAfter) {
            kill();
        }
        self.shared.state.lock().unwrap().synced.insert(self.path.clone(), self.written);
        if name(&self.path) == rldp_train::files::LEDGER {
            self.shared.pay(&self.last);
        }
        Ok(())
    }
}
