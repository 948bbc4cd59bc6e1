//! `rldp train` and what it leaves.

use crate::support::{SMALL_RUN, Scene};

#[test]
fn a_run_leaves_a_folder_that_explains_and_verifies_itself() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run")).expect(0);
    for file in ["config.toml", "manifest.json", "ledger.jsonl", "metrics.jsonl", "private/timing.jsonl", "report.html"]
    {
        assert!(scene.path("run").join(file).exists(), "{file} is missing");
    }
    let verified = scene.rldp("privacy verify run --json").expect(0).json();
    assert_eq!(verified["holds"], true, "{verified}");
    let metrics = scene.json_lines("run/metrics.jsonl");
    let steps: Vec<_> = metrics.iter().filter(|line| line["kind"] == "step").collect();
    assert_eq!(steps.len(), 6);
    assert!(steps.windows(2).all(|pair| pair[0]["epsilon_spent"].as_f64() <= pair[1]["epsilon_spent"].as_f64()));
    assert!(steps.last().unwrap()["epsilon_spent"].as_f64().unwrap() <= 8.0);
    assert_eq!(metrics.iter().filter(|line| line["kind"] == "control").count(), 3);
    assert_eq!(metrics.iter().filter(|line| line["kind"] == "eval").count(), 3);
    let base = scene.rldp("evaluate --model model --data eval.csv --json").expect(0).json();
    let tuned = scene.rldp("evaluate --model model --adapter run/adapter --data eval.csv --json").expect(0).json();
    assert_eq!(base["tokens"], tuned["tokens"]);
    assert_ne!(base["nll"], tuned["nll"]);
}

#[test]
fn a_changed_or_shortened_ledger_does_not_verify() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run --controller fixed")).expect(0);
    let ledger = scene.read("run/ledger.jsonl");
    let lines: Vec<&str> = ledger.lines().collect();
    let without_third: String =
        lines.iter().enumerate().filter(|(i, _)| *i != 3).map(|(_, line)| format!("{line}\n")).collect();
    scene.write("run/ledger.jsonl", without_third);
    let verified = scene.rldp("privacy verify run --json").expect(1).json();
    assert_eq!(verified["holds"], false);
}

#[test]
fn settings_that_ask_for_another_promise_do_not_verify() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run --controller fixed")).expect(0);
    let config = scene.read("run/config.toml");
    for (from, to, name) in
        [("epsilon = 8.0", "epsilon = 2.0", "epsilon"), ("batch_size = 12.0", "batch_size = 6.0", "batch_size")]
    {
        assert!(config.contains(from), "{config}");
        scene.write("run/config.toml", config.replacen(from, to, 1));
        let verified = scene.rldp("privacy verify run").expect(1);
        assert!(verified.stdout.contains(&format!("{name}: claimed")), "{}", verified.stdout);
    }
}

#[test]
fn a_second_run_does_not_overwrite_the_first() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run")).expect(0);
    let before = scene.read("run/ledger.jsonl");
    let ran = scene.rldp(&format!("{SMALL_RUN} --out run")).expect(1);
    assert!(ran.stderr.contains("already holds a run") && ran.stderr.contains("--resume"), "{}", ran.stderr);
    assert_eq!(scene.read("run/ledger.jsonl"), before);
}

