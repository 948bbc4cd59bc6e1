//! Files torn at every byte of the last write.

use std::{collections::BTreeMap, path::Path};

use rldp_train::{checkpoint, files};

use crate::{
    Done, checks,
    disk::Shared,
    kills::{complete, sound},
    world::{Place, STEPS, drive},
};

type Folder = BTreeMap<String, Vec<u8>>;

fn read(place: &Place) -> Folder {
    let files = std::fs::read_dir(place.run()).unwrap().map(|entry| entry.unwrap().path());
    // Times lie in a folder of their own.
    let files = files.filter(|path| path.is_file()).chain([place.run().join(files::TIMING)]);
    let name = |path: &Path| path.strip_prefix(place.run()).unwrap().to_string_lossy().into_owned();
    let mut folder: Folder = files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect();
    folder.insert("../witness".into(), std::fs::read(place.witness()).unwrap());
    folder
}

fn write(place: &Place, folder: &Folder, name: &str, content: &[u8]) {
    let _ = std::fs::remove_dir_all(place.run());
    std::fs::create_dir_all(place.run()).unwrap();
    std::fs::create_dir_all(place.run().join(files::PRIVATE)).unwrap();
    for (file, bytes) in folder {
        std::fs::write(place.run().join(file), if file == name { content } else { bytes }).unwrap();
    }
}

/// A run that was stopped in the middle of it: its checkpoint knows the fourth step, its ledger and metrics the fifth.
fn cut_short(place: &Place) -> Folder {
    use crate::disk::Fault;
    let names = crate::kills::trace(&place.folder, 0);
    let last = names.iter().rposition(|name| name == "gradients").unwrap();
    let timing = names[last..].iter().position(|name| name == "write timing.jsonl").unwrap() + last;
    drive(place, &Shared::new(Some((timing, Fault::Fail(crate::disk::EIO))))).unwrap_err();
    read(place)
}

/// Tears ledger, metrics, times and checkpoint.
pub(crate) fn all() -> Vec<Done> {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), 0);
    let whole = cut_short(&place);
    assert_eq!(rldp_privacy::charged_steps(&checks::ledger(&place.run())).unwrap(), STEPS);
    let torn = ledger(&place, &whole) + records(&place, &whole) + saved(&place, &whole);
    vec![
        Done { what: "bytes torn", count: torn },
        Done { what: "rollbacks refused", count: rolled_back(&place, &whole) },
    ]
}

/// The next line of the ledger, of which a crash left every possible part. Its append never returned.
fn ledger(place: &Place, whole: &Folder) -> usize {
    let text = checks::ledger(&place.run());
    let last = text.lines().last().unwrap().as_bytes().to_vec();
    // The line that a sixth step would have written is as long as the fifth's.
    for length in 0..=last.len() {
        write(place, whole, files::LEDGER, &[text.as_bytes(), &last[..length]].concat());
        complete(place, &format!("ledger torn after {length} bytes of a line"));
    }
    last.len() + 1
}

/// Metrics and times are not synced line by line: a crash of the machine leaves any part, or zeros.
fn records(place: &Place, whole: &Folder) -> usize {
    let mut torn = 0;
    for name in [files::METRICS, files::TIMING] {
        let bytes = &whole[name];
        let line = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for length in line..bytes.len() {
            for filler in [0, bytes.len() - length] {
                let content = [&bytes[..length], &vec![0; filler]].concat();
                write(place, whole, name, &content);
                complete(place, &format!("{name} torn at byte {length}, {filler} zeros"));
                torn += 1;
            }
        }
    }
    torn
}

/// A checkpoint is replaced whole: a torn new one beside it is not looked at, a torn one in its place is refused.
fn saved(place: &Place, whole: &Folder) -> usize {
    let bytes = &whole[checkpoint::FILE];
    let path = place.run().join(checkpoint::FILE);
    write(place, whole, "", &[]);
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(checkpoint::load(&place.run()).is_err(), "a checkpoint of {length} bytes was taken for whole");
    }
    std::fs::write(&path, bytes).unwrap();
    for length in (0..=bytes.len()).step_by(97) {
        write(place, whole, "", &[]);
        std::fs::write(path.with_extension("partial"), &bytes[..length]).unwrap();
        complete(place, &format!("a new checkpoint torn after {length} bytes"));
    }
    bytes.len()
}

/// A ledger that lost whole lines, which no crash does, would refund: it is refused, and the folder stays as it was.
fn rolled_back(place: &Place, whole: &Folder) -> usize {
    let text = String::from_utf8(whole[files::LEDGER].clone()).unwrap();
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let mut refused = 0;
    for end in std::iter::once(0).chain(ends[..ends.len() - 1].iter().copied()) {
        write(place, whole, files::LEDGER, &text.as_bytes()[..end]);
        let error = drive(place, &Shared::new(None)).expect_err("a shortened ledger was accepted").to_string();
        assert!(error.contains("rolled back"), "{error}");
        let after = read(place);
        let changed = after
            .iter()
            .find(|(name, bytes)| *name != files::LEDGER && whole.get(*name).is_some_and(|old| old != *bytes));
        assert!(changed.is_none(), "a refused resume changed {:?}", changed.map(|(name, _)| name));
        refused += 1;
    }
    write(place, whole, "", &[]);
    sound(place, "restored", checks::after_crash);
    refused
}
