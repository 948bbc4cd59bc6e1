//! I/O calls that fail: the run stops with a word, and goes on when the disk is well again.

use crate::{
    Done,
    disk::{Fault, Shared},
    kills::{complete, trace},
    world::{Place, drive},
};

/// Fails every operation of a run in every way, and, when `thorough`, with both controllers.
pub(crate) fn all(thorough: bool) -> Vec<Done> {
    let folder = tempfile::tempdir().unwrap();
    let (mut failed, mut number) = (0, 0);
    for controller in 0..if thorough { 2 } else { 1 } {
        for (index, name) in trace(folder.path(), controller).iter().enumerate() {
            for fault in Fault::FAILURES {
                let applies = match fault {
                    Fault::Fail(_) => name != "gradients",
                    Fault::Short => name.starts_with("write"),
                    _ => name.starts_with("sync") && !name.starts_with("sync folder"),
                };
                if !applies {
                    continue;
                }
                number += 1;
                let place = Place::new(&folder.path().join(number.to_string()), controller);
                let context = format!("{} at operation {index}, {name}", fault.word());
                let Err(error) = drive(&place, &Shared::new(Some((index, fault)))) else {
                    panic!("{context}: the run went on as if nothing had happened");
                };
                assert!(error.to_string().contains("os error"), "{context}: the cause is not told: {error}");
                failed += 1;
                complete(&place, &context);
                std::fs::remove_dir_all(&place.folder).unwrap();
            }
        }
    }
    vec![Done { what: "calls failed", count: failed }]
}
