//! Several processes give the bits of one. Under Open MPI and MPICH, where they are installed.

use std::process::Command;

use crate::support::{Ran, Scene, launchers, processes};

/// Flags of a run whose batches and noise are known, so that it can be repeated.
fn train(name: &str, more: &str) -> String {
    format!(
        "train --model model --train train.csv --eval eval.csv --unit-column patient --epsilon 8 --delta 1e-4 --batch-size 12 \
         --max-length 48 --checkpoint-every 2 --interval 2 --seed 3 --unsafe-noise-seed 7 --quiet --out {name} {more}"
    )
}

const FULL: &str = "--steps 6 --noise-bands 2 --controller sac --eval-every 3";

/// What a run leaves that must not depend on the number of processes. Its own folder's name is taken out.
fn left(scene: &Scene, name: &str) -> Vec<(String, Vec<u8>)> {
    let files = [
        "adapter/adapter_model.safetensors",
        "adapter/adapter_config.json",
        "metrics.jsonl",
        "ledger.jsonl",
        "config.toml",
        "policy/policy.json",
    ];
    let read = |file: &&str| {
        let bytes = fs_err::read(scene.path(name).join(file)).unwrap();
        // The last line of the ledger has digests of the manifest, which tells machines and times.
        let bytes = match *file {
            "ledger.jsonl" => without_close(&bytes),
            // A policy names the run that it comes from by a digest of its time.
            "policy/policy.json" => {
                let mut policy: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                policy["source"]["run"].take();
                policy.to_string().into_bytes()
            }
            _ => bytes,
        };
        let text =
            String::from_utf8(bytes.clone()).map(|text| text.replace(&format!("\"{name}\""), "\"run\"").into_bytes());
        ((*file).to_owned(), text.unwrap_or(bytes))
    };
    files.iter().map(read).collect()
}

/// A ledger without the line that closes it.
fn without_close(ledger: &[u8]) -> Vec<u8> {
    let lines = ledger.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| !line.windows(14).any(|part| part == b"\"kind\":\"close\"")).flatten().copied().collect()
}

fn by_ranks(scene: &Scene, launcher: &str, ranks: usize, words: &str) -> Ran {
    scene.shell(&format!("{launcher} -n {ranks} \"$0\" {words}"))
}

#[test]
fn any_number_of_ranks_gives_the_bits_of_one_process() {
    let launchers = launchers();
    if launchers.is_empty() {
        return;
    }
    for precision in ["f32", "bf16"] {
        let scene = Scene::new();
        let more = format!("{FULL} --precision {precision}");
        let alone = scene.rldp(&train("alone", &more));
        if precision == "bf16" && alone.code != 0 {
            eprintln!("skipped: this processor has no bf16 products");
            continue;
        }
        alone.expect(0);
        let expected = left(&scene, "alone");
        for (at, launcher) in launchers.iter().enumerate() {
            for ranks in [2, 3, 5].into_iter().filter(|ranks| *ranks < 5 || precision == "f32") {
                let (name, deal) = (format!("run{at}{ranks}"), if ranks == 3 { "--deal-records" } else { "" });
                by_ranks(&scene, launcher, ranks, &train(&name, &format!("{more} {deal}"))).expect(0);
                for (expected, found) in expected.iter().zip(left(&scene, &name)) {
                    assert!(*expected == found, "{launcher}, {ranks} ranks, {precision}: {} differs", found.0);
                }
            }
        }
    }
}

#[test]
fn planted_canaries_are_dealt_and_give_the_same_bits() {
    for launcher in launchers() {
        let scene = Scene::new();
        let words = |name: &str| train(name, "--steps 4 --canaries 8");
        scene.rldp(&words("alone")).expect(0);
        by_ranks(&scene, &launcher, 2, &words("two")).expect(0);
        for (expected, found) in left(&scene, "alone").iter().zip(left(&scene, "two")) {
            assert!(*expected == found, "{launcher}: {} differs", found.0);
        }
    }
}

