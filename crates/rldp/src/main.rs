//! The `rldp` command.

mod cli;
mod commands;
mod defaults;
mod exit;
mod hub;
mod models;
mod progress;
mod settings;
mod shield;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    shield::raise();
    // A panic is a defect of ours; its message says where, never what the records held, and the exit code says internal.
    match std::panic::catch_unwind(|| commands::run(arguments)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => exit::report(&error),
        Err(_) => ExitCode::from(3),
    }
}
