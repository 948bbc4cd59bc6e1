//! Licences, sources and known vulnerabilities of what is depended on, by `cargo deny` and `deny.toml`.

use std::{path::Path, process::Command};

use anyhow::{Result, bail, ensure};

use crate::{cargo_command, say};

/// Runs `cargo deny`. Where it is not installed this says so, and fails in CI only.
pub(crate) fn check(root: &Path) -> Result<()> {
    let installed =
        cargo_command(root).args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !installed {
        if std::env::var_os("CI").is_some() {
            bail!("cargo-deny is not installed; run `cargo install cargo-deny --locked`");
        }
        say(
            "SKIPPED: cargo-deny is not installed, so licences and advisories were not checked (`cargo install cargo-deny --locked`)",
        );
        return Ok(());
    }
    ensure!(run(root, &["licenses", "bans", "sources"])?, "`cargo deny` found what deny.toml forbids");
    advisories(root)
}

/// The database of advisories is a download. Without it nothing is known, which is no fault of the tree.
fn advisories(root: &Path) -> Result<()> {
    if run(root, &["advisories"])? {
        return Ok(());
    }
    let fetched = cargo_command(root).args(["deny", "--log-level", "off", "fetch", "db"]).status()?.success();
    ensure!(!fetched, "`cargo deny` found an advisory");
    say("SKIPPED: the database of advisories cannot be fetched from here");
    Ok(())
}

fn run(root: &Path, checks: &[&str]) -> Result<bool> {
    let mut command: Command = cargo_command(root);
    let status =
        command.args(["deny", "--log-level", "error", "check", "--hide-inclusion-graph"]).args(checks).status()?;
    Ok(status.success())
}
