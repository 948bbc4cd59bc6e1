//! One file a command.

mod audit;
mod compare;
mod demo;
mod devices;
mod evaluate;
mod export;
mod generate;
mod inspect;
mod merge;
mod plan;
mod policy;
mod privacy;
mod ranks;
mod report;
mod resumed;
mod shell;
mod train;
mod utility;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;

pub(crate) use self::{
    compare::CompareArguments,
    privacy::{epsilon_of, verify_run},
    train::load,
    utility::Metric,
};
use crate::{
    cli::{Arguments, Command, InspectCommand, PolicyCommand, PrivacyCommand},
    host, shield,
};

/// Whether a command reads records that are private, and makes files of them.
pub(crate) fn reads_private_records(arguments: &Arguments) -> bool {
    matches!(arguments.command, Command::Train(_) | Command::Demo(_) | Command::Compare(_) | Command::Audit(_))
}

/// Runs the command that was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let called = host::current().is_some();
    if !called && reads_private_records(&arguments) {
        shield::keep_files_private();
    }
    let shares = match &arguments.command {
        Command::Train(_) | Command::Evaluate(_) => true,
        Command::Audit(audit) => audit.kind.is_none(),
        _ => false,
    };
    if called || !shares {
        ranks::refuse_several()?;
    }
    match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man(arguments) => shell::man(&arguments),
        Command::Privacy(PrivacyCommand::Epsilon(arguments)) => privacy::epsilon(&arguments),
        Command::Privacy(PrivacyCommand::Calibrate(arguments)) => privacy::calibrate(&arguments),
        Command::Privacy(PrivacyCommand::Verify(arguments)) => privacy::verify(&arguments),
        Command::Privacy(PrivacyCommand::Sign(arguments)) => privacy::sign(&arguments),
        Command::Privacy(PrivacyCommand::Book(arguments)) => privacy::book(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Policy(PolicyCommand::Train(arguments)) => policy::learn(&arguments),
        Command::Policy(PolicyCommand::Show(arguments)) => policy::show(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Inspect(InspectCommand::Devices(arguments)) => devices::run(&arguments),
        Command::Inspect(InspectCommand::Logits(arguments)) => inspect::logits(&arguments),
        Command::Inspect(InspectCommand::PerExampleGradients(arguments)) => inspect::gradients(&arguments),
    }
}

/// Writes data to standard output, or hands it to the program that called; a closed pipe ends the command quietly.
fn print_line(text: &str) -> io::Result<()> {
    if let Some(host) = host::current() {
        host.data(text);
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints a JSON object on one line.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    Ok(print_line(&serde_json::to_string(value)?)?)
}
