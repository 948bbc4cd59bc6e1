//! The one gate, `cargo xtask check`; `cargo xtask kernels`, which compiles the GPU's; and what is handed out: `cargo xtask dist`, `site`.

mod deny;
mod dist;
mod kernels;
mod layers;
mod pages;
mod python;
mod site;
mod tidy;

use std::{
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Result, bail, ensure};

/// One check: its name, and what runs it.
type Check = (&'static str, fn(&Path) -> Result<()>);

/// Cheapest first. Everything is built with the release profile, so that lints, docs and tests share what they compile
/// with the program itself.
const CHECKS: &[Check] = &[
    ("fmt", |root| cargo(root, &["fmt", "--all", "--check"], &[])),
    ("tidy", tidy::check),
    ("layers", layers::check),
    ("kernels", kernels::check),
    ("deny", deny::check),
    ("clippy", |root| {
        cargo(root, &["clippy", "--workspace", "--all-targets", "--release", "--quiet", "--", "-D", "warnings"], &[])
    }),
    ("docs", |root| {
        let flags = [("RUSTDOCFLAGS", "-D warnings")];
        cargo(root, &["doc", "--workspace", "--no-deps", "--document-private-items", "--release", "--quiet"], &flags)
    }),
    // Fuzzing needs nightly Rust and C++; that its targets still fit the code does not, as long as nothing is linked.
    ("fuzz", |root| {
        let manifest = ["--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz"];
        let arguments = [&["check", "--bins", "--locked", "--quiet"], &manifest[..]].concat();
        cargo(root, &arguments, &[("CUSTOM_LIBFUZZER_PATH", "./none"), ("RUSTFLAGS", "-D warnings")])
    }),
    ("targets", dist::check_targets),
    ("test", |root| cargo(root, &["test", "--workspace", "--release"], &[])),
    ("pages", pages::check),
    ("python", python::check),
    // The CUDA back end, which the program has by a feature: that it compiles, and what bad drivers and cards are answered with.
    ("cuda", |root| {
        let features = ["--workspace", "--release", "--features", "rldp-gpu/cuda"];
        cargo(root, &[&["test"], &features[..], &["--test", "cards"]].concat(), &[])
    }),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    let (first, rest) = arguments.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    match first {
        "check" => {}
        "kernels" if rest.is_empty() => return kernels::make(root),
        "dist" => return dist::dist(root, rest),
        "site" if rest.is_empty() => return site::make(root),
        _ => bail!("usage: cargo xtask check [{}], or cargo xtask kernels, dist [TARGET ...] or site", names.join("|")),
    }
    if let Some(unknown) = rest.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there is no check `{unknown}`; the checks are {}", names.join(", "));
    }
    for (name, check) in CHECKS.iter().filter(|(name, _)| rest.is_empty() || rest.iter().any(|asked| asked == name)) {
        say(&format!("== {name}"));
        let started = Instant::now();
        check(root)?;
        say(&format!("== {name}: passed in {:.0} s", started.elapsed().as_secs_f64()));
    }
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let status = cargo_command(root).args(arguments).envs(environment.iter().copied()).status()?;
    ensure!(status.success(), "`cargo {}` failed", arguments.join(" "));
    Ok(())
}

/// The cargo that runs this program, in the root of the tree.
fn cargo_command(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

#[expect(clippy::print_stderr, reason = "a gate talks to the person who runs it")]
fn say(text: &str) {
    eprintln!("{text}");
}
