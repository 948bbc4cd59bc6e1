//! Exit codes: 0 done, 1 a check failed or the input was refused, 2 wrong usage, 3 internal error.

use std::{ffi::OsString, fmt, io::Write as _, sync::OnceLock};

use rldp_train::TrainError;

static PROGRAM: OnceLock<Vec<OsString>> = OnceLock::new();

/// Words that start this program anew, where it is not its own file.
pub(crate) fn set_program(words: Vec<OsString>) {
    if !words.is_empty() {
        PROGRAM.get_or_init(|| words);
    }
}

/// Words that start this program anew.
pub(crate) fn program() -> std::io::Result<Vec<OsString>> {
    PROGRAM.get().cloned().map_or_else(|| Ok(vec![std::env::current_exe()?.into()]), Ok)
}

/// An error with the side that can mend it.
#[derive(Debug)]
pub(crate) struct Wrong {
    code: u8,
    source: anyhow::Error,
}

impl Wrong {
    /// The command was called wrongly.
    pub(crate) fn usage(source: impl Into<anyhow::Error>) -> Self {
        Self { code: 2, source: source.into() }
    }

    /// The input was refused, or a check failed.
    pub(crate) fn input(source: impl Into<anyhow::Error>) -> Self {
        Self { code: 1, source: source.into() }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#}", self.source)
    }
}

impl std::error::Error for Wrong {}

/// What went wrong was said by another process of the same command, or will be.
#[derive(Debug, thiserror::Error)]
#[error("rank 0 says what went wrong")]
pub(crate) struct Told;

/// Prints an error and turns it into an exit code.
pub(crate) fn report(error: &anyhow::Error) -> u8 {
    if is_broken_pipe(error) {
        return 0;
    }
    if !error.downcast_ref::<Wrong>().is_some_and(|wrong| wrong.source.is::<Told>()) {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
    }
    code_of(error)
}

pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    if let Some(wrong) = error.downcast_ref::<Wrong>() {
        return wrong.code;
    }
    match error.downcast_ref::<TrainError>() {
        Some(error) if error.is_usage() => 2,
        _ => 1,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