/// Starts a run, sends a signal to its last process when the first steps are made, and waits for the end.
fn signalled(scene: &Scene, launcher: &str, name: &str, signal: &str) -> Ran {
    let words = train(name, "--steps 40 --noise-bands 2 --eval-every 40");
    let line = format!("exec {launcher} -n 3 \"$0\" {words}");
    let mut child = Command::new("sh")
        .args(["-c", &line, env!("CARGO_BIN_EXE_rldp")])
        .current_dir(scene.path("."))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let metrics = scene.path(name).join("metrics.jsonl");
    let begun = || fs_err::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 4);
    while !begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let last = *processes(name).last().expect("the run has processes");
    assert!(Command::new("kill").args([&format!("-{signal}"), &last.to_string()]).status().unwrap().success());
    let ran = child.wait_with_output().unwrap().into();
    // A launcher may be gone before its processes are, and rank 0 still holds the folder then.
    while !processes(name).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ran
}

#[test]
fn a_signal_to_any_rank_saves_and_any_number_of_ranks_goes_on_to_the_same_bits() {
    for launcher in launchers() {
        let scene = Scene::new();
        signalled(&scene, &launcher, "stopped", "TERM").expect(0);
        let steps = scene.json_lines("stopped/ledger.jsonl").len();
        assert!((4..42).contains(&steps), "the signal came after {steps} lines");
        let mut ends = Vec::new();
        for ranks in [1, 3] {
            scene.shell(&format!("cp -r stopped run{ranks} && rm -f run{ranks}/lock")).expect(0);
            by_ranks(&scene, &launcher, ranks, &format!("train --resume run{ranks} --quiet")).expect(0);
            scene.rldp(&format!("privacy verify run{ranks}")).expect(1); // its noise is known, which is all that is wrong
            ends.push(left(&scene, &format!("run{ranks}")));
        }
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{launcher}: ends differ");
    }
}

#[test]
fn a_killed_rank_ends_the_job_and_refunds_nothing() {
    for launcher in launchers() {
        let scene = Scene::new();
        assert_ne!(signalled(&scene, &launcher, "killed", "KILL").code, 0);
        let charged = |scene: &Scene| scene.read("killed/ledger.jsonl").matches("\"kind\":\"charge\"").count();
        let (before, released) =
            (charged(&scene), scene.read("killed/metrics.jsonl").matches("\"kind\":\"step\"").count());
        assert!(released <= before, "{released} releases of {before} charges");
        let resumed = by_ranks(&scene, &launcher, 2, "train --resume killed --quiet").expect(0);
        assert!(resumed.stderr.is_empty() || !resumed.stderr.contains("error"), "{}", resumed.stderr);
        assert_eq!(charged(&scene), 40, "charges stay, and the plan is what it was");
    }
}

#[test]
fn a_rank_that_hangs_is_named_by_the_time_it_took() {
    for launcher in launchers() {
        let scene = Scene::new();
        let launcher = format!("timeout 60 {launcher}");
        let words = train("run", "--steps 40 --eval-every 40 --rank-timeout 2");
        // The last rank stops itself for good once the run has begun.
        let last = format!(
            "sh -c '\"$0\" {words} & child=$!; until [ -s run/metrics.jsonl ]; do sleep 0.02; done; kill -STOP $child; sleep 20; kill -KILL $child' \"$0\""
        );
        let ran = scene.shell(&format!("{launcher} -n 1 \"$0\" {words} : -n 1 {last}"));
        assert_ne!(ran.code, 0);
        assert!(ran.stderr.contains("one of them did not answer"), "{launcher}: {}", ran.stderr);
    }
}

#[test]
fn evaluation_is_divided_and_gives_the_same_number() {
    let scene = Scene::new();
    let words = "evaluate --model model --data eval.csv --json";
    let alone = scene.rldp(words).expect(0).json();
    for launcher in launchers() {
        let ran = by_ranks(&scene, &launcher, 3, words).expect(0);
        assert_eq!(ran.json(), alone, "{launcher}");
    }
}

