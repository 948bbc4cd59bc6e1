//! `rldp completions` and `rldp man`: what shells and `man` need to know of the command line.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use clap::Command;
use clap_complete::Shell;
use fs_err as fs;

use super::print_line;
use crate::cli::{self, CompletionsArguments, ManArguments};

/// Prints the completion script of a shell.
pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(Shell::from(arguments.shell), &mut cli::command(), "rldp", &mut script);
    print_line(String::from_utf8(script)?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes one page for each command.
pub(crate) fn man(arguments: &ManArguments) -> Result<ExitCode> {
    fs::create_dir_all(&arguments.out)?;
    let mut command = cli::command();
    command.build();
    page(&command, "rldp", &arguments.out)?;
    print_line(&arguments.out.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn page(command: &Command, name: &str, out: &Path) -> Result<()> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name).render(&mut text)?;
    fs::write(out.join(format!("{name}.1")), text)?;
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set()) {
        page(inner, &format!("{name}-{}", inner.get_name()), out)?;
    }
    Ok(())
}
