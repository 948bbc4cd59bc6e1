//! `cargo xtask dist`: archives with the program for those who have no Rust, and `cargo xtask check targets`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use fs_err as fs;
use sha2::{Digest as _, Sha256};

use crate::{cargo, say};

/// What archives are made for, and what is checked where its standard library is installed.
const TARGETS: [&str; 5] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
    "x86_64-pc-windows-msvc",
];

/// What goes along with the program.
const PAGES: [&str; 5] = ["README.md", "PRIVACY.md", "SECURITY.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Packs the program for every target that can be built here (or those that are named) into `target/dist`, with sums to check it by.
/// CUDA is in it, and asks for nothing until a card is asked for. MPI and CUDA are opened at run time, so the C library is not linked
/// statically: the archive says which version it needs.
pub(crate) fn dist(root: &Path, targets: &[String]) -> Result<()> {
    let host = host()?;
    let targets = if targets.is_empty() { vec![host.clone()] } else { targets.to_vec() };
    let out = root.join("target/dist");
    fs::create_dir_all(&out)?;
    let mut sums = Vec::new();
    for target in &targets {
        let archive = pack(root, &out, target, *target == host)?;
        let digest: String = Sha256::digest(fs::read(&archive)?).iter().map(|byte| format!("{byte:02x}")).collect();
        sums.push(format!("{digest}  {}\n", archive.file_name().unwrap_or_default().to_string_lossy()));
        say(&format!("{} ({:.1} MB)", archive.display(), fs::metadata(&archive)?.len() as f64 / 1e6));
    }
    fs::write(out.join("SHA256SUMS"), sums.concat())?;
    Ok(())
}

fn pack(root: &Path, out: &Path, target: &str, here: bool) -> Result<PathBuf> {
    ensure!(TARGETS.contains(&target), "`{target}` is none of {}", TARGETS.join(", "));
    ensure!(
        installed()?.iter().any(|found| found == target),
        "the standard library for {target} is not installed; `rustup target add {target}`, and a linker for it"
    );
    let build = ["build", "--release", "--locked", "--bin", "rldp", "--features", "cuda", "--target", target];
    cargo(root, &build, &[("CARGO_PROFILE_RELEASE_STRIP", "symbols")])?;
    let suffix = if target.contains("windows") { ".exe" } else { "" };
    let program = root.join(format!("target/{target}/release/rldp{suffix}"));
    let name = format!("rldp-{}-{target}", env!("CARGO_PKG_VERSION"));
    let folder = out.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("completions"))?;
    fs::copy(&program, folder.join(format!("rldp{suffix}")))?;
    for page in PAGES {
        fs::copy(root.join(page), folder.join(page))?;
    }
    // Completions and manual pages are the program's own words, so only a program that runs here can write them.
    if here {
        for shell in ["bash", "zsh", "fish"] {
            let script = output(Command::new(&program).args(["completions", shell]))?;
            fs::write(folder.join(format!("completions/rldp.{shell}")), script)?;
        }
        output(Command::new(&program).arg("man").arg("--out").arg(folder.join("man")))?;
        fs::write(folder.join("NEEDS"), needs(&program))?;
    }
    let archive = out.join(format!("{name}.tar.gz"));
    let mut writer = tar::Builder::new(GzEncoder::new(fs::File::create(&archive)?, Compression::best()));
    writer.append_dir_all(&name, &folder)?;
    writer.into_inner()?.finish()?;
    Ok(archive)
}

/// The newest version of the C library that the program asks for.
fn needs(program: &Path) -> String {
    let bytes = fs::read(program).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let versions = text.split("GLIBC_").skip(1).filter_map(|rest| {
        let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let mut parts = version.split('.').filter_map(|part| part.parse::<u32>().ok());
        Some((parts.next()?, parts.next()?))
    });
    versions.max().map_or_else(
        || "Nothing beyond the system's own libraries.\n".to_owned(),
        |(major, minor)| {
            format!("glibc {major}.{minor} or newer. NVIDIA's driver and MPI are opened when they are asked for.\n")
        },
    )
}

/// Checks that the program compiles for other systems, where their standard libraries are installed.
pub(crate) fn check_targets(root: &Path) -> Result<()> {
    let (host, installed) = (host()?, installed()?);
    for target in TARGETS.iter().filter(|target| **target != host) {
        if !installed.iter().any(|found| found == target) {
            say(&format!("SKIPPED: {target}: its standard library is not installed (`rustup target add {target}`)"));
            continue;
        }
        cargo(root, &["check", "--release", "--quiet", "--bin", "rldp", "--target", target], &[])?;
    }
    Ok(())
}

fn host() -> Result<String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say which system it runs on")
}

fn installed() -> Result<Vec<String>> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let folder = Path::new(sysroot.trim()).join("lib/rustlib");
    let has = |target: &&&str| folder.join(target).join("lib").is_dir();
    Ok(TARGETS.iter().filter(has).map(|target| (*target).to_owned()).collect())
}

pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} could not be started"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