#[test]
fn scores_of_audits_are_divided_and_give_the_same_numbers() {
    let scene = Scene::new();
    let coins = "--hold-out-members 0.5";
    // Coins follow from the known seed too, so each run has its own.
    for (seed, name, more) in
        [(1, "members", coins), (2, "shadow1", coins), (3, "shadow2", coins), (4, "planted", "--canaries 8")]
    {
        let words = train(name, &format!("--steps 2 {more}"));
        scene.rldp(&words.replace("--unsafe-noise-seed 7", &format!("--unsafe-noise-seed {seed}"))).expect(0);
    }
    for words in [
        "audit members --shadow shadow1 shadow2 --bootstrap 20 --json",
        "audit planted --candidates 12 --bootstrap 20 --json",
        "audit --model model --adapter members/adapter --members train.csv --non-members eval.csv --bootstrap 20 --json",
    ] {
        let alone = scene.rldp(words).expect(0).json();
        for (launcher, ranks) in launchers().iter().zip(2..) {
            let ran = by_ranks(&scene, launcher, ranks, words).expect(0);
            assert_eq!(ran.json(), alone, "{launcher}, {ranks} ranks: {words}");
        }
    }
}

#[test]
fn ranks_that_do_not_agree_are_refused_by_name() {
    let scene = Scene::new();
    // The second rank finds another training file, or another model, at the same path.
    scene.write("other.csv", scene.read("train.csv").replacen("mg", "ml", 3));
    let mut weights = fs_err::read(scene.path("model/model.safetensors")).unwrap();
    // The sign of one of the last weights.
    let at = weights.len() - 1;
    weights[at] ^= 0x80;
    scene.write("other.safetensors", weights);
    let words = train("run", "--steps 2");
    let cases = [
        ("cp other.csv two/train.csv", "the training file, or how it is read, of rank 1 is not that of rank 0"),
        (
            "cp other.safetensors two/model/model.safetensors",
            "the base model (its weights, precision or processor) of rank 1 is not that of rank 0",
        ),
    ];
    for launcher in launchers() {
        for (change, says) in cases {
            let second = format!(
                "sh -c 'rm -rf two && mkdir two && cp -r model train.csv eval.csv two/ && {change} && cd two && exec \"$0\" {words}' \"$0\""
            );
            let ran = scene.shell(&format!("{launcher} -n 1 \"$0\" {words} : -n 1 {second}"));
            assert_ne!(ran.code, 0, "{launcher}: {}", ran.stderr);
            assert!(ran.stderr.contains(says), "{}", ran.stderr);
            assert!(!scene.path("run/ledger.jsonl").exists(), "nothing was begun");
        }
    }
}

#[test]
fn what_one_rank_cannot_read_ends_all_with_one_message() {
    let scene = Scene::new();
    let words = train("run", "--steps 2").replace("train.csv", "absent.csv");
    let alone = scene.rldp(&words).expect(1);
    for launcher in launchers() {
        let ran = by_ranks(&scene, &launcher, 2, &words);
        assert_ne!(ran.code, 0);
        assert_eq!(ran.stderr.matches(alone.stderr.trim()).count(), 1, "{launcher}: {}", ran.stderr);
    }
}

#[test]
fn several_processes_of_a_command_for_one_are_refused() {
    let scene = Scene::new();
    for launcher in launchers() {
        let ran =
            by_ranks(&scene, &launcher, 2, "privacy calibrate --epsilon 1 --delta 1e-5 --sampling-rate 0.1 --steps 5");
        assert_ne!(ran.code, 0);
        assert!(ran.stderr.contains("this command works in one process"), "{}", ran.stderr);
    }
}

#[test]
fn a_launcher_without_its_library_is_refused_and_one_process_needs_none() {
    let scene = Scene::new();
    let mut command = scene.command(&train("run", "--steps 2"));
    let ran = Ran::of(command.env("OMPI_COMM_WORLD_SIZE", "2").env("RLDP_MPI", "libmpi-that-is-not-there.so"));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("no MPI library was found (tried libmpi-that-is-not-there.so)"), "{}", ran.stderr);
    let mut command = scene.command("evaluate --model model --data eval.csv --json");
    Ran::of(command.env("RLDP_MPI", "libmpi-that-is-not-there.so")).expect(0);
}
