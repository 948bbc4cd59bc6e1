//! How long to wait between two looks at something that has not happened yet.

use std::time::{Duration, Instant};

/// Looks without a pause at first, since most waits are short.
const BUSY: Duration = Duration::from_micros(200);
/// Longest pause.
const LONGEST: Duration = Duration::from_millis(2);

/// A wait that began.
pub(super) struct Wait {
    began: Instant,
    pause: Duration,
}

impl Wait {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), pause: Duration::from_micros(20) }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Lets other threads and processes work. `asleep` is for waits in which nothing is moved: ranks that wait for one another must not
    /// take the cores of those that still work.
    pub(super) fn pause(&mut self, asleep: bool) {
        if !asleep || self.elapsed() < BUSY {
            std::thread::yield_now();
        } else {
            std::thread::sleep(self.pause);
            self.pause = (self.pause * 5 / 4).min(LONGEST);
        }
    }
}
