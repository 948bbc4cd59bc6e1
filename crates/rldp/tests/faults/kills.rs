//! SIGKILL to a real process of the run.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use crate::{
    Done, checks,
    disk::{Fault, Shared},
    world::{Place, drive},
};

/// A process of the run, with a planned fault or none.
fn start(place: &Place, plan: Option<(usize, Fault)>) -> Child {
    let (index, word) = plan.map_or((0, "none".to_owned()), |(index, fault)| (index, fault.word()));
    Command::new(std::env::current_exe().unwrap())
        .arg("child")
        .arg(&place.folder)
        .args([place.controller, &index.to_string(), &word])
        // One thread is enough for nine numbers, and many processes are started.
        .env("RAYON_NUM_THREADS", "1")
        .spawn()
        .unwrap()
}

/// Whether the process was killed; it must not have failed otherwise.
fn killed(mut child: Child) -> bool {
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "a process of the run ended with {status}");
    !status.success()
}

pub(crate) fn sound(place: &Place, context: &str, check: fn(&Place) -> Result<(), String>) {
    if let Err(fault) = check(place) {
        panic!("{context}: {fault} (in {})", place.folder.display());
    }
}

/// Ends the run without faults and checks it.
pub(crate) fn complete(place: &Place, context: &str) {
    sound(place, context, checks::after_crash);
    if let Err(error) = drive(place, &Shared::new(None)) {
        panic!("{context}: the run does not go on: {error} (in {})", place.folder.display());
    }
    sound(place, context, checks::finished);
}

/// Names of all operations of a whole run.
pub(crate) fn trace(folder: &Path, index: usize) -> Vec<String> {
    trace_of(&Place::new(&folder.join(format!("trace-{index}")), index))
}

/// The same of a run of the caller's.
pub(crate) fn trace_of(place: &Place) -> Vec<String> {
    let shared = Shared::new(None);
    drive(place, &shared).unwrap();
    shared.trace()
}

/// Kills a run at every operation: before, in the midst and after, and with all that was not synced gone. The second half of
/// a run is killed while it resumes as well.
pub(crate) fn at_every_point(thorough: bool) -> Vec<Done> {
    let folder = tempfile::tempdir().unwrap();
    let names = trace(folder.path(), 0);
    let (mut kills, mut number) = (0, 0);
    for (index, name) in names.iter().enumerate() {
        for (turn, fault) in Fault::KILLS.into_iter().enumerate() {
            // Half of a rename or a sync is no other state than before it, and after one operation is before the next.
            let told = name.starts_with("write") || !matches!(fault, Fault::KillHalf | Fault::KillAfter);
            if !(thorough || told) {
                continue;
            }
            number += 1;
            let place = Place::new(&folder.path().join(format!("{index}-{turn}")), number);
            let context = format!("{} at operation {index}, {name}, {}", fault.word(), place.controller);
            kills += usize::from(killed(start(&place, Some((index, fault)))));
            sound(&place, &context, checks::after_crash);
            if number.is_multiple_of(if thorough { 1 } else { 3 }) && place.run().join("config.toml").exists() {
                // A kill in the first operations of a resume, which mend what the first kill left.
                kills += usize::from(killed(start(&place, Some((number % 12, fault)))));
            }
            complete(&place, &context);
            if number.is_multiple_of(40) {
                checks::verified_by_command(&place);
            }
        }
    }
    vec![Done { what: "operations", count: names.len() }, Done { what: "kills survived", count: kills }]
}

/// Kills runs at times that nobody planned, until they are done.
pub(crate) fn at_random(most: usize, seed: u64) -> Vec<Done> {
    let folder = tempfile::tempdir().unwrap();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    };
    let whole = Place::new(&folder.path().join("whole"), 0);
    let started = Instant::now();
    assert!(!killed(start(&whole, None)));
    let usual = started.elapsed();
    let (mut kills, mut runs) = (0, 0);
    while kills < most {
        let place = Place::new(&folder.path().join(format!("run-{runs}")), runs);
        runs += 1;
        for process in 0..8 {
            let mut child = start(&place, None);
            std::thread::sleep(usual.mul_f64((next() % 1000) as f64 / 1000.0).min(Duration::from_secs(5)));
            child.kill().unwrap();
            if !killed(child) {
                break;
            }
            kills += 1;
            sound(&place, &format!("killed at random, run {runs}, process {process}"), checks::after_crash);
        }
        complete(&place, &format!("killed at random, run {runs}, seed {seed}"));
        std::fs::remove_dir_all(&place.folder).unwrap();
    }
    vec![Done { what: "runs", count: runs }, Done { what: "kills survived", count: kills }]
}
