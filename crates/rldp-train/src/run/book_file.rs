//! The budget book as a file: locked while it is read and written, so that two runs cannot both take what is left for one.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use fs_err as fs;
use rldp_privacy::{
    Claim, Earlier, LedgerSink,
    book::{Book, Item, Limit},
};
use serde_json::{Value, json};

use super::{
    manifest::{Birth, started},
    provenance::Source,
    recorder::files,
    storage::same_place,
};
use crate::{error::TrainError, settings::TrainSettings};

/// A book that nobody else can write while this lives.
pub struct BookFile {
    path: PathBuf,
    book: Book,
    file: std::fs::File,
}

struct Lines(std::fs::File);

impl LedgerSink for Lines {
    fn append(&mut self, line: &str) -> io::Result<()> {
        self.0.write_all(format!("{line}\n").as_bytes())?;
        self.0.sync_all()
    }
}

impl BookFile {
    /// Begins a book.
    ///
    /// # Errors
    /// When the file exists, the limit is out of range, or it cannot be written.
    pub fn create(path: &Path, limit: Limit) -> Result<(), TrainError> {
        if path.exists() {
            return Err(TrainError::Refused(format!("{} exists; a book's limit cannot be changed", path.display())));
        }
        let file = fs::OpenOptions::new().append(true).create_new(true).open(path)?.into_parts().0;
        Ok(Book::open(limit, Box::new(Lines(file)))?)
    }

    /// Opens a book, waiting for whoever writes it, and checks its chain.
    ///
    /// # Errors
    /// When it is not there or damaged.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        if !path.exists() {
            return Err(TrainError::Refused(format!(
                "there is no book {0}; `rldp privacy book {0} --epsilon E --delta D` begins one with its limit",
                path.display()
            )));
        }
        let file = fs::OpenOptions::new().read(true).append(true).open(path)?.into_parts().0;
        file.lock()?;
        let book = Book::read(&fs::read_to_string(path)?)?;
        Ok(Self { path: path.to_owned(), book, file })
    }

    /// What stands in it.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Enters an item, durably.
    ///
    /// # Errors
    /// When it would pass the limit, or the file cannot be written.
    pub fn enter(&mut self, item: Item) -> Result<(), TrainError> {
        let sink = Lines(self.file.try_clone()?);
        Ok(self.book.enter(item, Box::new(sink))?)
    }

    /// Enters that an audit reads the coins of `run`.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub fn enter_audit(&mut self, run: &Path) -> Result<(), TrainError> {
        self.enter(Item::Audit { run: run.display().to_string(), time: started() })
    }
}

/// A run that a book admits, and that enters just before it starts.
pub(super) struct PendingEntry {
    file: BookFile,
    items: Vec<Item>,
    runs: usize,
    epsilon: f64,
}

/// Opens the book of the settings, if they name one, and asks whether there is room for the run.
pub(super) fn admitted(
    settings: &TrainSettings,
    claim: &Claim,
    birth: &Birth,
    policy: Option<&Source>,
) -> Result<Option<PendingEntry>, TrainError> {
    let Some(path) = &settings.output.book else { return Ok(None) };
    let file = BookFile::open(path)?;
    let before = not_entered(settings, claim, &file.book, &birth.time);
    let claims: Vec<&Claim> = before.iter().map(|(_, claim)| *claim).chain([claim]).collect();
    let epsilon = file.book.would(&claims)?;
    let (id, time) = (birth.id.clone(), birth.time.clone());
    let learned = policy.map(|source| Item::Policy {
        id: id.clone(),
        learned_by: source.run.clone(),
        statement: source.statement.clone(),
        time: time.clone(),
    });
    let run = Item::Run { id, run: settings.output.out.display().to_string(), time, claim: Box::new(claim.clone()) };
    let runs = claims.len() + file.book.items.iter().filter(|item| matches!(item, Item::Run { .. })).count();
    let items = before.into_iter().map(|(item, _)| item).chain(learned).chain([run]).collect();
    Ok(Some(PendingEntry { file, items, runs, epsilon }))
}

