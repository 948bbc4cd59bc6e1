//! SIGKILL to one rank of a run of several processes, whichever and whenever, under every MPI that is installed.

use std::{
    collections::HashSet,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rldp_privacy::charged_steps;
use rldp_train::{checkpoint, files};
use serde_json::Value;

use crate::{
    Done, checks,
    support::{Scene, launchers, processes},
};

const STEPS: usize = 8;
/// Most kills of one run before it is brought to its end.
const A_RUN: usize = 4;
/// Most ranks of a process group.
const MOST: u64 = 3;

/// Runs that are killed `most` times in all under each launcher, and brought to their ends by other numbers of ranks.
pub(crate) fn killed(most: usize, seed: u64) -> Vec<Done> {
    let mut found = Vec::new();
    for launcher in launchers() {
        let (kills, runs) = Torment::new(&launcher, seed).kill(most);
        let word = launcher.split(' ').next().unwrap_or_default();
        println!("    {word}: {kills} kills of one rank in {runs} runs");
        found.extend([Done { what: "kills survived", count: kills }, Done { what: "runs", count: runs }]);
    }
    found
}

struct Torment<'a> {
    launcher: &'a str,
    scene: Scene,
    state: u64,
    /// How long a run takes that nobody kills.
    usual: Duration,
}

/// One run, and what was seen of it.
struct Run {
    name: String,
    /// Whole lines of the ledger, as long as they ever were.
    ledger: String,
}

impl<'a> Torment<'a> {
    fn new(launcher: &'a str, seed: u64) -> Self {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut new = Self { launcher, scene: Scene::new(), state, usual: Duration::ZERO };
        let began = Instant::now();
        let mut whole = Run { name: "whole".into(), ledger: String::new() };
        new.finish(&mut whole, 2);
        new.usual = began.elapsed();
        new
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % below
    }

    /// The command of a run that begins, or goes on.
    fn start(&self, run: &Run, ranks: u64) -> Child {
        let name = &run.name;
        let words = if self.scene.path(name).join(files::CONFIG).exists() {
            format!("train --quiet --resume {name}")
        } else {
            format!(
                "train --model model --train train.csv --eval eval.csv --unit-column patient --epsilon 8 --delta 1e-4 --steps {STEPS} \
                 --batch-size 12 --max-length 48 --noise-bands 2 --checkpoint-every 2 --eval-every 3 --quiet --out {name}"
            )
        };
        Command::new("sh")
            .args(["-c", &format!("exec {} -n {ranks} \"$0\" {words}", self.launcher), env!("CARGO_BIN_EXE_rldp")])
            .current_dir(self.scene.path("."))
            .env("RAYON_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn kill(&mut self, most: usize) -> (usize, usize) {
        let (mut kills, mut runs) = (0, 0);
        while kills < most {
            let mut run = Run { name: format!("run{runs}"), ledger: String::new() };
            runs += 1;
            for _ in 0..A_RUN.min(most - kills) {
                let ranks = 2 + self.random(MOST - 1);
                if !self.kill_once(&mut run, ranks) {
                    break;
                }
                kills += 1;
            }
            let ranks = 1 + self.random(MOST);
            self.finish(&mut run, ranks);
            std::fs::remove_dir_all(self.scene.path(&run.name)).unwrap();
        }
        (kills, runs)
    }

    /// Starts or resumes a run, and kills one of its ranks at some time; whether it was still there.
    fn kill_once(&mut self, run: &mut Run, ranks: u64) -> bool {
        let child = self.start(run, ranks);
        let wait = self.usual.mul_f64(self.random(1000) as f64 / 1000.0);
        std::thread::sleep(wait);
        let there = processes(&run.name);
        let Some(&pid) = there.get(self.random(there.len().max(1) as u64) as usize) else {
            child.wait_with_output().unwrap();
            self.sound(run);
            // Too early for a process, or too late.
            return false;
        };
        let sent = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
        let killed = !child.wait_with_output().unwrap().status.success();
        // A launcher may be gone before its processes are, and rank 0 still holds the folder then.
        while !processes(&run.name).is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.sound(run);
        sent.success() && killed
    }

    /// Brings a run to its end with some number of ranks.
    fn finish(&mut self, run: &mut Run, ranks: u64) {
        let done = self.start(run, ranks).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{} cannot be resumed by {ranks} ranks of {}: {said}", run.name, self.launcher);
        self.sound(run);
        let name = &run.name;
        let verified = self.scene.rldp(&format!("privacy verify {name}"));
        assert_eq!(verified.code, 0, "{name} does not verify: {}{}", verified.stdout, verified.stderr);
        assert_eq!(charged_steps(&run.ledger).unwrap(), STEPS as u64, "{name}: the plan has {STEPS} steps");
    }

    /// What holds at any time: no charge is taken back, what is saved or released is charged, and no release comes twice.
    fn sound(&self, run: &mut Run) {
        let (folder, name) = (self.scene.path(&run.name), &run.name);
        let ledger = checks::ledger(&folder);
        assert!(ledger.starts_with(&run.ledger), "{name}: lines were taken from the ledger");
        let charged = if ledger.is_empty() { 0 } else { charged_steps(&ledger).unwrap() };
        if let Some(saved) = checkpoint::load(&folder).unwrap() {
            saved.ledger.check(&ledger).unwrap();
            assert!(saved.steps_charged <= charged, "{name}: the checkpoint is ahead of the ledger");
        }
        let metrics = std::fs::read_to_string(folder.join(files::METRICS)).unwrap_or_default();
        let lines: Vec<Value> = metrics.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let steps: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "step").collect();
        let latest = steps.iter().filter_map(|line| line["step"].as_u64()).max().unwrap_or(0);
        assert!(latest <= charged, "{name}: step {latest} was released, but {charged} are charged");
        let mut released = HashSet::new();
        let twice = steps.iter().any(|line| !released.insert(line["snr"].to_string()));
        assert!(!twice, "{name}: a release came twice: {metrics}");
        run.ledger = ledger;
    }
}
