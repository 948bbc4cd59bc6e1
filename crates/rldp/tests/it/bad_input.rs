//! Bad input ends in a clear message and exit code, and leaves nothing half-written.

use serde_json::{Value, json};

use crate::support::{SMALL_RUN, Scene};

/// Runs a small training with `extra` flags and expects exit `code`, a message with every one of `says`, and no run folder
/// with a ledger.
fn refused(scene: &Scene, extra: &str, code: i32, says: &[&str]) {
    let ran = scene.rldp(&format!("{SMALL_RUN} --out run {extra}")).expect(code);
    for word in says {
        assert!(ran.stderr.contains(word), "`{extra}` should say `{word}`, but says:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(!scene.path("run/ledger.jsonl").exists(), "`{extra}` left a ledger behind");
}

/// The same without the flags that `extra` replaces.
fn refused_instead(scene: &Scene, replace: (&str, &str), code: i32, says: &[&str]) {
    assert!(SMALL_RUN.contains(replace.0), "{}", replace.0);
    let words = format!("{} --out run", SMALL_RUN.replace(replace.0, replace.1));
    let ran = scene.rldp(&words).expect(code);
    for word in says {
        assert!(ran.stderr.contains(word), "`{words}` should say `{word}`, but says:\n{}", ran.stderr);
    }
    assert!(!scene.path("run/ledger.jsonl").exists());
}

#[test]
fn numbers_out_of_range_are_wrong_usage() {
    let scene = Scene::new();
    refused_instead(&scene, ("--epsilon 8", "--epsilon 0"), 2, &["epsilon", "0", "positive"]);
    refused_instead(&scene, ("--epsilon 8", "--epsilon=-1"), 2, &["epsilon", "-1"]);
    refused_instead(&scene, ("--epsilon 8", "--epsilon nan"), 2, &["epsilon", "NaN"]);
    refused_instead(&scene, ("--delta 1e-4", "--delta 0"), 2, &["delta", "between 0 and 1"]);
    refused_instead(&scene, ("--delta 1e-4", "--delta 1"), 2, &["delta", "1"]);
    refused_instead(&scene, ("--delta 1e-4", ""), 2, &["--delta"]);
    refused_instead(&scene, ("--steps 6", "--steps 0"), 2, &["steps"]);
    refused_instead(&scene, ("--max-length 48", "--max-length 1"), 2, &["max-length", "at least 2"]);
    refused(&scene, "--rank 0", 2, &["rank", "0"]);
    refused(&scene, "--controller sacc", 2, &["sacc", "fixed"]);
    refused(&scene, "--regime never", 2, &["never", "committed"]);
    refused(&scene, "--target-modules q_proj", 1, &["q_proj", "c_attn"]);
}

#[test]
fn a_batch_larger_than_the_data_is_refused() {
    refused_instead(&Scene::new(), ("--batch-size 12", "--batch-size 61"), 1, &["61", "60 units", "--batch-size"]);
}

#[test]
fn a_delta_of_one_over_n_or_more_is_warned_about() {
    let scene = Scene::new();
    let words = format!("{} --out run", SMALL_RUN.replace("--delta 1e-4", "--delta 0.02"));
    let ran = scene.rldp(&words).expect(0);
    assert!(ran.stderr.contains("delta") && ran.stderr.contains("1/N"), "{}", ran.stderr);
}

#[test]
fn records_that_cannot_be_read_are_named_by_row_and_never_shown() {
    let scene = Scene::new();
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("empty.csv", b"", &["empty.csv", "empty"]),
        ("header.csv", b"patient,text\n", &["header.csv"]),
        ("column.csv", b"patient,body\n1,SECRET note\n", &["text", "body"]),
        (
            "broken.jsonl",
            b"{\"text\": \"SECRET a\", \"patient\": \"1\"}\n{\"text\": \"SECRET b\n",
            &["broken.jsonl", "2"],
        ),
        ("bytes.csv", b"patient,text\n1,good SECRET\n2,\xff\xfe SECRET\n", &["bytes.csv", "UTF-8"]),
        ("type.jsonl", b"{\"text\": 7, \"patient\": \"1\"}\n", &["type.jsonl", "text"]),
        ("blank.csv", b"patient,text\n1,SECRET note one\n2,\n", &["blank.csv", "2"]),
        ("records.txt", b"SECRET", &["records.txt", ".csv"]),
    ];
    for (name, content, says) in cases {
        scene.write(name, content);
        let words = format!("{} --out run", SMALL_RUN.replace("--train train.csv", &format!("--train {name}")));
        let ran = scene.rldp(&words).expect(1);
        for word in *says {
            assert!(ran.stderr.contains(word), "{name} should say `{word}`, but says:\n{}", ran.stderr);
        }
        assert!(!ran.stderr.contains("SECRET"), "{name}: a record was shown:\n{}", ran.stderr);
        assert!(!scene.path("run/ledger.jsonl").exists());
    }
    refused_instead(&scene, ("--train train.csv", "--train nowhere.csv"), 1, &["nowhere.csv"]);
    refused_instead(&scene, ("--unit-column patient", "--unit-column person"), 1, &["person", "patient"]);
}

#[test]
fn models_that_do_not_fit_are_refused_by_name() {
    let scene = Scene::new();
    let weights = fs_err::read(scene.path("model/model.safetensors")).unwrap();
    let config: Value = serde_json::from_str(&scene.read("model/config.json")).unwrap();
    let with = |key: &str, value: Value| {
        let mut changed = config.clone();
        changed[key] = value;
        changed.to_string()
    };
    scene.write("model/config.json", with("model_type", json!("mamba")));
    refused(&scene, "", 1, &["mamba", "gpt2", "llama", "mistral"]);
    scene.write("model/config.json", with("n_embd", json!(64)));
    refused(&scene, "", 1, &["128", "64"]);
    scene.write("model/config.json", "{");
    refused(&scene, "", 1, &["config.json"]);
    scene.write("model/config.json", config.to_string());
    scene.write("model/model.safetensors", &weights[..weights.len() / 2]);
    refused(&scene, "", 1, &["model.safetensors"]);
    fs_err::remove_file(scene.path("model/model.safetensors")).unwrap();
    scene.write("model/pytorch_model.bin", "pickle");
    refused(&scene, "", 1, &["pytorch_model.bin", "safetensors"]);
    refused_instead(&scene, ("--model model", "--model nowhere"), 1, &["nowhere"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_and_nothing_half_written_is_taken_for_whole() {
    let scene = Scene::new();
    let ran = scene.rldp("inspect logits --model model --data eval.csv --out /dev/full/x.safetensors").expect(1);
    assert!(ran.stderr.contains("/dev/full"), "{}", ran.stderr);
}

/// Files that may not grow stand in for a full disk: the same call fails, with another reason.
#[cfg(target_os = "linux")]
#[test]
fn a_run_on_a_full_disk_stops_cleanly_and_goes_on_when_there_is_room() {
    let scene = Scene::new();
    let limited = format!("trap '' XFSZ; ulimit -f 64; exec \"$0\" {SMALL_RUN} --out run");
    let ran = scene.shell(&limited).expect(1);
    assert!(ran.stderr.contains("checkpoint") && ran.stderr.contains("large"), "{}", ran.stderr);
    let left: Vec<String> = fs_err::read_dir(scene.path("run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!left.iter().any(|name| name.contains("partial")), "half-written files were left: {left:?}");
    let charged = |ledger: &str| ledger.lines().filter(|line| line.contains("\"kind\":\"charge\"")).count();
    let before = charged(&scene.read("run/ledger.jsonl"));
    assert!(before > 0);
    scene.rldp("train --resume run --quiet").expect(0);
    assert_eq!(charged(&scene.read("run/ledger.jsonl")), 6, "{before} charges before the failure must count");
    assert_eq!(scene.rldp("privacy verify run --json").expect(0).json()["holds"], true);
}
