//! What binds a run's files to its ledger: their digests, in the line that a process ends with.

use std::{io, path::Path};

use fs_err as fs;
use rldp_privacy::{Digests, digest_of};

use super::{Run, recorder::files};

/// Folders of a run whose every file is bound.
const FOLDERS: [&str; 3] = [files::ADAPTER, files::POLICY, files::PUBLIC];
/// Files that are bound whenever a process ends.
const ALWAYS: [&str; 1] = [files::MANIFEST];
/// Files that a resumed run goes on writing: bound when it closes.
const AT_THE_END: [&str; 2] = [files::CONFIG, files::METRICS];

/// SHA-256 of a file.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of_file(path: &Path) -> io::Result<String> {
    digest_of(fs::File::open(path)?)
}

/// Names in the run folder of what a ledger binds and is there now: every file of adapter, policy and the warm-up on public text, manifest, and when the run has
/// `closed`, settings and metrics.
///
/// # Errors
/// When a folder cannot be read.
pub fn bound_files(run: &Path, closed: bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in FOLDERS.iter().filter(|folder| run.join(folder).is_dir()) {
        for entry in fs::read_dir(run.join(folder))? {
            names.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    let single = ALWAYS.iter().chain(if closed { &AT_THE_END[..] } else { &[] });
    names.extend(single.filter(|name| run.join(name).exists()).map(ToString::to_string));
    names.sort();
    Ok(names)
}

impl Run {
    /// Digests of the base model and of what was written: all of it when the run has `finished`.
    pub(super) fn digests(&self, finished: bool) -> io::Result<Digests> {
        let folder = self.recorder.folder();
        let mut digests = self.base_digests.clone();
        for name in bound_files(folder, finished)? {
            let digest = digest_of_file(&folder.join(&name))?;
            digests.insert(name, digest);
        }
        Ok(digests)
    }
}
