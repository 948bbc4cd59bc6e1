//! `rldp merge`: the base model with the adapter added, as one model.

use std::process::ExitCode;

use anyhow::Result;
use rldp_model::merge;

use super::print_line;
use crate::{cli::MergeArguments, exit::Wrong, models};

pub(crate) fn run(arguments: &MergeArguments) -> Result<ExitCode> {
    let files = models::files(&arguments.model)?;
    let Some(adapter) = models::adapter(Some(&arguments.adapter), &files)? else {
        anyhow::bail!("an adapter was given but not loaded")
    };
    merge(&files, &adapter, &arguments.out).map_err(Wrong::input)?;
    print_line(&arguments.out.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
