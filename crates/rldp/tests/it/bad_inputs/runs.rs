//! Run folders: resumed with other settings, changed by somebody, or not runs at all.

use super::{Case, train_with};

const RESUME: &str = "train --quiet --resume copy";

/// A fresh copy of the finished run, changed by a shell line.
fn changed(name: &'static str, words: impl Into<String>, before: &'static str) -> Case {
    Case::new(name, words).before(before)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("resume without a folder", "train --resume"),
        Case::new("resume of nothing", "train --resume nowhere"),
        Case::new("a second run in a folder", crate::support::SMALL_RUN.to_owned() + " --out done"),
        Case::new("a file for a run folder", crate::support::SMALL_RUN.to_owned() + " --out train.csv"),
        Case::new("policy that is not there", train_with("--policy nowhere")),
        Case::new("policy that is no policy", train_with("--policy policy.json")).file("policy.json", "{"),
        Case::new("policy of another controller", train_with("--controller sac --policy done/policy")),
        Case::new("policy of hostile sizes", train_with("--controller sac --policy hostile.json"))
            .file("hostile.json", hostile_policy()),
        Case::new("verify nothing", "privacy verify nowhere"),
        Case::new("audit of nothing", "audit nowhere"),
        Case::new("a block of one token", "evaluate --model model --data eval.csv --max-length 1"),
        Case::new("report of nothing", "report nowhere"),
        Case::new("report of what is no run", "report model"),
        Case::new(
            "output into a folder that is not there",
            "inspect logits --model model --data eval.csv --out nowhere/x.safetensors",
        ),
        Case::new(
            "output on a full disk",
            "inspect logits --model model --data eval.csv --out /dev/full/x.safetensors",
        ),
    ];
    for (name, more) in [
        ("resume with another epsilon", "--epsilon 20"),
        ("resume with another delta", "--delta 1e-3"),
        ("resume with more steps", "--steps 12"),
        ("resume with another batch", "--batch-size 6"),
        ("resume with other records", "--train eval.csv"),
        ("resume with another unit", "--unit-column text"),
        ("resume with known noise", "--unsafe-noise-seed 1"),
        ("resume with another rank", "--rank 2"),
        ("resume with an adapter", "--adapter done/adapter"),
        ("resume with another controller", "--controller sac"),
    ] {
        cases.push(changed(name, format!("{RESUME} {more}"), "rm -rf copy; cp -r done copy"));
    }
    cases.extend(damaged());
    cases
}

/// What a resume and a verification say of folders that somebody changed.
fn damaged() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, before) in [
        (
            "resume with a changed ledger",
            "rm -rf copy; cp -r done copy; sed -i 's/\"step\":3/\"step\":2/' copy/ledger.jsonl",
        ),
        (
            "resume with a shortened ledger",
            "rm -rf copy; cp -r done copy; head -n 3 done/ledger.jsonl > copy/ledger.jsonl",
        ),
        ("resume with an empty ledger", "rm -rf copy; cp -r done copy; : > copy/ledger.jsonl"),
        ("resume without a ledger", "rm -rf copy; cp -r done copy; rm copy/ledger.jsonl"),
        ("resume with a ledger of bytes", "rm -rf copy; cp -r done copy; printf '\\377\\n' > copy/ledger.jsonl"),
        (
            "resume with a changed checkpoint",
            "rm -rf copy; cp -r done copy; sed -i '$d' copy/ledger.jsonl; printf X | dd of=copy/checkpoint.bin bs=1 seek=5000 conv=notrunc 2> /dev/null",
        ),
        (
            "resume with a cut checkpoint",
            "rm -rf copy; cp -r done copy; sed -i '$d' copy/ledger.jsonl; truncate -s 4000 copy/checkpoint.bin",
        ),
        (
            "resume with an empty checkpoint",
            "rm -rf copy; cp -r done copy; sed -i '$d' copy/ledger.jsonl; : > copy/checkpoint.bin",
        ),
        ("resume with broken settings", "rm -rf copy; cp -r done copy; echo '[x' > copy/config.toml"),
        (
            "resume with the records gone",
            "rm -rf copy; cp -r done copy; sed -i '$d' copy/ledger.jsonl; sed -i 's/\"train.csv\"/\"gone.csv\"/' copy/config.toml",
        ),
    ] {
        cases.push(changed(name, RESUME, before));
    }
    for (name, before) in [
        ("verify a shortened ledger", "rm -rf copy; cp -r done copy; head -n 3 done/ledger.jsonl > copy/ledger.jsonl"),
        ("verify a ledger without a claim", "rm -rf copy; cp -r done copy; : > copy/ledger.jsonl"),
        (
            "verify a changed ledger",
            "rm -rf copy; cp -r done copy; sed -i 's/\"steps\":6/\"steps\":7/' copy/ledger.jsonl",
        ),
        (
            "verify a changed checkpoint",
            "rm -rf copy; cp -r done copy; printf X | dd of=copy/checkpoint.bin bs=1 seek=5000 conv=notrunc 2> /dev/null",
        ),
        (
            "verify settings of another promise",
            "rm -rf copy; cp -r done copy; sed -i 's/^epsilon = 8.0/epsilon = 2.0/' copy/config.toml",
        ),
    ] {
        cases.push(changed(name, "privacy verify copy", before));
    }
    cases
}

/// A SAC policy whose networks claim more than they hold.
fn hostile_policy() -> String {
    r#"{"kind": "sac", "version": 1, "body": {"agent": {"actor": {"sizes": [4611686018427387904, 8], "parameters": [0.5]}}}}"#.into()
}
