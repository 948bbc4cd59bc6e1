//! The Python package: one virtual environment, the wheel built once, its tests.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;

use crate::say;

/// What the wheel is built and tested with.
const PACKAGES: &[&str] = &["maturin>=1.9.4,<2", "pytest", "pandas>=2.2", "pyarrow"];

/// The oldest Python that the wheel is for.
const OLDEST: &str = "import sys; sys.exit(sys.version_info < (3, 9))";

/// Builds and tests the package. Where there is no Python, or its packages cannot be had, this says so; in CI only the former passes.
pub(crate) fn check(root: &Path) -> Result<()> {
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !quiet(Command::new("python3").args(["-c", OLDEST])) {
        say("SKIPPED: there is no python3 of 3.9 or newer, so the Python package was not built");
        return Ok(());
    }
    let folder = root.join("target").join("python");
    if let Err(error) = environment(&folder) {
        if std::env::var_os("CI").is_some() {
            return Err(error);
        }
        say(&format!("SKIPPED: {error:#}, so the Python package was not built"));
        return Ok(());
    }
    let wheel = wheel(root, &folder)?;
    let install = ["-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps"];
    run(Command::new(python(&folder)).args(install).arg(&wheel), "the wheel cannot be installed")?;
    let mut tests = Command::new(python(&folder));
    tests.args(["-m", "pytest", "-p", "no:cacheprovider"]).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(root);
    run(&mut tests, "the Python tests failed")
}

/// A virtual environment with [`PACKAGES`], made when it is not there.
fn environment(folder: &Path) -> Result<()> {
    let (stamp, wanted) = (folder.join("packages.txt"), PACKAGES.join("\n"));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) && python(folder).exists() {
        return Ok(());
    }
    let venv = folder.join("venv");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), "`python3 -m venv` does not work")?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(python(folder)).args(install).args(PACKAGES), "pip cannot get what the tests need")?;
    Ok(fs::write(stamp, wanted)?)
}

fn python(folder: &Path) -> PathBuf {
    let place = if cfg!(windows) { "venv/Scripts/python.exe" } else { "venv/bin/python" };
    folder.join(place)
}

/// Builds the wheel with the features that the workspace has in tests, so that what was compiled for them is not compiled again.
fn wheel(root: &Path, folder: &Path) -> Result<PathBuf> {
    let wheels = folder.join("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels)?;
    }
    let mut build = Command::new(python(folder));
    build.args(["-m", "maturin", "build", "--release", "--locked", "--quiet", "--features", "as-tested", "--out"]);
    build.arg(&wheels).arg("--interpreter").arg(python(folder)).current_dir(root);
    run(&mut build, "maturin cannot build the wheel")?;
    let found: Vec<PathBuf> = fs::read_dir(&wheels)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let [wheel] = &found[..] else { bail!("maturin left {} wheels in {}", found.len(), wheels.display()) };
    Ok(wheel.clone())
}

fn run(command: &mut Command, otherwise: &'static str) -> Result<()> {
    let status = command.status().context(otherwise)?;
    ensure!(status.success(), otherwise);
    Ok(())
}
