//! Runs as child processes of this binary, on a number of slots.

use std::{
    collections::VecDeque,
    ffi::OsString,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::{
    grid::Planned,
    state::{Layout, State, take},
};
use crate::exit;

/// How often children are looked at.
const POLL: Duration = Duration::from_millis(50);

/// How a run ended.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// All its steps are made.
    Finished,
    /// It was asked to stop and saved itself.
    Stopped,
    /// It failed, with its last message.
    Failed(String),
}

/// Where children run.
pub(super) struct Slots {
    pub(super) layout: Layout,
    /// Children at a time.
    pub(super) at_once: usize,
    /// Threads of each.
    pub(super) threads: usize,
    /// Set by a signal.
    pub(super) stop: Arc<AtomicBool>,
}

/// A child at work. It does not outlive an error of ours.
struct Running<'a> {
    run: &'a Planned,
    child: Child,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // A child that has ended refuses both, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Slots {
    /// Runs everything in `queue` and reports each end.
    pub(super) fn work<'a>(
        &self,
        mut queue: VecDeque<&'a Planned>,
        on_end: &mut dyn FnMut(&'a Planned, Ended) -> Result<()>,
    ) -> Result<()> {
        let program = exit::program().context("this program cannot find its own file")?;
        let mut running: Vec<Running<'a>> = Vec::new();
        let mut told = false;
        loop {
            let stopping = self.stop.load(Ordering::Relaxed);
            if stopping && !told {
                for running in &running {
                    ask_to_stop(&running.child);
                }
                told = true;
            }
            // Runs that another process holds are looked at again later, each once a round.
            for _ in 0..queue.len() {
                if stopping || running.len() >= self.at_once {
                    break;
                }
                let Some(run) = queue.pop_front() else { break };
                match self.start(&program, run)? {
                    Started::Held => queue.push_back(run),
                    Started::Done => on_end(run, Ended::Finished)?,
                    Started::Child(child) => running.push(Running { run, child }),
                }
            }
            let mut index = 0;
            while index < running.len() {
                if let Some(status) = running[index].child.try_wait()? {
                    let ended = running.swap_remove(index);
                    on_end(ended.run, self.ended(ended.run, status)?)?;
                } else {
                    index += 1;
                }
            }
            if running.is_empty() && (queue.is_empty() || stopping) {
                return Ok(());
            }
            sleep(POLL);
        }
    }

    fn start(&self, program: &[OsString], run: &Planned) -> Result<Started> {
        let folder = &run.settings.output.out;
        let Some(lock) = take(&self.layout.run_lock(&run.name), folder)? else { return Ok(Started::Held) };
        let Some((binary, words)) = program.split_first() else { anyhow::bail!("this program has no name") };
        let mut command = Command::new(binary);
        command.args(words).arg("train").arg("--quiet");
        // A seeded run repeats its noise when it resumes, and is no longer paired; it promises nothing, so it may start anew.
        let seeded = run.settings.privacy.unsafe_noise_seed.is_some();
        match State::of(folder)? {
            State::Finished => return Ok(Started::Done),
            State::Charged if !seeded => command.arg("--resume").arg(folder),
            _ => {
                if folder.exists() {
                    fs::remove_dir_all(folder)?;
                }
                command.arg("--config").arg(self.layout.config(&run.name))
            }
        };
        let log = fs::File::create(self.layout.log(&run.name))?.into_parts().0;
        command
            .env("RAYON_NUM_THREADS", self.threads.to_string())
            .stdin(Stdio::from(lock))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log));
        Ok(Started::Child(
            command.spawn().with_context(|| format!("{} could not be started", binary.to_string_lossy()))?,
        ))
    }

    /// The folder decides whether a run is finished; the exit code and the log say what else happened.
    fn ended(&self, run: &Planned, status: std::process::ExitStatus) -> Result<Ended> {
        Ok(match State::of(&run.settings.output.out)? {
            State::Finished => Ended::Finished,
            _ if status.success() => Ended::Stopped,
            _ => {
                let log = fs::read(self.layout.log(&run.name)).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
                Ended::Failed(format!("{last} ({status})"))
            }
        })
    }
}

enum Started {
    Child(Child),
    /// Another process works on it.
    Held,
    /// It was finished meanwhile.
    Done,
}

/// Asks a run to finish its step and save itself. Where there is no such signal it is left to its end.
fn ask_to_stop(child: &Child) {
    #[cfg(unix)]
    let _ = Command::new("kill").arg("-TERM").arg(child.id().to_string()).stderr(Stdio::null()).status();
    #[cfg(not(unix))]
    let _ = child;
}
