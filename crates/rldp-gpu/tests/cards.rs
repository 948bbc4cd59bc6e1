//! What a machine whose card, driver or libraries are missing or bad is answered with: a table of sentences, on a driver that is faked.
//!
//! `cargo test --release --workspace --features rldp-gpu/cuda --test cards`. Each case is a process of its own, since a driver is opened once.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

use std::{
    path::Path,
    process::{Command, Output},
};

use rldp_gpu::{GpuEngine, GpuOptions, cards, open_card};
use rldp_model::{Engine as _, ModelFiles, ModelSource, Sequence};

/// Goldens' smallest model, which is the one that is opened.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../rldp-model/testdata/goldens");

/// What is bad (variables of the fake driver), the card that is asked for, and what the answer has to say.
#[expect(clippy::type_complexity, reason = "a table")]
const CASES: &[(&str, &[(&str, &str)], usize, &[&str])] = &[
    ("no driver", &[], 0, &["no NVIDIA driver was found", "libcuda.so.1", "--device cpu"]),
    (
        "a driver that does not fit its kernel",
        &[("FAKE_INIT", "803")],
        0,
        &["does not start", "unsupported display driver", "nvidia-smi"],
    ),
    ("a driver without a card", &[("FAKE_INIT", "100")], 0, &["there is no card 0", "lists 0", "--device cpu"]),
    ("no card of this number", &[("FAKE_CARDS", "2")], 2, &["there is no card 2", "lists 2", "--device cuda:N"]),
    (
        "a card that is too old",
        &[("FAKE_CAPABILITY", "75")],
        0,
        &["card 0 (Fake card) has compute capability 7.5", "8.0", "--device cpu"],
    ),
    ("a card that somebody else has", &[("FAKE_CONTEXT", "2")], 0, &["does not start", "out of memory", "nvidia-smi"]),
    (
        "a driver that is too old for the kernels",
        &[("FAKE_KERNELS", "222")],
        0,
        &["does not take rldp's kernels", "unsupported toolchain", "525"],
    ),
    (
        "too little memory",
        &[("FAKE_FREE", "20000")],
        0,
        &["has 20000 bytes of memory free", "the model takes", "GGUF", "--device cpu"],
    ),
    ("memory that is refused", &[("FAKE_REFUSES", "1")], 0, &["card 0 (Fake card) ran out of memory", "resume"]),
    (
        "a card that is lost",
        &[("FAKE_LAUNCH", "719")],
        0,
        &["card 0 (Fake card) failed in", "unspecified launch failure", "--device cpu"],
    ),
    ("a library of products that is missing", &[], 0, &["opened without cuBLASLt"]),
];

fn main() {
    if std::env::args().any(|word| word == "child") {
        let number = std::env::var("CARD").unwrap().parse().unwrap();
        println!("{}", opened(number));
        return;
    }
    if !cfg!(feature = "cuda") {
        println!("skipped: this build knows no cards (--features rldp-gpu/cuda)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    if !faked(folder.path()) {
        println!("skipped: there is no C compiler");
        return;
    }
    for (name, bad, number, says) in CASES {
        let Output { status, stdout, stderr } = child(folder.path(), name, bad, *number);
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(status.success() && !said.contains("panicked"), "{name}: {said}");
        says.iter().for_each(|part| assert!(said.contains(part), "{name}: `{part}` is missing in: {said}"));
        println!("test {name} ... ok: {}", said.trim());
    }
    println!("\ntest result: ok. {} passed; 0 failed", CASES.len());
}

/// Compiles the driver's stand-in into a folder.
fn faked(folder: &Path) -> bool {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake/driver.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(folder.join("libcuda.so.1")).arg(source).status();
    compiled.is_ok_and(|status| status.success())
}

fn child(folder: &Path, name: &str, bad: &[(&str, &str)], number: usize) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("child").env("CARD", number.to_string()).envs(bad.iter().copied());
    // Whatever the machine has, it is not what is tested.
    let path = if name == "no driver" { Path::new("/nonexistent") } else { folder };
    command.env("LD_LIBRARY_PATH", path).output().unwrap()
}

/// Opens the card, the engine, and computes; what it says.
fn opened(number: usize) -> String {
    let tried = || -> Result<String, Box<dyn std::error::Error>> {
        let listed = cards()?.len();
        let mut engine = GpuEngine::new(open_card(number)?, &model(), GpuOptions::default())?;
        let sequence = Sequence { tokens: &[1, 2, 3], scored_from: 1, skipped: &[], weight: 1.0 };
        engine.losses(None, &[sequence])?;
        Ok(format!("{listed} cards, opened without cuBLASLt"))
    };
    tried().unwrap_or_else(|error| error.to_string())
}

fn model() -> ModelFiles {
    let mut folders: Vec<_> = std::fs::read_dir(MODEL).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let found = folders.iter().find(|folder| folder.join("config.json").exists()).unwrap();
    ModelSource::open(found).unwrap()
}
