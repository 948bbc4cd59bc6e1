//! How long to wait between two looks at something that has not happened yet.

use std::time::{Duration, Instant};

/// Looks without a pause at first, since most waits are short.
const BUSY: Duration = Duration::from_micros(200);
/// Shortest and longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(2));
/// A pause is this part of what was waited before, so that whoever waits comes late by at most that part.
const PART: u32 = 64;

/// A wait that began.
pub(super) struct Wait {
    began: Instant,
}

impl Wait {
    pub(super) fn new() -> Self {
        Self { began: Instant::now() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Lets other threads and processes work. `asleep` is for waits in which nothing is moved: ranks that wait for one another must not
    /// take the cores of those that still work.
    pub(super) fn pause(&self, asleep: bool) {
        let waited = self.elapsed();
        if !asleep || waited < BUSY {
            std::thread::yield_now();
        } else {
            std::thread::sleep((waited / PART).clamp(PAUSES.0, PAUSES.1));
        }
    }
}
