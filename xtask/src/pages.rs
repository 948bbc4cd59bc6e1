//! The pages that rldp writes, as a browser shows them: `scripts/pages.py`.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};

use crate::{cargo, say};

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Runs the script on the release build. Where Python or Chromium is missing this says so.
pub(crate) fn check(root: &Path) -> Result<()> {
    let python = ["python3"].into_iter().find(|name| runs(name));
    let browser = env::var_os("RLDP_CHROMIUM").is_some() || BROWSERS.iter().any(|name| runs(name));
    let (Some(python), true) = (python, browser) else {
        let missing = if python.is_none() { "python3" } else { "Chromium (or RLDP_CHROMIUM, which names one)" };
        say(&format!("SKIPPED: {missing} was not found, so nobody looked at the pages"));
        return Ok(());
    };
    // As the tests build the program, which is then there.
    cargo(root, &["test", "--workspace", "--release", "--no-run", "--quiet"], &[])?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let script = root.join("scripts/pages.py");
    let status = Command::new(python).arg(script).arg(target.join("release/rldp")).current_dir(root).status()?;
    ensure!(status.success(), "a page has faults; `scripts/pages.py RLDP --shots DIR` shows what was seen");
    Ok(())
}

/// Whether a program can be started.
fn runs(name: &str) -> bool {
    let mut command = Command::new(name);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
