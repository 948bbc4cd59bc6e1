//! TensorBoard's events of a run that is still going.

use std::{
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use fs_err as fs;

use super::{scalars, tensorboard};
use crate::{
    error::LabError,
    run::{METRICS, RunFolder},
};

/// An event file that follows the metrics of a run: released and public values, and no others, since it reads nothing else.
pub struct LiveEvents {
    /// Of whose lines those that were not written yet are kept.
    run: RunFolder,
    /// Bytes of the metrics that were read.
    read: u64,
    file: fs::File,
}

impl LiveEvents {
    /// Begins `folder/<run>/events.out.tfevents.0.rldp` anew with what the run in `path` has so far.
    ///
    /// # Errors
    /// When the run cannot be read or the file cannot be written.
    pub fn begin(path: &Path, folder: &Path) -> Result<Self, LabError> {
        let run = RunFolder::before_metrics(path)?;
        let folder = folder.join(run.name());
        fs::create_dir_all(&folder)?;
        let mut file = fs::File::create(folder.join(tensorboard::FILE))?;
        file.write_all(&tensorboard::head())?;
        let mut events = Self { run, read: 0, file };
        events.follow()?;
        Ok(events)
    }

    /// Writes what the metrics have gained. TensorBoard sees it at once: nothing is held back.
    ///
    /// # Errors
    /// When the metrics cannot be read or the file cannot be written.
    pub fn follow(&mut self) -> Result<(), LabError> {
        let mut metrics = fs::File::open(self.run.path.join(METRICS))?;
        metrics.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        metrics.read_to_string(&mut text)?;
        self.read += self.run.read(&text)? as u64;
        self.file.write_all(&tensorboard::more(&scalars(&self.run)))?;
        self.file.flush()?;
        self.run.forget_lines();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// What was followed line by line is what the export says of the finished run; half a line waits for its other half.
    #[test]
    fn events_are_there_as_soon_as_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("one");
        fs::create_dir(&run).unwrap();
        for (name, text) in [("config.toml", ""), ("manifest.json", "{\"pairs\": [\"q\"]}"), ("ledger.jsonl", "")] {
            fs::write(run.join(name), text).unwrap();
        }
        let metrics = run.join(METRICS);
        append(&metrics, "{\"kind\":\"eval\",\"step\":0,\"perplexity\":7.5}\n");
        let out = folder.path().join("out");
        let mut live = LiveEvents::begin(&run, &out).unwrap();
        let file = out.join("one").join(tensorboard::FILE);
        let found = || tensorboard::tests::read(&fs::read(&file).unwrap());
        assert_eq!(found(), [(0, "eval/perplexity".to_owned(), 7.5)]);
        append(&metrics, "{\"kind\":\"eval\",\"step\":3,\"perp");
        live.follow().unwrap();
        assert_eq!(found().len(), 1);
        append(&metrics, "lexity\":6.5}\n");
        live.follow().unwrap();
        live.follow().unwrap();
        assert_eq!(found()[1..], [(3, "eval/perplexity".to_owned(), 6.5)]);
        super::super::write_tensorboard(&RunFolder::open(&run).unwrap(), &folder.path().join("after")).unwrap();
        let after = fs::read(folder.path().join("after/one").join(tensorboard::FILE)).unwrap();
        assert_eq!(found(), tensorboard::tests::read(&after));
    }
}