#[test]
fn seeded_research_runs_repeat_to_the_bit_and_say_that_they_promise_nothing() {
    let scene = Scene::new();
    for out in ["one", "two"] {
        scene.rldp(&format!("{SMALL_RUN} --controller sac --out {out} --unsafe-noise-seed 5")).expect(0);
    }
    let adapter = |run: &str| fs_err::read(scene.path(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(adapter("one"), adapter("two"));
    assert_eq!(scene.read("one/metrics.jsonl"), scene.read("two/metrics.jsonl"));
    let verified = scene.rldp("privacy verify one --json").expect(1).json();
    assert_eq!(verified["holds"], false, "a run without secret noise must not verify");
    assert!(scene.read("one/report.html").to_lowercase().contains("no privacy guarantee"));
}

#[test]
fn private_runs_do_not_repeat_although_the_public_seed_does() {
    let scene = Scene::new();
    for out in ["one", "two"] {
        scene.rldp(&format!("{SMALL_RUN} --out {out} --seed 5")).expect(0);
    }
    let adapter = |run: &str| fs_err::read(scene.path(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert_ne!(adapter("one"), adapter("two"));
}

#[test]
fn a_saved_policy_starts_another_run_with_the_same_pairs_and_no_other() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --controller sac --out first")).expect(0);
    scene
        .rldp(&format!("{SMALL_RUN} --controller sac --out second --policy first/policy --allow-private-policy"))
        .expect(0);
    let controls = scene.json_lines("second/metrics.jsonl");
    let first = controls.iter().find(|line| line["kind"] == "control").unwrap();
    assert!(first["controller"]["replay"].as_u64().unwrap() >= 2, "the replay of the saved policy is gone: {first}");
    let ran = scene
        .rldp(&format!("{SMALL_RUN} --controller sac --out third --target-modules c_attn --policy first/policy --allow-private-policy"
        ))
        .expect(1);
    assert!(ran.stderr.contains("same adapter pairs"), "{}", ran.stderr);
    assert!(!scene.path("third").exists(), "a refused run left a folder behind");
}

#[test]
fn the_adaptive_regime_stays_behind_its_filter() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --controller set --out run --regime adaptive")).expect(0);
    let verified = scene.rldp("privacy verify run --json").expect(0).json();
    assert_eq!((&verified["holds"], &verified["accountant"]), (&true.into(), &"rdp".into()), "{verified}");
}

#[test]
fn a_deck_is_played_in_any_order_and_verifies() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run --regime deck --controller random")).expect(0);
    let verified = scene.rldp("privacy verify run --json").expect(0).json();
    assert_eq!((&verified["holds"], &verified["accountant"]), (&true.into(), &"pld".into()), "{verified}");
    let charges = scene.json_lines("run/ledger.jsonl");
    let mut noise: Vec<f64> = charges.iter().filter_map(|line| line["noise_multiplier"].as_f64()).collect();
    noise.sort_by(f64::total_cmp);
    noise.dedup();
    assert_eq!(noise.len(), 5, "six steps play a deck of five levels: {noise:?}");
}

#[test]
fn settings_come_from_file_and_flags_and_unknown_keys_are_refused() {
    let scene = Scene::new();
    scene.write("run.toml", "epsilon = 3.0\nsteps = 40\n[optimizer]\nbeta1 = 0.5\n");
    let words =
        "train --model model --train train.csv --delta 1e-5 --out run --config run.toml --steps 41 --show-settings";
    let settings: toml::Table = scene.rldp(words).expect(0).stdout.parse().unwrap();
    assert_eq!(settings["privacy"]["epsilon"].as_float(), Some(3.0));
    assert_eq!(settings["privacy"]["steps"].as_integer(), Some(41));
    assert_eq!(settings["optimizer"]["beta1"].as_float(), Some(0.5));
    scene.write("run.toml", "epsilom = 3.0\n");
    let ran = scene.rldp(words).expect(2);
    assert!(ran.stderr.contains("epsilom"), "{}", ran.stderr);
}

#[test]
fn a_killed_run_resumes_without_a_refund() {
    let scene = Scene::new();
    let words = format!("{} --out run", SMALL_RUN.replace("--steps 6", "--steps 40 --controller sac"));
    let charges = || scene.read("run/ledger.jsonl").lines().filter(|line| line.contains("\"kind\":\"charge\"")).count();
    let mut child = scene.command(&words).spawn().unwrap();
    let started = std::time::Instant::now();
    while !scene.path("run/ledger.jsonl").exists() || charges() < 9 {
        assert!(started.elapsed().as_secs() < 60, "the run did not reach its ninth step");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let spent = charges();
    scene.rldp("train --out run --resume --quiet").expect(0);
    let verified = scene.rldp("privacy verify run --json").expect(0).json();
    assert_eq!(verified["holds"], true, "{verified}");
    assert_eq!(charges(), 40, "{spent} charges before the kill must count");
}

/// A crash while a line is written leaves a part of it; whatever the part, the run goes on and verifies.
#[test]
fn a_ledger_that_ends_in_a_torn_line_goes_on() {
    let scene = Scene::new();
    scene.shell(&format!("trap '' XFSZ; ulimit -f 64; exec \"$0\" {SMALL_RUN} --out run")).expect(1);
    let ledger = scene.read("run/ledger.jsonl");
    let last = ledger.lines().last().unwrap();
    for (copy, length) in [1, last.len() / 2, last.len()].into_iter().enumerate() {
        let run = format!("torn-{copy}");
        scene.shell(&format!("cp -r run {run}")).expect(0);
        scene.write(&format!("{run}/ledger.jsonl"), format!("{ledger}{}", &last[..length]));
        scene.rldp(&format!("train --resume {run} --quiet")).expect(0);
        let verified = scene.rldp(&format!("privacy verify {run} --json")).expect(0).json();
        assert_eq!((&verified["holds"], &verified["steps"]), (&true.into(), &6.into()), "{verified}");
    }
}

#[test]
fn a_run_starts_from_an_adapter_and_keeps_its_shape() {
    let scene = Scene::new();
    let lora = "--controller fixed --rank 3 --lora-alpha 5 --use-rslora --init-lora-weights gaussian --target-modules attn.c_proj,c_fc";
    scene.rldp(&format!("{SMALL_RUN} {lora} --out first")).expect(0);
    let config = |run: &str| -> serde_json::Value {
        serde_json::from_str(&scene.read(&format!("{run}/adapter/adapter_config.json"))).unwrap()
    };
    let first = config("first");
    assert!((first["lora_alpha"].as_f64().unwrap() - 5.0 * 3f64.sqrt()).abs() < 1e-9, "{first}");
    let perplexity = |words: &str| {
        scene.rldp(&format!("evaluate --model model --data eval.csv --json {words}")).expect(0).json()["nll"].clone()
    };
    // A rate of nothing leaves the second run where the first ended.
    let on = format!("{SMALL_RUN} --controller fixed --learning-rate 1e-30 --adapter first/adapter --out second");
    let said = scene.rldp(&on.replace(" --quiet", "")).expect(0).stderr;
    assert!(said.contains("its own training's claim"), "{said}");
    let (mut second, mut first) = (config("second"), first);
    for key in ["r", "lora_alpha", "target_modules", "use_rslora"] {
        assert_eq!(second[key].take(), first[key].take(), "{key}");
    }
    assert_eq!(perplexity("--adapter second/adapter"), perplexity("--adapter first/adapter"));
    assert_ne!(perplexity("--adapter second/adapter"), perplexity(""));
    let other = scene.rldp(&format!("{SMALL_RUN} --adapter first/adapter --rank 4 --out third")).expect(2).stderr;
    assert!(other.contains("rank 3") && other.contains("leave --rank"), "{other}");
    scene.rldp(&format!("{SMALL_RUN} --init-lora-weights pissa --out fourth")).expect(2);
    scene.shell("sed -i 's/\"use_dora\": false/\"use_dora\": true/' first/adapter/adapter_config.json").expect(0);
    let dora = scene.rldp(&format!("{SMALL_RUN} --adapter first/adapter --out fifth")).expect(1).stderr;
    assert!(dora.contains("`use_dora` is set"), "{dora}");
}

/// Relative paths of a run are meant from where it was started; a lost model is not looked for on the hub.
#[test]
fn a_run_is_resumed_from_anywhere() {
    let scene = Scene::new();
    scene.shell("mkdir -p models elsewhere; mv model models/tiny").expect(0);
    let run = SMALL_RUN.replace("--model model", "--model models/tiny");
    scene.rldp(&format!("{run} --controller fixed --out runs/a")).expect(0);
    scene.open_again("runs/a");
    let before = scene.read("runs/a/config.toml");
    let resume = "cd elsewhere; HF_HUB_OFFLINE=1 \"$0\" train --resume ../runs/a --quiet";
    scene.shell(resume).expect(0);
    assert_eq!(scene.read("runs/a/config.toml"), before, "a path changed");
    scene.open_again("runs/a");
    scene.shell("mv models lost").expect(0);
    for line in [resume, "HF_HUB_OFFLINE=1 \"$0\" train --resume runs/a --quiet"] {
        let lost = scene.shell(line).expect(1).stderr;
        assert!(lost.contains("models/tiny, which is not there") && lost.contains("--model"), "{lost}");
        assert!(!lost.contains("HF_HUB_OFFLINE"), "it was looked for on the hub: {lost}");
    }
    scene.shell("cd elsewhere; \"$0\" train --resume ../runs/a --model ../lost/tiny --quiet").expect(0);
}

#[test]
fn a_resumed_run_keeps_its_promise_to_the_letter() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run")).expect(0);
    let ran = scene.rldp("train --resume run --epsilon 20 --quiet").expect(1);
    assert!(ran.stderr.contains("epsilon"), "{}", ran.stderr);
}
