//! Progress of a comparison on standard error: a bar on a terminal, a line for each run elsewhere.

use std::{
    io::{IsTerminal as _, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::progress::note;

/// Counts runs and guesses what is left.
pub(super) struct Board {
    bar: ProgressBar,
    total: usize,
    done: usize,
    /// Ended in this session, which alone say how fast it goes.
    ended: u32,
    started: Instant,
}

impl Board {
    /// `done` of `total` runs were finished before.
    pub(super) fn new(total: usize, done: usize) -> Self {
        let bar = if stderr().is_terminal() { ProgressBar::new(total as u64) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("compare {bar:24} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        bar.set_position(done as u64);
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, total, done, ended: 0, started: Instant::now() }
    }

    /// One run ended, as `what` says.
    pub(super) fn ended(&mut self, run: &str, what: &str) {
        self.done += 1;
        self.ended += 1;
        let left = self.started.elapsed() / self.ended * (self.total - self.done) as u32;
        let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
        self.bar.set_position(self.done as u64);
        self.bar.set_message(format!("about {left} left"));
        let line = format!("{}/{} {run} {what}, about {left} left", self.done, self.total);
        self.bar.suspend(|| note("compare", &line));
    }

    /// One run was stopped, and is still to be done.
    pub(super) fn stopped(&self, run: &str) {
        self.bar.suspend(|| note("compare", &format!("{run} stopped")));
    }

    /// Leaves the last state standing.
    pub(super) fn finish(&self) {
        self.bar.abandon();
    }
}
