//! Every file of a run folder, tampered with in every way that came to mind, and what `rldp privacy verify` says of it: unsigned, and with
//! the signer's public key. The table is `docs/results/tamper.md`; `RLDP_BLESS=1` writes it anew.

use std::path::{Path, PathBuf};

use rldp_privacy::digest;
use serde_json::Value;

use crate::support::{SMALL_RUN, Scene};

const KEY: &str = include_str!("../../../rldp-privacy/testdata/sign/key");
const PUBLIC: &str = include_str!("../../../rldp-privacy/testdata/sign/key.pub");

/// What happened to a file, and how. The folder is a copy of the signed run; beside it lie `other`, a private run, and `bare`, one without
/// noise.
struct Row {
    file: &'static str,
    what: &'static str,
    how: How,
    /// Whether the claim still holds, unsigned and signed.
    holds: [bool; 2],
}

enum How {
    Flip,
    Delete,
    /// Takes the file of another run.
    Take(&'static str),
    /// Replaces text once.
    Edit(&'static str, &'static str),
    Write(&'static str),
    /// Keeps the first lines.
    Keep(usize),
    /// Changes the ledger and computes all hashes anew.
    Rehash(fn(&mut Vec<Value>)),
    /// The same, with new digests of every file, after text was replaced in `config.toml`.
    Forge(&'static str, &'static str, fn(&mut Vec<Value>)),
    /// All files of another run, but the signature.
    All(&'static str),
}

const CAUGHT: [bool; 2] = [false, false];
const SIGNED_ONLY: [bool; 2] = [true, false];
const NEVER: [bool; 2] = [true, true];

const WEIGHTS: &str = "adapter/adapter_model.safetensors";
const ADAPTER: &str = "adapter/adapter_config.json";
const POLICY: &str = "policy/policy.json";

fn rows() -> Vec<Row> {
    use How::{All, Delete, Edit, Flip, Forge, Keep, Rehash, Take, Write};
    let row = |file, what, how, holds| Row { file, what, how, holds };
    let mut rows = Vec::new();
    for (file, holds) in [
        (WEIGHTS, CAUGHT),
        (ADAPTER, CAUGHT),
        (POLICY, CAUGHT),
        ("metrics.jsonl", CAUGHT),
        ("config.toml", CAUGHT),
        ("manifest.json", CAUGHT),
        ("report.html", CAUGHT),
        ("ledger.jsonl", CAUGHT),
        ("checkpoint.bin", CAUGHT),
    ] {
        rows.push(row(file, "a byte flipped", Flip, holds));
    }
    for file in [WEIGHTS, ADAPTER, POLICY, "metrics.jsonl", "config.toml", "manifest.json"] {
        rows.push(row(file, "deleted", Delete, CAUGHT));
    }
    rows.push(row("report.html", "deleted: nothing false is said, and a signature misses it", Delete, SIGNED_ONLY));
    rows.push(row("checkpoint.bin", "deleted, as in a folder that was handed out", Delete, NEVER));
    for file in [WEIGHTS, POLICY, "metrics.jsonl", "config.toml", "manifest.json", "report.html", "ledger.jsonl"] {
        rows.push(row(file, "that of another private run", Take("other"), CAUGHT));
        rows.push(row(file, "that of a run without noise", Take("bare"), CAUGHT));
    }
    rows.extend([
        row("adapter/adapter_model.bin", "added: a pickle that PEFT would load", Write("weights"), CAUGHT),
        row("metrics.jsonl", "the last line cut off", Keep(8), CAUGHT),
        row("manifest.json", "ten times the units", Edit("\"units\": 60", "\"units\": 600"), CAUGHT),
        row("config.toml", "a smaller epsilon", Edit("epsilon = 8.0", "epsilon = 2.0"), CAUGHT),
        row("config.toml", "another base model", Edit("model = \"model\"", "model = \"elsewhere\""), CAUGHT),
        row("report.html", "a smaller epsilon", Edit("ε = 8", "ε = 2"), CAUGHT),
        row("../model/model.safetensors", "a byte of the base model flipped", Flip, CAUGHT),
        row("ledger.jsonl", "a charge renumbered", Edit("\"step\":2", "\"step\":3"), CAUGHT),
        row("ledger.jsonl", "the closing line cut off", Keep(7), CAUGHT),
        row("ledger.jsonl", "cut to the claim and two charges", Keep(3), CAUGHT),
        row("ledger.jsonl", "a smaller epsilon, hashed anew", Rehash(smaller_epsilon), CAUGHT),
        row("ledger.jsonl", "a charge less, hashed anew", Rehash(one_charge_less), CAUGHT),
        row("ledger.jsonl", "no files bound, hashed anew", Rehash(unbound), CAUGHT),
        row("ledger.jsonl", "the closing line cut off and all hashed anew", Rehash(unclosed), CAUGHT),
        row(
            "everything",
            "a smaller epsilon in ledger and settings, hashed anew",
            Forge("epsilon = 8.0", "epsilon = 2.0", smaller_epsilon),
            CAUGHT,
        ),
        row(
            "everything",
            "a smaller epsilon, and more noise than there was, in ledger and settings, hashed anew",
            Forge("epsilon = 8.0", "epsilon = 2.0", more_noise),
            SIGNED_ONLY,
        ),
        row(
            "everything",
            "another adapter, and a ledger that binds it, hashed anew",
            Forge("seed = 0", "seed = 1", same),
            SIGNED_ONLY,
        ),
        row("everything", "another private run in its place, with the old signature", All("other"), SIGNED_ONLY),
        row("everything", "a run without noise in its place, with the old signature", All("bare"), CAUGHT),
        row("seal.json", "another time", Edit("\"signed\": \"2", "\"signed\": \"3"), SIGNED_ONLY),
        row("seal.json.sig", "deleted", Delete, SIGNED_ONLY),
        row("seal.json.sig", "a byte flipped", Flip, SIGNED_ONLY),
    ]);
    rows
}

#[expect(clippy::ptr_arg, reason = "all tampering has one type")]
fn smaller_epsilon(lines: &mut Vec<Value>) {
    lines[0]["claim"]["target_epsilon"] = 2.0.into();
}

fn more_noise(lines: &mut Vec<Value>) {
    smaller_epsilon(lines);
    lines[0]["claim"]["regime"]["committed"]["segments"][0]["noise_multiplier"] = 50.0.into();
    for line in lines.iter_mut().filter(|line| line["kind"] == "charge") {
        line["noise_multiplier"] = 50.0.into();
    }
}

fn one_charge_less(lines: &mut Vec<Value>) {
    lines.remove(3);
}

#[expect(clippy::ptr_arg, reason = "all tampering has one type")]
fn unbound(lines: &mut Vec<Value>) {
    let close = lines.last_mut().unwrap();
    close.as_object_mut().unwrap().remove("digests");
}

fn unclosed(lines: &mut Vec<Value>) {
    lines.pop();
}

fn same(_lines: &mut Vec<Value>) {}

/// What a script of 25 lines does: numbers and hashes of all lines anew.
fn hashed(mut lines: Vec<Value>) -> String {
    let mut previous = "rldp-ledger".to_owned();
    let mut text = String::new();
    for (index, line) in lines.iter_mut().enumerate() {
        line.as_object_mut().unwrap().remove("hash");
        line["index"] = index.into();
        line["previous"] = previous.into();
        previous = digest(line.to_string().as_bytes());
        line["hash"] = previous.clone().into();
        text.extend([line.to_string(), "\n".to_owned()]);
    }
    text
}

fn ledger(run: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(run.join("ledger.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl How {
    fn apply(&self, scene: &Scene, run: &Path, file: &str) {
        let path = run.join(file);
        match self {
            Self::Flip => {
                let mut bytes = fs_err::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs_err::write(&path, bytes).unwrap();
            }
            Self::Delete => fs_err::remove_file(&path).unwrap(),
            Self::Take(from) => drop(fs_err::copy(scene.path(from).join(file), &path).unwrap()),
            Self::Edit(from, to) => {
                let text = fs_err::read_to_string(&path).unwrap();
                assert!(text.contains(from), "{file} has no `{from}`: {text}");
                fs_err::write(&path, text.replacen(from, to, 1)).unwrap();
            }
            Self::Write(text) => fs_err::write(&path, text).unwrap(),
            Self::Keep(lines) => {
                let text = fs_err::read_to_string(&path).unwrap();
                assert!(text.lines().count() > *lines);
                fs_err::write(&path, text.split_inclusive('\n').take(*lines).collect::<String>()).unwrap();
            }
            Self::Rehash(change) => {
                let mut lines = ledger(run);
                change(&mut lines);
                fs_err::write(&path, hashed(lines)).unwrap();
            }
            Self::Forge(from, to, change) => forge(scene, run, (from, to), *change),
            Self::All(from) => {
                for entry in
                    ["ledger.jsonl", "metrics.jsonl", "config.toml", "manifest.json", "report.html", "checkpoint.bin"]
                {
                    fs_err::copy(scene.path(from).join(entry), run.join(entry)).unwrap();
                }
                for entry in [WEIGHTS, ADAPTER, POLICY] {
                    fs_err::copy(scene.path(from).join(entry), run.join(entry)).unwrap();
                }
            }
        }
    }
}

/// Somebody who may write the folder and has time: another adapter, other settings, and a ledger that fits.
fn forge(scene: &Scene, run: &Path, (from, to): (&str, &str), change: fn(&mut Vec<Value>)) {
    fs_err::copy(scene.path("other").join(WEIGHTS), run.join(WEIGHTS)).unwrap();
    let config = fs_err::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains(from), "{config}");
    fs_err::write(run.join("config.toml"), config.replacen(from, to, 1)).unwrap();
    for left_out in ["checkpoint.bin", "report.html"] {
        fs_err::remove_file(run.join(left_out)).unwrap();
    }
    let mut lines = ledger(run);
    change(&mut lines);
    let digests = lines.last_mut().unwrap()["digests"].as_object_mut().unwrap();
    for (name, value) in digests.iter_mut().filter(|(name, _)| !name.starts_with("base/")) {
        *value = digest(&fs_err::read(run.join(name)).unwrap()).into();
    }
    fs_err::write(run.join("ledger.jsonl"), hashed(lines)).unwrap();
}

/// What `verify` says first against it, without what differs from run to run.
fn verdict(scene: &Scene, run: &str, key: &str) -> (bool, String) {
    let ran = scene.rldp(&format!("privacy verify {run} {key} --json"));
    if ran.stdout.is_empty() {
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        return (false, ran.stderr.trim().to_owned());
    }
    let found = ran.json();
    let holds = found["holds"] == true;
    assert_eq!(ran.code, i32::from(!holds), "{found}");
    let fault = found["checks"].as_array().unwrap().iter().find(|check| check["passed"] == false);
    let words = fault.map_or("holds".to_owned(), |check| {
        format!("{}: {}", check["name"].as_str().unwrap(), check["detail"].as_str().unwrap())
    });
    (holds, words)
}

fn copy(scene: &Scene, signed: bool) -> PathBuf {
    scene.shell("rm -rf copy; cp -r run copy").expect(0);
    if !signed {
        scene.shell("rm -f copy/seal.json copy/seal.json.sig").expect(0);
    }
    scene.path("copy")
}

#[test]
fn what_is_tampered_with_is_named() {
    let scene = Scene::new();
    // A flipped byte falls on the same letter everywhere: precision is the machine's own where none is given.
    let run = SMALL_RUN.replace("--interval 2", "--interval 3 --precision f32");
    let bare = run.replace("--epsilon 8 --delta 1e-4", "--unsafe-non-private");
    for (words, out) in [(&run, "run"), (&run, "other"), (&bare, "bare")] {
        scene.rldp(&format!("{words} --out {out}")).expect(0);
    }
    scene.write("key", KEY);
    scene.write("key.pub", PUBLIC);
    scene.rldp("privacy sign run --key key").expect(0);
    let weights = fs_err::read(scene.path("model/model.safetensors")).unwrap();
    for signed in [false, true] {
        copy(&scene, signed);
        let key = if signed { "--public-key key.pub" } else { "" };
        assert_eq!(verdict(&scene, "copy", key), (true, "holds".into()), "an honest copy, signed {signed}");
    }
    let mut table = String::from(PAGE);
    for Row { file, what, how, holds } in rows() {
        let mut cells = Vec::new();
        for (signed, expected) in [false, true].into_iter().zip(holds) {
            let folder = copy(&scene, signed || file.starts_with("seal"));
            how.apply(&scene, &folder, file);
            // Who has no key to compare with does not ask for a signature either; a damaged one is then said all the same.
            let unsigned = !signed && file.starts_with("seal");
            if unsigned {
                scene.shell("rm -f copy/seal.json copy/seal.json.sig").expect(0);
            }
            let (found, words) = verdict(&scene, "copy", if signed { "--public-key key.pub" } else { "" });
            fs_err::write(scene.path("model/model.safetensors"), &weights).unwrap();
            assert_eq!(found, expected, "{file}, {what}, signed {signed}: {words}");
            cells.push(plain(&words));
        }
        let name = file.trim_start_matches("../");
        let signed = if cells[0] == cells[1] { "the same" } else { &cells[1] };
        table.extend([format!("| `{name}` | {what} | {} | {signed} |\n", cells[0])]);
    }
    blessed(&table);
}

/// Without times, numbers that noise decides, and what a table cannot hold.
fn plain(words: &str) -> String {
    let plain = |word: &str| {
        let time = word.len() > 19 && word.contains('T') && word.contains('Z') && word.starts_with(['2', '3']);
        if time {
            return "TIME".to_owned();
        }
        // Processors differ in the last digits.
        let number = word.trim_end_matches(',').parse::<f64>().ok().filter(|_| word.len() > 9);
        number.map_or(word.to_owned(), |number| format!("{number:.2}{}", if word.ends_with(',') { "," } else { "" }))
    };
    words.split(' ').map(plain).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

const PAGE: &str = "# What `rldp privacy verify` says of a folder that was tampered with\n\n\
    A run of the demo's model was signed by `rldp privacy sign`. Each row is a copy of its folder with one thing changed; two more runs, one \
    private and one without noise (`--unsafe-non-private`), lent files. The columns are what `rldp privacy verify RUN` says of the copy \
    without its signature, and `rldp privacy verify RUN --public-key KEY.pub` of the copy with it: the first check that fails, or \"holds\". \
    The page is written and compared by a test (`tamper::what_is_tampered_with_is_named`, `RLDP_BLESS=1` writes it).\n\n\
    What the left column shows and the right one does not: whoever may write the whole folder can write a whole one. What neither shows: a \
    folder that was put back, signature and all, to an older run that the same key signed. Its time, and the ledger's last hash on the \
    report that was printed, tell.\n\n\
    | file | what was done | unsigned | signed |\n| --- | --- | --- | --- |\n";

fn blessed(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results/tamper.md");
    if std::env::var_os("RLDP_BLESS").is_some() {
        fs_err::write(path, table).unwrap();
        return;
    }
    let known = fs_err::read_to_string(path).unwrap_or_default();
    assert!(known == table, "docs/results/tamper.md is not what was found; RLDP_BLESS=1 writes it:\n{table}");
}
