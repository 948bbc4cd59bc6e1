//! `rldp train --unsafe-non-private`: the ceiling, which says everywhere that it promises nothing.

use crate::support::Scene;

const RUN: &str = "train --model model --train train.csv --eval eval.csv --unit-column patient --unsafe-non-private \
    --steps 6 --batch-size 12 --max-length 48 --eval-every 3 --checkpoint-every 2 --quiet";

#[test]
fn a_run_without_noise_learns_and_says_everywhere_that_it_promises_nothing() {
    let scene = Scene::new();
    let ran = scene.rldp(&format!("{RUN} --out run")).expect(0);
    assert!(ran.stderr.contains("NO PRIVACY GUARANTEE"), "{}", ran.stderr);
    for file in ["manifest.json", "ledger.jsonl", "metrics.jsonl", "report.html"] {
        let text = scene.read(&format!("run/{file}"));
        assert!(text.contains("nothing was clipped and no noise was added"), "{file} says nothing: {text}");
    }
    assert!(scene.read("run/config.toml").contains("epsilon = inf"));
    let steps = scene.json_lines("run/metrics.jsonl");
    let steps: Vec<_> = steps.iter().filter(|line| line["kind"] == "step").collect();
    assert_eq!(steps.len(), 6);
    assert!(steps.iter().all(|line| line["epsilon_spent"].is_null() && line["noise_multiplier"] == 0.0));
    let verified = scene.rldp("privacy verify run --json").expect(1).json();
    assert!(verified["holds"] == false && verified["epsilon"].is_null(), "{verified}");
    let evals = scene.json_lines("run/metrics.jsonl");
    let nll: Vec<f64> = evals.iter().filter_map(|line| line["nll"].as_f64()).collect();
    assert!(nll.len() == 3 && nll[2] < nll[0], "{nll:?}");
    scene.rldp("report run --out again.html").expect(0);
}

#[test]
fn what_would_look_like_a_promise_is_refused() {
    let scene = Scene::new();
    for (words, says) in [
        ("--epsilon 4", "leave both out"),
        ("--controller sac", "--controller fixed"),
        ("--regime adaptive", "nothing to steer"),
    ] {
        let ran = scene.rldp(&format!("{RUN} --out refused {words}")).expect(2);
        assert!(ran.stderr.contains(says), "{words}: {}", ran.stderr);
    }
    assert!(!scene.path("refused").exists());
}
