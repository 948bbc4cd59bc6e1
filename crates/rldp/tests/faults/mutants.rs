//! Bugs planted on purpose: a harness that does not find them would not find others.

use std::{io, path::Path, sync::Arc};

use rldp_train::{
    files,
    storage::{Storage, Written},
};

use crate::{
    Done, checks,
    disk::{ENOSPC, Fault, FaultyDisk, Shared},
    kills::{trace, trace_of},
    world::{Place, drive, drive_on},
};

/// A ledger that says it is durable and is not there.
struct Forgetful(FaultyDisk);

struct Nothing;

impl Written for Nothing {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Files written in place instead of beside and moved over.
struct InPlace(FaultyDisk);

impl Storage for Forgetful {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Written>> {
        self.0.create(path)
    }

    fn reopen(&self, path: &Path, length: u64) -> io::Result<Box<dyn Written>> {
        let file = self.0.reopen(path, length)?;
        Ok(if path.ends_with(files::LEDGER) { Box::new(Nothing) } else { file })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
}

impl Storage for InPlace {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Written>> {
        self.0.create(&if path.ends_with("checkpoint.partial") { path.with_extension("bin") } else { path.to_owned() })
    }

    fn reopen(&self, path: &Path, length: u64) -> io::Result<Box<dyn Written>> {
        self.0.reopen(path, length)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.ends_with("checkpoint.partial") { Ok(()) } else { self.0.rename(from, to) }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
}

/// Plants each bug and expects the check that finds it.
pub(crate) fn all() -> Vec<Done> {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| Place::new(&folder.path().join(name), 0);
    let names = trace(folder.path(), 0);
    let disk = |shared: &Arc<Shared>| FaultyDisk { shared: Arc::clone(shared) };
    let found = |place: &Place, check: fn(&Place) -> Result<(), String>, words: &str| {
        let fault = check(place).expect_err("a planted bug was not found");
        assert!(fault.contains(words), "{fault}");
    };

    let forgetful = place("forgetful");
    let shared = Shared::new(None);
    drive_on(&forgetful, &shared, Arc::new(Forgetful(disk(&shared)))).unwrap();
    found(&forgetful, checks::after_crash, "0 steps are charged");

    // A run that promises nothing says so in its metrics, so its operations are counted anew.
    let names_seeded = trace_of(&Place { seeded: true, ..place("seeded-trace") });
    let seeded = Place { seeded: true, ..place("seeded") };
    let stop = names_seeded.iter().enumerate().filter(|(_, name)| *name == "gradients").nth(2).unwrap().0;
    let first_write_after = names_seeded[stop..].iter().position(|name| name.starts_with("write")).unwrap() + stop;
    drive(&seeded, &Shared::new(Some((first_write_after, Fault::Fail(ENOSPC))))).unwrap_err();
    drive(&seeded, &Shared::new(None)).unwrap();
    found(&seeded, checks::finished, "released before");

    let in_place = place("in-place");
    let second = names.iter().enumerate().filter(|(_, name)| *name == "write checkpoint.partial").nth(4).unwrap().0;
    let shared = Shared::new(Some((second, Fault::Short)));
    drive_on(&in_place, &shared, Arc::new(InPlace(disk(&shared)))).unwrap_err();
    found(&in_place, checks::after_crash, "checkpoint");
    vec![Done { what: "planted, all found", count: 3 }]
}
