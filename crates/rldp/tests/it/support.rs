//! Runs the binary on the embedded model and generated notes.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use rldp_data::demo;
use serde_json::Value;
use tempfile::TempDir;

/// A folder with the demo model and a few notes.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
}

/// What a command left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        fs_err::create_dir(&model).unwrap();
        fs_err::write(model.join("config.json"), demo::MODEL_CONFIG).unwrap();
        fs_err::write(model.join("tokenizer.json"), demo::TOKENIZER).unwrap();
        fs_err::write(model.join("model.safetensors"), demo::WEIGHTS).unwrap();
        demo::write_notes(&folder.path().join("train.csv"), 7, 60).unwrap();
        demo::write_notes(&folder.path().join("eval.csv"), 8, 6).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs_err::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    /// Runs `rldp` with words separated by white space, in the scene's folder.
    /// A run as it was before it closed.
    pub(crate) fn open_again(&self, run: &str) {
        self.shell(&format!("sed -i '$d' {run}/ledger.jsonl")).expect(0);
    }

    pub(crate) fn rldp(&self, words: &str) -> Ran {
        self.rldp_args(&words.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn rldp_args(&self, arguments: &[&str]) -> Ran {
        Ran::of(Command::new(env!("CARGO_BIN_EXE_rldp")).args(arguments).current_dir(self.folder.path()))
    }

    /// Runs a shell line in the scene's folder; `$0` is the binary.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        Ran::of(Command::new("sh").args(["-c", line, env!("CARGO_BIN_EXE_rldp")]).current_dir(self.folder.path()))
    }

    /// The same, not yet started.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rldp"));
        command.args(words.split_whitespace()).current_dir(self.folder.path());
        command
    }

    /// Lines of a JSON-lines file.
    pub(crate) fn json_lines(&self, name: &str) -> Vec<Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl From<Output> for Ran {
    fn from(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
    }
}

impl Ran {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    /// The JSON object on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}\n{}", self.stdout, self.stderr))
    }

    /// Fails the test with everything the command said, unless it exited with `code`.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Flags of a small private run of the demo model.
pub(crate) const SMALL_RUN: &str = "train --model model --train train.csv --eval eval.csv --unit-column patient \
    --epsilon 8 --delta 1e-4 --steps 6 --batch-size 12 --interval 2 --max-length 48 --eval-every 3 \
    --checkpoint-every 2 --quiet";

/// The optional folder of real data and models, beside the workspace.
pub(crate) fn shared() -> Option<PathBuf> {
    let root = std::env::var_os("RLDP_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    root.join("models").exists().then_some(root)
}

pub(crate) fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed().as_secs() < 120, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Launchers that are installed, with what they need to start any number of processes as any user on any machine.
pub(crate) fn launchers() -> Vec<String> {
    let known = [
        ("mpirun.openmpi", "--allow-run-as-root --oversubscribe --bind-to none --mca btl_base_warn_component_unused 0"),
        ("mpirun.mpich", ""),
    ];
    let found =
        known.iter().filter(|(name, _)| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()));
    let found: Vec<String> = found.map(|(name, flags)| format!("{name} {flags}")).collect();
    if found.is_empty() {
        eprintln!("skipped: neither mpirun.openmpi nor mpirun.mpich is installed");
    }
    found
}

/// Processes of the program that work on the run `name`, which no other test may have.
pub(crate) fn processes(name: &str) -> Vec<u32> {
    let ours = |entry: std::fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let words = fs_err::read(entry.path().join("cmdline")).ok()?;
        let exe = fs_err::read_link(entry.path().join("exe")).ok()?;
        let names = words.split(|byte| *byte == 0).any(|word| word == name.as_bytes());
        (names && exe.as_path() == std::path::Path::new(env!("CARGO_BIN_EXE_rldp"))).then_some(pid)
    };
    let mut found: Vec<u32> = std::fs::read_dir("/proc").unwrap().filter_map(|entry| ours(entry.unwrap())).collect();
    found.sort_unstable();
    found
}
