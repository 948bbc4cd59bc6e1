//! `rldp train --hold-out-members --canaries`, and the audit that needs nothing but the run.

use serde_json::Value;

use crate::support::Scene;

const TRAIN: &str = "train --model model --train few.csv --unsafe-non-private --hold-out-members --canaries 24 \
    --canary-kinds digits --canary-repetitions 16 --max-length 32 --batch-size 64 --learning-rate 0.005 --beta1 0.9 --quiet";

fn scene() -> Scene {
    let scene = Scene::new();
    let few: String = scene.read("train.csv").lines().take(41).flat_map(|line| [line, "\n"]).collect();
    scene.write("few.csv", few);
    scene
}

fn auc(scores: &Value, score: &str) -> f64 {
    scores.as_array().unwrap().iter().find(|entry| entry["score"] == score).unwrap()["auc"].as_f64().unwrap()
}

/// Of 24 canaries a score that tells nothing has an AUC of deviation 0.12: 0.9 is exceeded with probability below 1e-3.
#[test]
fn a_run_without_noise_gives_its_canaries_away_and_shadows_are_used() {
    let scene = scene();
    scene.rldp(&format!("{TRAIN} --steps 60 --out run")).expect(0);
    for shadow in ["one", "two", "three"] {
        scene.rldp(&format!("{TRAIN} --steps 2 --out {shadow}")).expect(0);
    }
    let words = "--candidates 63 --bootstrap 50 --plot audit.html --json";
    let found = scene.rldp(&format!("audit run --shadow one two three {words}")).expect(0).json();
    let group = &found["canaries"]["groups"][0];
    assert!(group["units"] == 16 && auc(&group["scores"], "loss") > 0.9, "{found}");
    assert!(group["one_run"]["epsilon"].as_f64().unwrap() > 0.2, "{found}");
    let membership = &found["membership"];
    let count = |key: &str| membership[key].as_u64().unwrap();
    assert_eq!((count("members") + count("non_members"), count("shadows")), (40, 3));
    for attack in ["loss", "lira_online", "lira_offline", "rmia_online", "rmia_offline"] {
        assert!((0.0..=1.0).contains(&auc(&membership["scores"], attack)), "{membership}");
    }
    assert_eq!(found["claim"]["without_guarantee"], "nothing was clipped and no noise was added");
    let page = scene.read("audit.html");
    assert!(page.contains("Not for release") && page.contains("rmia_online"));
    hidden_files_are_named_and_private(&scene);
    let wrong = scene.rldp("audit run --shadow nowhere").expect(1);
    assert!(wrong.stderr.contains("nowhere"), "{}", wrong.stderr);
}

fn hidden_files_are_named_and_private(scene: &Scene) {
    let manifest = scene.read("run/manifest.json");
    assert!(manifest.contains("never_release") && manifest.contains("24 canaries (digits)"), "{manifest}");
    assert!(scene.read("run/report.html").contains("held out with probability 0.5"));
    assert!(scene.read("run/private/README.txt").contains("Never release"));
    #[cfg(unix)]
    for (name, mode) in [("private", 0o700), ("private/membership.csv", 0o600), ("private/canaries.csv", 0o600)] {
        use std::os::unix::fs::PermissionsExt as _;
        let found = fs_err::metadata(scene.path("run").join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    let secrets = scene.read("run/private/canaries.csv");
    let secret = secrets.lines().nth(1).and_then(|line| line.split(" is ").nth(1)).unwrap();
    let secret = secret.split(',').next().unwrap();
    for file in ["config.toml", "manifest.json", "ledger.jsonl", "metrics.jsonl", "report.html"] {
        assert!(!scene.read(&format!("run/{file}")).contains(secret), "{file} holds a secret");
    }
}

/// A private run that hides coins verifies, resumes with them, and refuses other ones.
#[test]
fn a_private_run_with_coins_verifies_and_keeps_its_promise() {
    let scene = scene();
    let train = "train --model model --train few.csv --epsilon 8 --delta 1e-4 --controller fixed --steps 4 --batch-size 12 \
        --max-length 32 --quiet";
    scene.rldp(&format!("{train} --hold-out-members 0.25 --canaries 6 --canary-repetitions 1 --out run")).expect(0);
    scene.rldp("privacy verify run").expect(0);
    let manifest: Value = serde_json::from_str(&scene.read("run/manifest.json")).unwrap();
    assert_eq!((manifest["units"].as_u64(), manifest["expected_units"].as_f64()), (Some(46), Some(33.0)));
    let changed = scene.rldp("train --resume run --hold-out-members 0.5").expect(1);
    assert!(changed.stderr.contains("may not change"), "{}", changed.stderr);
    scene.rldp(&format!("{train} --hold-out-members 1 --out other")).expect(2);
    scene.rldp(&format!("{train} --canary-kinds digits --out other")).expect(2);
    scene.rldp(&format!("{train} --out plain")).expect(0);
    let refused = scene.rldp("audit plain").expect(2);
    assert!(refused.stderr.contains("--hold-out-members"), "{}", refused.stderr);
}

/// Without noise and with everybody in the batch, the logged loss gives the one canary away: all 8 guesses about 20 runs are
/// right, which chance does once in 256 audits; seeds are fixed, so this is one draw.
#[test]
fn the_logs_of_runs_without_noise_tell_which_held_the_canary() {
    let scene = scene();
    let few: String = scene.read("few.csv").lines().take(8).flat_map(|line| [line, "\n"]).collect();
    scene.write("seven.csv", few);
    let mut runs = String::new();
    for seed in 0..20 {
        let train = "train --model model --train seven.csv --unsafe-non-private --canaries 1 --canary-kinds digits \
            --canary-repetitions 1 --max-length 32 --batch-size 7.5 --steps 1 --quiet";
        scene.rldp(&format!("{train} --unsafe-noise-seed {seed} --out run{seed}")).expect(0);
        runs = format!("{runs} run{seed}");
    }
    let found = scene.rldp(&format!("audit channel{runs} --guesses 8 --json")).expect(0).json();
    assert!(found["one_run"]["epsilon"].as_f64().unwrap() > 0.5, "{found}");
    assert!(found["epsilon"].is_null() && found["numbers"].as_u64().unwrap() > 5, "{found}");
    scene
        .rldp(
            "train --model model --train few.csv --unsafe-non-private --canaries 2 --max-length 32 --batch-size 7 \
        --steps 1 --quiet --out two",
        )
        .expect(0);
    let refused = scene.rldp(&format!("audit channel two{runs}")).expect(1);
    assert!(refused.stderr.contains("--canaries 1") || refused.stderr.contains("other settings"), "{}", refused.stderr);
}
