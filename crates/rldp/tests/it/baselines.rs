//! Every baseline of the grid that comes with the source, and the rules of tuning, end to end.

use crate::support::{SMALL_RUN, Scene};

/// The grid of all baselines on the scene's material, a few steps each.
fn grid() -> String {
    let text = include_str!("../../../../grids/baselines.toml").replace("demo/", "");
    let smaller = [
        ("steps = 60", "steps = 3"),
        ("batch_size = 64.0", "batch_size = 12.0"),
        ("seed = [1, 2, 3, 4, 5, 6]", "seed = [1]"),
        ("interval = 5", "interval = 1"),
        ("eval_every = 10", "eval_every = 3"),
    ];
    smaller.into_iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the grid has no `{from}`");
        text.replace(from, to)
    })
}

#[test]
fn every_baseline_runs_and_only_the_unsafe_ones_promise_nothing() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --controller sac --out sac")).expect(0);
    scene.write("grid.toml", grid());
    let ran = scene.rldp("compare grid.toml --out cmp").expect(0);
    assert!(ran.stdout.contains("raw") && ran.stdout.contains("NO"), "{}", ran.stdout);
    let results = scene.json_lines("cmp/results.jsonl");
    assert_eq!(results.len(), grid().matches("[[method]]").count());
    for line in &results {
        let raw = line["method"] == "raw";
        let holds = !raw && line["method"] != "non-private";
        assert_eq!((&line["guarantee"], &line["verified"]), (&holds.into(), &holds.into()), "{line}");
        assert_eq!(line["steps"], 3, "{line}");
        assert!(line["perplexity_after"].as_f64().is_some(), "{line}");
        let run = line["run"].as_str().unwrap();
        let manifest = scene.read(&format!("cmp/runs/{run}/manifest.json"));
        assert_eq!(manifest.contains("NO PRIVACY GUARANTEE: the controller saw"), raw, "{manifest}");
    }
    assert!(scene.read("cmp/report.html").contains("NO PRIVACY GUARANTEE for 2 of"));
}

/// One method, two candidates: the default, two at full budget, two trials and two final runs.
#[test]
fn tuning_reports_its_rules_side_by_side_and_charges_trials() {
    let scene = Scene::new();
    let small = include_str!("../../../../grids/small.toml").replace("demo/", "").replace("[1, 2]", "[1]");
    let (rest, _) = small.split_once("[[method]]\nname = \"sac\"").unwrap();
    let tuning = "[tuning]\nrules = [\"default\", \"within-budget\", \"hindsight\"]\n[tuning.values]\nlearning_rate = [0.001, 0.015]\n";
    scene.write("grid.toml", format!("{rest}\n{tuning}"));
    let ran = scene.rldp("compare grid.toml --out cmp").expect(0);
    for rule in ["tuning=default", "tuning=within-budget", "tuning=hindsight"] {
        assert!(ran.stdout.contains(rule), "{}", ran.stdout);
    }
    let results = scene.json_lines("cmp/results.jsonl");
    assert_eq!(results.len(), 7, "{results:?}");
    let shared: Vec<_> = results.iter().filter(|line| line["roles"][0]["rule"] == "within-budget").collect();
    assert_eq!(shared.len(), 4);
    for line in shared {
        let ledger = scene.json_lines(&format!("cmp/runs/{}/ledger.jsonl", line["run"].as_str().unwrap()));
        let text = ledger[0].to_string();
        // Two trials of 3 steps and a final run of 12.
        let other = 18 - line["steps"].as_u64().unwrap();
        assert!(text.contains(&format!("\"other_steps\":{other}")), "{text}");
        assert_eq!(line["verified"], true, "{line}");
    }
    let report = scene.read("cmp/report.html");
    assert!(report.contains("<h2>Tuning</h2>") && report.contains("learning_rate=0.0"), "no choice in the report");
    // The same command finds everything made.
    let again = scene.rldp("compare grid.toml --out cmp --dry-run").expect(0);
    assert!(again.stdout.contains("7 finished"), "{}", again.stdout);
}
