//! Starting from an adapter that was trained before, and from a run that says what that cost.

use std::path::{Path, PathBuf};

use rldp_privacy::{Bound, Earlier, verify};

use super::recorder::files;
use crate::{digest_of_file, error::TrainError, settings::ModelSettings};

/// The adapter to start from, when there is one.
pub(crate) fn start_folder(model: &ModelSettings) -> Option<PathBuf> {
    model.adapter.clone().or_else(|| model.after.as_ref().map(|run| run.join(files::ADAPTER)))
}

/// The promise of the run that this one goes on from, when one was named.
///
/// # Errors
/// When its ledger does not prove a promise, or the adapter to start from is not the one that the ledger binds.
pub(crate) fn earlier(model: &ModelSettings) -> Result<Option<Earlier>, TrainError> {
    let (Some(run), Some(start)) = (&model.after, start_folder(model)) else { return Ok(None) };
    let ledger = run.join(files::LEDGER);
    let text = fs_err::read_to_string(&ledger)
        .map_err(|error| refused(run, &format!("{} cannot be read ({error})", ledger.display())))?;
    let found = verify(&text);
    let bound = found.bound.clone();
    let earlier = Earlier::of(found).map_err(|error| refused(run, &error.to_string()))?;
    let (Bound::Closed(digests) | Bound::Paused(digests)) = bound else {
        return Err(refused(
            run,
            "it did not come to an end, so nothing binds its adapter; `rldp train --resume` finishes it",
        ));
    };
    for (name, digest) in &digests {
        let Some(file) = Path::new(name).strip_prefix(files::ADAPTER).ok() else { continue };
        if digest_of_file(&start.join(file))? != *digest {
            return Err(refused(
                run,
                &format!("{} is not the {name} that its ledger binds", start.join(file).display()),
            ));
        }
    }
    Ok(Some(earlier))
}

fn refused(run: &Path, why: &str) -> TrainError {
    TrainError::Refused(format!(
        "{} is no run to go on from with a promise of both: {why}; --adapter starts from an adapter and says nothing of what it learned before",
        run.display()
    ))
}
