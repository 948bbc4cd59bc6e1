//! What must not be private, and is refused when it is: evaluation records that are training records, and units beyond a declared
//! number. Messages never say how many.

use std::{io, path::Path};

use fs_err as fs;
use rldp_data::{TokenRecord, is_in_memory, is_standard_input};
use rldp_privacy::{PublicFile, claim_of, digest_of};

use crate::{
    error::TrainError,
    run::{closing::digest_of_file, recorder::files},
    settings::TrainSettings,
};

/// Refuses an evaluation file that is the training file, by its place on disk or by what it holds.
pub(crate) fn refuse_same_file(train: &Path, eval: &Path) -> Result<(), TrainError> {
    let no_file = |path: &Path| is_standard_input(path) || is_in_memory(path);
    if no_file(train) || no_file(eval) || !same_file(train, eval)? {
        return Ok(());
    }
    Err(same(train, eval, "file"))
}

/// The same of a table in memory, which is known by what its records hold.
pub(crate) fn refuse_same_records(
    train: &Path,
    private: &[TokenRecord],
    eval: &Path,
    public: &[TokenRecord],
) -> Result<(), TrainError> {
    let contents = |records: &[TokenRecord]| records.iter().map(|record| record.content).collect::<Vec<_>>();
    if contents(private) == contents(public) { Err(same(train, eval, "table")) } else { Ok(()) }
}

fn same(train: &Path, eval: &Path, what: &str) -> TrainError {
    TrainError::Refused(format!(
        "--eval {} is the training {what} {}: perplexity on it would write exact losses of private records into the metrics; name a \
         {what} of public records, or none",
        eval.display(),
        train.display()
    ))
}

fn same_file(one: &Path, two: &Path) -> Result<bool, TrainError> {
    let (first, second) = (fs::metadata(one)?, fs::metadata(two)?);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if (first.dev(), first.ino()) == (second.dev(), second.ino()) {
            return Ok(true);
        }
    }
    if fs::canonicalize(one)? == fs::canonicalize(two)? {
        return Ok(true);
    }
    let read = |path: &Path| -> io::Result<String> { digest_of(fs::File::open(path)?) };
    Ok(first.len() == second.len() && first.is_file() && second.is_file() && read(one)? == read(two)?)
}

/// Why evaluation records that stand among the training records, word for word, are refused.
pub(crate) fn shared_eval(settings: &TrainSettings, eval: &Path) -> TrainError {
    let (what, way_out) = if settings.control.public_probe {
        ("would reward the controller by exact losses of private records", "take them out, or leave out --public-probe")
    } else {
        (
            "would write exact losses of private records into the metrics",
            "take them out of one of the two; if those records are public, --allow-shared-eval trains all the same, and the claim then \
             says that it does not cover the figures of --eval",
        )
    };
    TrainError::Refused(format!(
        "--eval {} holds records that --train holds too (how many is private): perplexity on them {what}; {way_out}",
        eval.display()
    ))
}

/// Refuses private records from a file that a run before this one declared public: they were learned without noise.
pub(crate) fn refuse_declared_public(settings: &TrainSettings) -> Result<(), TrainError> {
    let Some(run) = &settings.model.after else { return Ok(()) };
    // A ledger that holds no claim is refused where the claim of this run is made.
    let Some(before) = claim_of(&fs::read_to_string(run.join(files::LEDGER)).unwrap_or_default()) else {
        return Ok(());
    };
    let public: Vec<&PublicFile> = before.with_earlier().into_iter().flat_map(|claim| &claim.public_text).collect();
    let was_public = |digest: &str| public.iter().any(|file| file.sha256 == digest);
    for path in settings.data.train.paths().iter().filter(|path| !is_standard_input(path) && !is_in_memory(path)) {
        if !public.is_empty() && was_public(&digest_of_file(path)?) {
            return Err(TrainError::Refused(format!(
                "--train {} was declared public text by a run that {} goes on from, or by that run itself, and was learned without noise; \
                 train on other records, or start without --after",
                path.display(),
                run.display()
            )));
        }
    }
    Ok(())
}

/// Refuses a file of more units than were declared.
pub(crate) fn refuse_more_units(found: usize, declared: u64) -> Result<(), TrainError> {
    if found as u64 <= declared {
        return Ok(());
    }
    Err(TrainError::Refused(format!(
        "the training file holds more than the {declared} units that --units declares; declare a larger public number, or leave \
         units out"
    )))
}

/// What looks wrong about units: few people with very many records. Names that differ in their spelling only are told apart, or
/// refused, where records are read.
pub(crate) fn unit_warnings(records: usize, column: Option<&str>, units: usize) -> Vec<String> {
    const MANY_RECORDS: usize = 20;
    match column {
        Some(column) if records > MANY_RECORDS * units => {
            vec![format!("{units} units in {records} records: is `{column}` really what tells people apart?")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_file_is_known_under_any_name_and_by_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let [one, copy, other] = ["one.csv", "copy.csv", "other.csv"].map(|name| folder.path().join(name));
        fs::write(&one, "text\na\n").unwrap();
        fs::write(&copy, "text\na\n").unwrap();
        fs::write(&other, "text\nb\n").unwrap();
        let roundabout = folder.path().join(".").join("one.csv");
        for (eval, refused) in [(&one, true), (&roundabout, true), (&copy, true), (&other, false)] {
            assert_eq!(refuse_same_file(&one, eval).is_err(), refused, "{}", eval.display());
        }
        #[cfg(unix)]
        {
            let link = folder.path().join("link.csv");
            std::os::unix::fs::symlink(&one, &link).unwrap();
            assert!(refuse_same_file(&one, &link).is_err());
        }
    }

    #[test]
    fn few_units_of_many_records_are_said() {
        assert!(unit_warnings(40, Some("patient"), 2).is_empty() && unit_warnings(900, None, 1).is_empty());
        assert!(unit_warnings(42, Some("patient"), 2)[0].contains("2 units in 42 records"));
    }
}