/// The runs that this one goes on from and the book has not got: what they spent is spent on the same people. Where the folder of one is not
/// found, it enters by its ledger; should the book have it by its number as well, it counts twice.
fn not_entered<'a>(settings: &TrainSettings, claim: &'a Claim, book: &Book, time: &str) -> Vec<(Item, &'a Claim)> {
    let mut found = Vec::new();
    let mut folder = settings.model.after.clone();
    // The last one first, as folders name each other.
    for Earlier { head, claim } in claim.earlier().into_iter().rev() {
        let manifest = folder.as_deref().map_or(Value::Null, manifest_of);
        let by_ledger = format!("of ledger {head}");
        let id = manifest["id"].as_str().map_or_else(|| by_ledger.clone(), str::to_owned);
        if !book.has_run(&id) && !book.has_run(&by_ledger) {
            let run = folder.as_deref().map_or_else(|| "unknown".to_owned(), |folder| folder.display().to_string());
            let item = Item::Run { id, run, time: time.to_owned(), claim: Box::new(claim.clone()) };
            found.push((item, claim));
        }
        folder = folder.and_then(|folder| before(&folder, &manifest));
    }
    found.reverse();
    found
}

fn manifest_of(run: &Path) -> Value {
    let text = fs::read_to_string(run.join(files::MANIFEST)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The folder of the run that `run` goes on from; a relative one is meant from where `run` was started.
fn before(run: &Path, manifest: &Value) -> Option<PathBuf> {
    let settings = TrainSettings::from_toml(&fs::read_to_string(run.join(files::CONFIG)).ok()?).ok()?;
    let started_from = run.join(manifest["started_from"].as_str().unwrap_or_default());
    settings.model.after.map(|after| started_from.join(after))
}

impl PendingEntry {
    /// What the manifest says of it.
    pub(super) fn summary(&self) -> Value {
        json!({
            "file": self.file.path.display().to_string(),
            "runs": self.runs,
            "epsilon": self.epsilon,
            "delta": self.file.book.limit.delta,
            "limit": self.file.book.limit.epsilon,
        })
    }

    /// Enters it. From here on it is spent.
    pub(super) fn enter(mut self) -> Result<(), TrainError> {
        for item in std::mem::take(&mut self.items) {
            self.file.enter(item)?;
        }
        Ok(())
    }
}

/// A run enters its book before its first step, or never: one that goes on cannot be moved into another.
///
/// # Errors
/// When `settings` name another book than those that the run has `begun` with, which may be meant from where it was started.
pub(super) fn refuse_another(begun: &TrainSettings, settings: &TrainSettings) -> Result<(), TrainError> {
    let (before, now) = (&begun.output.book, &settings.output.book);
    let run = &settings.output.out;
    let started_from = run.join(manifest_of(run)["started_from"].as_str().unwrap_or_default());
    let from = fs::canonicalize(&started_from).unwrap_or(started_from);
    let same = |(before, now): (&PathBuf, &PathBuf)| same_place(&from.join(before), now);
    if before == now || before.as_ref().zip(now.as_ref()).is_some_and(same) {
        return Ok(());
    }
    let words =
        |book: &Option<PathBuf>| book.as_ref().map_or_else(|| "not set".into(), |book| book.display().to_string());
    Err(TrainError::Refused(format!(
        "`output.book` was {} when the run began and is {} now; a run enters its book before its first step: resume without it, or start \
         a new run",
        words(before),
        words(now)
    )))
}

/// Enters a run whose ledger did not begin before it was killed.
pub(super) fn enter_again(settings: &TrainSettings, claim: &Claim) -> Result<(), TrainError> {
    let birth = Birth::at(started(), claim, &settings.output.out);
    admitted(settings, claim, &birth, None)?.map_or(Ok(()), PendingEntry::enter)
}
