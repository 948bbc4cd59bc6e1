//! The GPU's kernels: `cargo xtask kernels` compiles them to PTX, and the gate compiles them for several generations of cards.
//!
//! Both need nvcc 13.0 and ptxas: those of a CUDA toolkit, or of the Python packages that CONTRIBUTING names, in the folder that
//! `RLDP_CUDA` names. Neither needs a card.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use sha2::{Digest as _, Sha256};

use crate::say;

/// Generations that the gate compiles for: Ampere, Hopper, Blackwell's cards for desks.
const GENERATIONS: &[&str] = &["80", "90", "120"];
/// The oldest generation, whose PTX every later driver compiles.
const OLDEST: &str = "80";
/// PTX of CUDA 12.0: drivers from 525 on read it. The compiler writes the newest version, but uses nothing of it.
const PTX_VERSION: &str = ".version 8.0";

fn folder(root: &Path) -> PathBuf {
    root.join("crates/rldp-gpu/cuda")
}

fn packed(root: &Path) -> PathBuf {
    folder(root).join("kernels.ptx.gz")
}

/// Compiles the kernels to PTX and writes what the crate embeds.
pub(crate) fn make(root: &Path) -> Result<()> {
    let Some(tools) = Tools::find() else { bail!("there is no nvcc; set RLDP_CUDA to a folder that has bin/nvcc") };
    let text = format!("{}\n{}", first_line(root)?, tools.ptx(root)?);
    let mut encoder = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
    encoder.write_all(text.as_bytes())?;
    fs::write(packed(root), encoder.finish()?)?;
    say(&format!("wrote {}", packed(root).display()));
    Ok(())
}

/// Checks that the embedded PTX is of these sources; where there is a compiler, also that it is what the compiler makes, and that
/// no kernel spills registers or indexes local memory on any generation.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(packed(root))?).read_to_string(&mut text)?;
    ensure!(
        text.lines().next() == Some(first_line(root)?.as_str()),
        "the kernels' sources have changed since {} was made; run `cargo xtask kernels`",
        packed(root).display()
    );
    let Some(tools) = Tools::find() else {
        say(
            "SKIPPED: there is no nvcc, so the kernels were not compiled (set RLDP_CUDA to a folder that has bin/nvcc)",
        );
        return Ok(());
    };
    let ptx = tools.ptx(root)?;
    ensure!(
        text.ends_with(&ptx),
        "the embedded PTX is not what this nvcc makes; run `cargo xtask kernels` with nvcc 13.0"
    );
    for generation in GENERATIONS {
        say(&format!("sm_{generation}: {}", tools.assemble(&ptx, generation)?));
    }
    Ok(())
}

/// Names the sources that the PTX was made of.
fn first_line(root: &Path) -> Result<String> {
    let mut names: Vec<PathBuf> = fs::read_dir(folder(root))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    names.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    names.sort();
    let mut hash = Sha256::new();
    for path in names {
        hash.update(fs::read(path)?);
    }
    let mut line = "// Sources: ".to_owned();
    hash.finalize().iter().try_for_each(|byte| write!(line, "{byte:02x}"))?;
    Ok(line)
}

struct Tools {
    bin: PathBuf,
}

impl Tools {
    fn find() -> Option<Self> {
        let asked = std::env::var_os("RLDP_CUDA").map(|folder| PathBuf::from(folder).join("bin"));
        let on_path = || std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| folder.join("nvcc").exists());
        let bin = asked.or_else(on_path)?;
        bin.join("nvcc").exists().then_some(Self { bin })
    }

    /// The kernels in PTX, without what only newer drivers read.
    fn ptx(&self, root: &Path) -> Result<String> {
        let out = scratch("ptx");
        let source = folder(root).join("kernels.cu");
        let mut command = Command::new(self.bin.join("nvcc"));
        command.args(["-ptx", "-std=c++17", "-arch"]).arg(format!("compute_{OLDEST}")).arg(source).arg("-o").arg(&out);
        run(&mut command)?;
        let text = fs::read_to_string(&out)?;
        fs::remove_file(&out)?;
        let lines = text.lines().filter(|line| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with("//") && !line.starts_with(".pragma \"used_bytes_mask")
        });
        let lines = lines.map(|line| if line.starts_with(".version") { PTX_VERSION } else { line });
        Ok(lines.flat_map(|line| [unplaced(line), "\n".into()]).collect())
    }

    /// Compiles PTX for a generation; tells how many registers the hungriest kernel takes.
    fn assemble(&self, ptx: &str, generation: &str) -> Result<String> {
        let (source, out) = (scratch("in.ptx"), scratch("cubin"));
        fs::write(&source, ptx)?;
        let mut command = Command::new(self.bin.join("ptxas"));
        let report = run(command.arg("-v").arg(format!("-arch=sm_{generation}")).arg(&source).arg("-o").arg(&out));
        fs::remove_file(&source)?;
        let report = report?;
        fs::remove_file(&out)?;
        let numbers = |before: &str, after: &str| -> Vec<u32> {
            let lines =
                report.lines().filter_map(|line| line.split_once(after)?.0.rsplit_once(before)?.1.trim().parse().ok());
            lines.collect()
        };
        let registers = numbers("Used ", " registers");
        let stack: u32 = numbers("    ", " bytes stack frame").iter().sum();
        let spilled: u32 = numbers(", ", " bytes spill stores").iter().sum();
        ensure!(!registers.is_empty(), "ptxas reported no kernel");
        ensure!(spilled == 0, "kernels spill {spilled} bytes of registers on sm_{generation}:\n{report}");
        ensure!(stack == 0, "kernels keep {stack} bytes in slow local memory on sm_{generation}:\n{report}");
        let most = registers.iter().max().unwrap_or(&0);
        Ok(format!("{} kernels, at most {most} registers, no spills", registers.len()))
    }
}

/// A line without the digest in names of a kernel's own memory, which nvcc makes of where the source lies.
fn unplaced(line: &str) -> String {
    const BEFORE: &str = "_INTERNAL_";
    const DIGITS: usize = 8;
    let mut parts = line.split(BEFORE);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.get(DIGITS..).filter(|_| part.bytes().take(DIGITS).all(|byte| byte.is_ascii_hexdigit()));
        text + BEFORE + &rest.map_or_else(|| part.to_owned(), |rest| "0".repeat(DIGITS) + rest)
    })
}

fn scratch(ending: &str) -> PathBuf {
    std::env::temp_dir().join(format!("rldp-kernels-{}.{ending}", std::process::id()))
}

/// Runs a command; returns what it said.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?} failed:\n{said}");
    Ok(said)
}
