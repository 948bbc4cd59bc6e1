//! The files that a run reads its records from.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rldp_data::is_standard_input;
use serde::{Deserialize, Serialize};

/// One file or several, whose records are one after another; written as a text or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMore", into = "OneOrMore")]
pub struct RecordFiles(Vec<PathBuf>);

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(PathBuf),
    More(Vec<PathBuf>),
}

impl From<OneOrMore> for RecordFiles {
    fn from(files: OneOrMore) -> Self {
        match files {
            OneOrMore::One(file) => Self(vec![file]),
            OneOrMore::More(files) => Self(files),
        }
    }
}

impl From<RecordFiles> for OneOrMore {
    fn from(RecordFiles(mut files): RecordFiles) -> Self {
        if files.len() == 1 { Self::One(files.remove(0)) } else { Self::More(files) }
    }
}

impl<T: Into<PathBuf>> From<T> for RecordFiles {
    fn from(file: T) -> Self {
        Self(vec![file.into()])
    }
}

impl RecordFiles {
    /// The files, in order.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// The same files at the paths that `place` gives them.
    #[must_use]
    pub fn located(&self, place: impl Fn(&Path) -> PathBuf) -> Self {
        Self(self.0.iter().map(|file| place(file)).collect())
    }

    /// Whether records come from standard input.
    pub fn has_standard_input(&self) -> bool {
        self.0.iter().any(|file| is_standard_input(file))
    }

    /// The first file, by which errors about all of them name them.
    pub fn first(&self) -> &Path {
        self.0.first().map_or(Path::new(""), PathBuf::as_path)
    }
}

impl fmt::Display for RecordFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, file) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index > 0 { ", " } else { "" }, file.display())?;
        }
        Ok(())
    }
}
