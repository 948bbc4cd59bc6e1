//! Whether a run is any good is said while it goes, at its end and in its report.

use crate::support::{SMALL_RUN, Scene};

fn samples(scene: &Scene, run: &str) -> Vec<serde_json::Value> {
    let lines = scene.json_lines(&format!("{run}/metrics.jsonl"));
    lines.into_iter().filter(|line| line["kind"] == "sample").collect()
}

#[test]
fn a_run_that_got_worse_says_so_and_was_warned_of() {
    let scene = Scene::new();
    let words = SMALL_RUN.replace("--quiet", "--learning-rate 50 --out run");
    let ran = scene.rldp(&words).expect(0);
    let place = |text: &str| ran.stderr.find(text).unwrap_or_else(|| panic!("`{text}` is missing in\n{}", ran.stderr));
    assert!(place("--learning-rate 50 is") < place("step 1/6"), "{}", ran.stderr);
    assert!(place("step 6/6") < place("WORSE THAN THE BASE: perplexity on "), "{}", ran.stderr);
    let page = scene.read("run/report.html");
    assert!(page.contains("<div class=\"claim bad\"><strong>run: WORSE THAN THE BASE</strong>"));
    scene.rldp("privacy verify run").expect(0);
    let quiet = scene.rldp(&SMALL_RUN.replace("--quiet", "--learning-rate 50 --quiet --out quiet")).expect(0);
    assert!(quiet.stderr.contains("WORSE THAN THE BASE"), "{}", quiet.stderr);
}

#[test]
fn public_prompts_are_continued_before_and_after_and_only_public_ones() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run")).expect(0);
    let found = samples(&scene, "run");
    assert_eq!(found.len(), 2, "{found:?}");
    let eval = scene.read("eval.csv");
    let page = scene.read("run/report.html");
    for line in &found {
        let prompt = line["prompt"].as_str().unwrap();
        assert!(prompt.len() > 8 && eval.contains(prompt.trim()), "{line}");
        assert!(
            line["before"].is_string() && line["after"].is_string() && line["label"] == "public eval file",
            "{line}"
        );
        assert!(page.contains(prompt.trim()), "{prompt} is not in the report");
    }
    let base = found[0]["before"].as_str().unwrap();
    let prompt = found[0]["prompt"].as_str().unwrap();
    let alone =
        scene.rldp_args(&["generate", "--model", "model", "--prompt", prompt, "--max-new-tokens", "32"]).expect(0);
    assert_eq!(alone.stdout.trim(), base.trim(), "`rldp generate` says the same of the base");
    // A run that ended just before it closed says nothing twice, and still verifies.
    scene.open_again("run");
    scene.rldp("train --resume run --quiet").expect(0);
    assert_eq!(samples(&scene, "run"), found);
    scene.rldp("privacy verify run").expect(0);
    scene.rldp(&format!("{SMALL_RUN} --allow-shared-eval --out shared")).expect(0);
    assert!(samples(&scene, "shared").is_empty(), "an evaluation file that may hold private records is not quoted");
}

#[test]
fn the_progress_line_dates_its_perplexity_and_shows_no_noise_for_a_loss() {
    let scene = Scene::new();
    let ran = scene.rldp(&SMALL_RUN.replace("--quiet", "--out run")).expect(0);
    let line = |step: &str| ran.stderr.lines().find(|line| line.contains(step)).unwrap_or_default().to_owned();
    assert!(line("step 3/6").contains(" @ 0 ") && line("step 4/6").contains(" @ 3 "), "{}", ran.stderr);
    let noisy = SMALL_RUN.replace("--epsilon 8", "--epsilon 0.001").replace("--quiet", "--out noisy");
    let ran = scene.rldp(&noisy).expect(0);
    assert!(ran.stderr.contains("loss – (noise)") && !ran.stderr.contains("loss -"), "{}", ran.stderr);
    assert!(scene.read("noisy/report.html").contains("nothing but noise"));
}

#[test]
fn a_run_without_privacy_beside_it_is_the_ceiling() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run")).expect(0);
    let ceiling = SMALL_RUN.replace("--epsilon 8 --delta 1e-4", "--unsafe-non-private");
    scene.rldp(&format!("{ceiling} --learning-rate 0.02 --out ceiling")).expect(0);
    scene.rldp("report run ceiling --out both.html").expect(0);
    let page = scene.read("both.html");
    assert!(page.contains("Without privacy, ceiling reaches"), "{page}");
    assert!(!scene.read("run/report.html").contains("Without privacy, ceiling"), "a run's own page is of its folder");
}

#[test]
fn events_are_written_while_a_run_goes() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --tensorboard events --out run")).expect(0);
    let file = "run/events.out.tfevents.0.rldp";
    let read = |folder: &str| fs_err::read(scene.path(folder).join(file)).unwrap();
    let count = |bytes: &[u8], tag: &str| bytes.windows(tag.len()).filter(|window| *window == tag.as_bytes()).count();
    scene.rldp("report run --tensorboard export --out page.html").expect(0);
    let (live, export) = (read("events"), read("export"));
    for (tag, times) in [("privacy/epsilon_spent", 6), ("eval/perplexity", 3), ("control/learning_rate_gain", 3)] {
        assert_eq!((count(&live, tag), count(&export, tag)), (times, times), "{tag}");
    }
    assert!(live.len() >= export.len(), "an event a line, not a step: nothing is missing");
    scene.write("taken", "a file where the folder should be");
    let refused = scene.rldp(&format!("{SMALL_RUN} --tensorboard taken --out other")).expect(1);
    assert!(refused.stderr.contains("taken"), "{}", refused.stderr);
    assert!(!scene.path("other").exists(), "the run did not begin");
}
