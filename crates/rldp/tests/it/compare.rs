//! `rldp compare`: a small grid, killed and continued, failing runs, plans and exports.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Scene, wait_for};

/// The grid that comes with the source, on the scene's material.
fn small_grid() -> String {
    include_str!("../../../../grids/small.toml").replace("demo/", "")
}

/// Inode-independent proof that a run was not made again: its manifest (with the time it started) and its ledger.
fn traces(scene: &Scene, out: &str) -> BTreeMap<String, (String, String)> {
    let runs = scene.path(out).join("runs");
    let Ok(folders) = fs_err::read_dir(runs) else { return BTreeMap::new() };
    let names = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let finished = |name: &String| {
        let ledger = fs_err::read_to_string(scene.path(out).join("runs").join(name).join("ledger.jsonl"));
        ledger.is_ok_and(|ledger| ledger.contains("\"kind\":\"close\""))
    };
    names
        .filter(finished)
        .map(|name| {
            let read = |file: &str| scene.read(&format!("{out}/runs/{name}/{file}"));
            (name.clone(), (read("manifest.json"), read("ledger.jsonl")))
        })
        .collect()
}

#[test]
fn a_killed_comparison_continues_and_repeats_no_finished_run() {
    let scene = Scene::new();
    scene.write("grid.toml", small_grid());
    let mut child = scene.command("compare grid.toml --out cmp").spawn().unwrap();
    wait_for("the first finished run", || {
        fs_err::read_to_string(scene.path("cmp/results.jsonl")).is_ok_and(|text| text.contains('\n'))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let before = traces(&scene, "cmp");
    assert!(!before.is_empty());
    let ran = scene.rldp("compare grid.toml --out cmp").expect(0);
    let after = traces(&scene, "cmp");
    assert_eq!(after.len(), 4);
    assert!(before.iter().all(|(name, trace)| after[name] == *trace), "a finished run was made again");
    let results = scene.json_lines("cmp/results.jsonl");
    let names: BTreeSet<String> = results.iter().map(|line| line["run"].as_str().unwrap().to_owned()).collect();
    assert_eq!((results.len(), names.len()), (4, 4), "{results:?}");
    for line in &results {
        assert_eq!((&line["verified"], &line["guarantee"]), (&true.into(), &true.into()), "{line}");
        assert_eq!(line["steps"], 12, "{line}");
        assert!(line["perplexity_after"].as_f64().unwrap() > 1.0 && line["perplexity_before"].is_number(), "{line}");
    }
    for method in ["fixed", "sac"] {
        assert!(ran.stdout.contains(method), "{}", ran.stdout);
    }
    assert!(ran.stderr.contains("4/4") && ran.stderr.contains("left"), "{}", ran.stderr);
    assert!(scene.read("cmp/report.html").contains("Each of the 4 runs carries its own guarantee"));
    assert_eq!(scene.read("cmp/summary.csv").lines().count(), 3);
    assert_eq!(scene.read("cmp/manifest.json").matches("\"rldp_version\"").count(), 2, "one entry a session");

    let again = scene.rldp("compare grid.toml --out cmp").expect(0);
    assert_eq!(again.stdout, ran.stdout);
    assert_eq!(traces(&scene, "cmp"), after);
}

#[test]
fn an_interrupted_run_is_resumed_and_what_it_spent_stays_spent() {
    let scene = Scene::new();
    scene.write("grid.toml", small_grid().replace("seed = [1, 2]", "seed = [1]").replace("steps = 12", "steps = 40"));
    let plan = scene.rldp("compare grid.toml --out cmp --dry-run").expect(0).stdout;
    let run = plan.lines().next().unwrap().split('\t').nth(1).unwrap().to_owned();
    let ledger = || fs_err::read_to_string(scene.path(&format!("cmp/runs/{run}/ledger.jsonl"))).unwrap_or_default();
    let charges = |text: &str| text.matches("\"kind\":\"charge\"").count();
    let mut child = scene.command("compare grid.toml --out cmp").spawn().unwrap();
    wait_for("the ninth step", || charges(&ledger()) >= 9);
    // A signal stops the run at its next step; the comparison waits for it.
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let spent = charges(&ledger());
    assert!(spent < 40 && !ledger().contains("\"kind\":\"close\""), "{spent} charges");
    let plan = scene.rldp("compare grid.toml --out cmp --dry-run").expect(0).stdout;
    assert!(plan.contains("1 interrupted"), "{plan}");
    let kept = ledger();
    scene.rldp("compare grid.toml --out cmp").expect(0);
    assert!(ledger().starts_with(&kept), "the ledger was not continued");
    assert_eq!(charges(&ledger()), 40);
}

#[test]
fn paired_runs_share_batches_and_noise_and_say_that_they_promise_nothing() {
    let scene = Scene::new();
    let grid = small_grid()
        .replace("seed = [1, 2]", "seed = [1]")
        .replace("controller = \"sac\"", "controller = \"fixed\"\nwarmup = 0.5");
    scene.write("grid.toml", format!("paired = true\n{grid}"));
    let ran = scene.rldp("compare grid.toml --out cmp").expect(0);
    assert!(ran.stderr.contains("NO PRIVACY GUARANTEE"), "{}", ran.stderr);
    let report = scene.read("cmp/report.html");
    assert!(report.contains("NO PRIVACY GUARANTEE for 2 of 2 runs"));
    let results = scene.json_lines("cmp/results.jsonl");
    assert!(results.iter().all(|line| line["guarantee"] == false && line["verified"] == false), "{results:?}");
    let first_step = |line: &serde_json::Value| {
        let metrics = scene.json_lines(&format!("cmp/runs/{}/metrics.jsonl", line["run"].as_str().unwrap()));
        metrics.into_iter().find(|line| line["kind"] == "step").unwrap()["loss"].clone()
    };
    assert_eq!(
        first_step(&results[0]),
        first_step(&results[1]),
        "the same batch and noise give the same released loss"
    );
}

#[test]
fn a_failed_run_is_recorded_and_does_not_stop_the_others() {
    let scene = Scene::new();
    let broken = "[[method]]\nname = \"wide\"\nbatch_size = 61.0\n\n[[method]]\nname = \"sac\"";
    scene.write(
        "grid.toml",
        small_grid().replace("seed = [1, 2]", "seed = [1]").replace("[[method]]\nname = \"sac\"", broken),
    );
    let ran = scene.rldp("compare grid.toml --out cmp").expect(1);
    assert!(ran.stderr.contains("60 units"), "the run's own message: {}", ran.stderr);
    assert_eq!(scene.json_lines("cmp/results.jsonl").len(), 2);
    let failed = scene.json_lines("cmp/failed.jsonl");
    assert_eq!(failed.len(), 1);
    assert!(failed[0]["message"].as_str().unwrap().contains("60 units"), "{failed:?}");
    assert!(scene.read("cmp/report.html").contains("Failed, and in no number below: 1"));
}

#[test]
fn a_plan_is_printed_and_exported_without_running() {
    let scene = Scene::new();
    scene.write("grid.toml", small_grid());
    let plan = scene.rldp("compare grid.toml --out cmp --dry-run").expect(0).stdout;
    assert_eq!(plan.lines().count(), 5, "{plan}");
    assert!(plan.contains("control.controller=sac") && plan.contains("seed=2") && plan.contains("4 runs ="), "{plan}");
    assert!(!plan.contains("privacy.epsilon"), "only differences: {plan}");
    assert!(!scene.path("cmp").exists(), "a dry run writes nothing");
    for (target, file, says) in
        [("slurm", "slurm.sh", "--array=0-3%1"), ("kubernetes", "kubernetes.yaml", "completionMode: Indexed")]
    {
        let ran = scene.rldp(&format!("compare grid.toml --out cmp --export {target}")).expect(0);
        assert_eq!(ran.stdout.trim(), format!("cmp/{file}"));
        assert!(scene.read(&format!("cmp/{file}")).contains(says));
    }
    // Several processes a run, and a script that a shell can read; without a cluster a stand-in for its launcher says what was asked.
    scene.rldp("compare grid.toml --out several --export slurm --ranks 2").expect(0);
    scene.shell("bash -n several/slurm.sh && sh -n several/task.sh").expect(0);
    assert!(scene.read("several/slurm.sh").contains("#SBATCH --ntasks=2\n"));
    scene.write("srun", "#!/bin/sh\necho srun \"$1\" \"$2\" >&2\nshift 2\nexec \"$@\" --show-settings\n");
    scene.shell("chmod +x srun").expect(0);
    let asked = scene
        .shell("PATH=$PWD:$PATH RLDP=\"$0\" SLURM_CPUS_PER_TASK=3 SLURM_ARRAY_TASK_ID=2 sh several/slurm.sh")
        .expect(0);
    assert_eq!(asked.stderr.lines().next(), Some("srun --mpi=pmix --cpus-per-task=3"));
    assert!(asked.stdout.contains("[privacy]"), "{}", asked.stdout);
    // What a task of the cluster does, twice; then the comparison takes the run over.
    for _ in 0..2 {
        scene.shell("RLDP=\"$0\" SLURM_ARRAY_TASK_ID=2 sh cmp/slurm.sh").expect(0);
    }
    scene.shell("RLDP=\"$0\" sh cmp/task.sh 4").expect(2);
    let done = traces(&scene, "cmp");
    assert_eq!(done.len(), 1);
    let third = plan.lines().nth(2).unwrap();
    assert!(third.contains(done.keys().next().unwrap()), "task 2 is the third run");
    scene.rldp("compare grid.toml --out cmp").expect(0);
    let after = traces(&scene, "cmp");
    assert!(done.iter().all(|(name, trace)| after[name] == *trace) && after.len() == 4);
}

#[test]
fn wrong_grids_and_slots_are_wrong_usage() {
    let scene = Scene::new();
    scene.write("grid.toml", small_grid().replace("interval = 3", "intervall = 3"));
    let ran = scene.rldp("compare grid.toml --out cmp").expect(2);
    assert!(ran.stderr.contains("intervall") && ran.stderr.contains("[base]"), "{}", ran.stderr);
    scene.write("grid.toml", small_grid());
    for slots in ["0", "100000"] {
        let ran = scene.rldp(&format!("compare grid.toml --out cmp --slots {slots}")).expect(2);
        assert!(ran.stderr.contains(slots) && ran.stderr.contains("cores"), "{}", ran.stderr);
    }
    scene.rldp("compare missing.toml --out cmp").expect(1);
    assert!(!scene.path("cmp").exists());
}
