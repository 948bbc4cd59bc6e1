//! The file layer of a run. Everything durable goes through [`Storage`], so that tests can put a failing disk in its place.

use std::{
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use fs_err as fs;

/// What a run asks of a disk.
pub trait Storage: Send + Sync {
    /// Creates a file, or empties it.
    ///
    /// # Errors
    /// The operating system's; the message names the file. So it is for all of these.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Written>>;

    /// Opens a file, created when absent, for appending after its first `length` bytes. What follows them is cut off, and
    /// they are durable when this returns, also when a sync of them had failed before.
    ///
    /// # Errors
    /// As [`Storage::create`].
    fn reopen(&self, path: &Path, length: u64) -> io::Result<Box<dyn Written>>;

    /// Moves a file over another.
    ///
    /// # Errors
    /// As [`Storage::create`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes names in a folder durable.
    ///
    /// # Errors
    /// As [`Storage::create`].
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// An open file that is only written.
pub trait Written: Send {
    /// Writes all of `bytes`, or a part of them and an error.
    ///
    /// # Errors
    /// The operating system's.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything written survives a crash.
    ///
    /// # Errors
    /// The operating system's. What was written may be lost then.
    fn sync(&mut self) -> io::Result<()>;
}

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

/// Bytes before the end that [`Disk::reopen`] writes again: more than the last line, the only one whose sync can have failed.
const REWRITTEN: u64 = 1 << 16;

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Written>> {
        Ok(Box::new(fs::File::create(path)?))
    }

    fn reopen(&self, path: &Path, length: u64) -> io::Result<Box<dyn Written>> {
        let mut file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // After a failed sync the system may hold pages for written that are not: writing the same bytes again makes it try.
        let start = length.saturating_sub(REWRITTEN);
        let mut tail = vec![0; (length - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut tail)?;
        file.seek(SeekFrom::Start(start))?;
        file.write_all(&tail)?;
        file.set_len(length)?;
        file.sync_all()?;
        drop(file);
        Ok(Box::new(fs::OpenOptions::new().append(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if cfg!(unix) {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl Written for fs::File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Writes `parts` to a temporary neighbour, syncs it and moves it over `path`. On failure `path` is what it was.
///
/// # Errors
/// When the file cannot be written; the message names it.
pub fn replace(storage: &dyn Storage, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension("partial");
    if let Err(error) = write_synced(storage, &temporary, parts).and_then(|()| storage.rename(&temporary, path)) {
        // What could not be written whole is of no use; that it may not be there to remove is no second error.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    storage.sync_folder(folder_of(path))
}

/// Whether two names are of one file or folder that is there, or the same words.
pub fn same_place(one: &Path, other: &Path) -> bool {
    one == other || fs::canonicalize(one).is_ok_and(|one| fs::canonicalize(other).is_ok_and(|other| one == other))
}

/// The folder that a path lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_synced(storage: &dyn Storage, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = storage.create(path)?;
    for part in parts {
        file.write(part)?;
    }
    file.sync()
}

/// Length of the whole lines at the beginning of `bytes`: a crash while a line is written leaves a part of it.
pub(crate) fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_reopened_after_its_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for (length, torn) in [(0, "ab"), (3, ""), (3, "x"), (200_000, "tail")] {
            let whole = "abc".repeat(length / 3 + 1)[..length].to_owned();
            fs::write(&path, format!("{whole}{torn}")).unwrap();
            let mut file = Disk.reopen(&path, length as u64).unwrap();
            file.write(b"next\n").unwrap();
            file.sync().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{whole}next\n"));
        }
        assert_eq!(whole_lines(b"one\ntwo\nth"), 8);
        assert_eq!((whole_lines(b""), whole_lines(b"half")), (0, 0));
    }
}
