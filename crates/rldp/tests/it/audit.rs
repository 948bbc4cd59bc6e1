//! `rldp audit`: a run without much noise is exposed, a private one is not, and nothing shows a record.

use serde_json::Value;

use crate::support::{Ran, Scene};

/// A few notes with 24 canaries, of which the included ones stand twelve times in the training file.
const PLANT: &str = "audit canaries --count 24 --repetitions 12 --kind digits --seed 4 --out canaries.csv \
    --train few.csv --train-out planted.csv";

fn planted() -> Scene {
    let scene = Scene::new();
    let notes = scene.read("train.csv");
    let few: String = notes.lines().take(12).flat_map(|line| [line, "\n"]).collect();
    scene.write("few.csv", few);
    let ran = scene.rldp(PLANT).expect(0);
    assert!(ran.stderr.contains("each of the 12 repetitions is a unit of its own"), "{}", ran.stderr);
    scene
}

fn attacked(scene: &Scene, epsilon: u32) -> Ran {
    let train = "train --model model --train planted.csv --delta 1e-4 --steps 80 --batch-size 36 --controller fixed \
        --max-length 32 --learning-rate 0.02 --unsafe-noise-seed 1 --quiet";
    scene.rldp(&format!("{train} --epsilon {epsilon} --out run{epsilon}")).expect(0);
    scene.rldp(&format!("audit run{epsilon} --canaries canaries.csv --candidates 63 --json")).expect(0)
}

fn auc(found: &Value, score: &str) -> f64 {
    let scores = found["canaries"]["scores"].as_array().unwrap();
    scores.iter().find(|entry| entry["score"] == score).unwrap()["auc"].as_f64().unwrap()
}

/// Seeds are fixed, so this is one draw on one kind of processor. Without any leak the AUC of 13 against 11 canaries has deviation
/// 0.12: 0.9 is exceeded with probability below 1e-3. With the leak five seeds of noise gave 0.97 to 1.
#[test]
fn repeated_canaries_are_exposed_without_noise_and_hidden_with_it() {
    let scene = planted();
    let bare = attacked(&scene, 40);
    let found = bare.json();
    let private = attacked(&scene, 1).json();
    for score in ["loss", "reference"] {
        assert!(auc(&found, score) > 0.9, "{found}");
        assert!((0.1..0.9).contains(&auc(&private, score)), "{private}");
    }
    let number = |of: &Value, key: &str| of["canaries"]["groups"][0]["one_run"][key].as_f64().unwrap();
    assert!(number(&found, "epsilon") > 0.0 && number(&private, "epsilon") <= 1.0, "{found}\n{private}");
    let mean = |of: &Value, group: &str| of["canaries"]["groups"][0][group]["mean"].as_f64().unwrap();
    assert!(mean(&found, "exposure_included") > mean(&found, "exposure_excluded") + 2.0, "{found}");
    // The same seed repeats to the letter.
    let again = scene.rldp("audit run40 --canaries canaries.csv --candidates 63 --json").expect(0);
    assert_eq!(again.stdout, bare.stdout);
    let secrets = scene.read("canaries.csv");
    for secret in secrets.lines().skip(1).filter_map(|line| line.split(" is ").nth(1)?.split(',').next()) {
        assert!(!bare.stdout.contains(secret) && !bare.stderr.contains(secret));
    }
    membership_of_notes(&scene);
}

/// Membership on the notes themselves, through the run folder and through named folders.
fn membership_of_notes(scene: &Scene) {
    let words = "--members few.csv --non-members eval.csv --bootstrap 50 --json";
    let run = scene.rldp(&format!("audit run40 {words}")).expect(0);
    assert!(run.stderr.contains("members: 11 of 11 records"), "{}", run.stderr);
    let named = scene.rldp(&format!("audit --model model --adapter run40/adapter {words}")).expect(0).json();
    assert_eq!(run.json()["membership"], named["membership"]);
    let scores = named["membership"]["scores"].as_array().unwrap();
    assert_eq!(scores.len(), 5);
    assert!(scores.iter().all(|entry| entry["tpr_at_fpr"].as_array().unwrap().len() == 3));
    let missing = scene.rldp("audit --model model --adapter run40/adapter --canaries canaries.csv").expect(2);
    assert!(missing.stderr.contains("--delta"), "{}", missing.stderr);
    let odd = scene.rldp("audit run40 --canaries canaries.csv --guesses 7").expect(1);
    assert!(odd.stderr.contains("guesses is 7") && odd.stderr.contains("even"), "{}", odd.stderr);
}

#[test]
fn the_honest_mechanism_is_not_refuted() {
    let scene = Scene::new();
    let found = scene.rldp("audit mechanism --canaries 4000 --guesses 200 --seed 1 --json").expect(0).json();
    assert_eq!(found["refuted"], false);
    let bound = found["one_run"]["gdp_epsilon"].as_f64().unwrap();
    let claimed = found["claimed_epsilon"].as_f64().unwrap();
    assert!(bound > 0.5 * claimed && bound <= claimed, "{found}");
    let refused = scene.rldp("audit mechanism --canaries 1").expect(1);
    assert!(refused.stderr.contains("canaries is 1") && refused.stderr.contains("from 2"), "{}", refused.stderr);
}

#[test]
fn calls_that_name_nothing_to_audit_are_refused() {
    let scene = Scene::new();
    for (words, code, says) in [
        ("audit", 2, "--canaries"),
        ("audit --canaries c.csv", 2, "--adapter"),
        ("audit nowhere --canaries c.csv", 1, "config.toml"),
        ("audit canaries --count 5 --kind digits --out c.txt", 1, ".csv or .jsonl"),
        ("audit canaries --count 0 --out c.csv", 1, "from 1"),
    ] {
        let ran = scene.rldp(words).expect(code);
        assert!(ran.stderr.contains(says), "{words}: {}", ran.stderr);
    }
    assert!(!scene.path("c.txt").exists());
}
