//! A table of bad inputs: what is typed, the exit code and every word of the answer, in `expected.txt`.
//!
//! `RLDP_BLESS=1 cargo test --release --workspace --test it bad_inputs` writes the file anew; read the difference before it is
//! committed. Every command may use one GiB of address space, so that nothing hostile can make it allocate without bound.

mod grids;
mod models;
mod records;
mod runs;
mod settings;

use std::{fmt::Write as _, path::Path};

use crate::support::{SMALL_RUN, Scene};

/// One bad input.
pub(super) struct Case {
    name: &'static str,
    /// Files to write first, in the scene's folder.
    files: Vec<(String, Vec<u8>)>,
    /// A shell line to run first; `$0` is the binary.
    before: &'static str,
    /// The arguments.
    words: String,
}

impl Case {
    fn new(name: &'static str, words: impl Into<String>) -> Self {
        Self { name, files: Vec::new(), before: "", words: words.into() }
    }

    fn file(mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    fn before(mut self, line: &'static str) -> Self {
        self.before = line;
        self
    }
}

/// The small run with one of its words replaced.
fn train(from: &str, to: &str) -> String {
    assert!(SMALL_RUN.contains(from), "{from}");
    format!("{} --out new", SMALL_RUN.replace(from, to))
}

/// The small run with more words.
fn train_with(more: &str) -> String {
    format!("{SMALL_RUN} --out new {more}")
}

#[cfg(target_os = "linux")]
#[test]
fn every_bad_input_gets_its_answer() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --controller fixed --out done")).expect(0);
    let cases: Vec<Case> = [settings::cases(), models::cases(&scene), records::cases(), runs::cases(), grids::cases()]
        .into_iter()
        .flatten()
        .collect();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut found = String::new();
    let faults: Vec<String> = cases.iter().flat_map(|case| answer(&scene, case, &mut found)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/bad_inputs/expected.txt");
    if std::env::var_os("RLDP_BLESS").is_some() {
        fs_err::write(&path, &found).unwrap();
        return;
    }
    let expected = fs_err::read_to_string(&path).unwrap();
    let different = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "first difference, found and expected: {different:#?}");
}

/// Adds the answer to `found`; returns what is wrong with it whatever was expected.
fn answer(scene: &Scene, case: &Case, found: &mut String) -> Vec<String> {
    for (name, content) in &case.files {
        fs_err::create_dir_all(scene.path(name).parent().unwrap()).unwrap();
        scene.write(name, content);
    }
    if !case.before.is_empty() {
        scene.shell(case.before).expect(0);
    }
    let ran = scene.shell(&format!("ulimit -v 1048576; exec \"$0\" {}", case.words));
    let Case { name, words, .. } = case;
    let mut faults = Vec::new();
    if !(ran.code == 1 || ran.code == 2) {
        faults.push(format!("exit code {}", ran.code));
    }
    for trace in ["panicked", "backtrace", "SECRET", "internal error"] {
        if ran.stderr.contains(trace) {
            faults.push(format!("the answer holds `{trace}`"));
        }
    }
    if scene.path("new/ledger.jsonl").exists() {
        faults.push("a ledger was left behind".to_owned());
        fs_err::remove_dir_all(scene.path("new")).unwrap();
    }
    let shown = words.replace(SMALL_RUN, "train …");
    // What passed says numbers whose last digits depend on the processor.
    let answer: String =
        ran.stdout.lines().filter(|line| !line.starts_with("ok ")).map(|line| format!("{line}\n")).collect();
    writeln!(found, "== {name}\n$ rldp {shown}\nexit {}\n{answer}{}", ran.code, ran.stderr).unwrap();
    faults.into_iter().map(|fault| format!("{name}: {fault}\n{}{}", ran.stdout, ran.stderr)).collect()
}
