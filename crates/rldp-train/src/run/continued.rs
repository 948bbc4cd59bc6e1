//! Starting from an adapter that was trained before, and from a run that says what that cost.

use std::path::{Path, PathBuf};

use rldp_model::peft;
use rldp_privacy::{Bound, Claim, Earlier, until, verify};

use super::recorder::files;
use crate::{digest_of_file, error::TrainError, settings::ModelSettings};

/// The adapter to start from, when there is one.
pub(crate) fn start_folder(model: &ModelSettings) -> Option<PathBuf> {
    model.adapter.clone().or_else(|| model.after.as_ref().map(|run| run.join(files::ADAPTER)))
}

/// Says in a claim what the run starts from. Of a run that has `begun`, which keeps its claim, it is what that saw: the run before may have
/// been taken up again since.
///
/// # Errors
/// As [`earlier`], and when the adapter cannot be read.
pub(crate) fn declare_start(claim: &mut Claim, model: &ModelSettings, begun: Option<&Claim>) -> Result<(), TrainError> {
    // Runs from before claims named it go on without.
    if model.after.is_none() && begun.is_none_or(|begun| begun.start_adapter.is_some()) {
        let digest = |folder: &PathBuf| digest_of_file(&folder.join(peft::WEIGHTS));
        claim.start_adapter = model.adapter.as_ref().map(digest).transpose()?;
    }
    let seen = begun.and_then(|begun| begun.after.first()).map(|earlier| earlier.head.as_str());
    if let Some(earlier) = earlier(model, seen)? {
        claim.after.push(earlier);
        claim.validate()?;
    }
    Ok(())
}

/// The promise of the run that this one goes on from, when one was named; as it stood at the line `seen` of its ledger, or stands.
///
/// # Errors
/// When its ledger does not prove a promise, or the adapter to start from is not the one that the ledger binds.
fn earlier(model: &ModelSettings, seen: Option<&str>) -> Result<Option<Earlier>, TrainError> {
    let (Some(run), Some(start)) = (&model.after, start_folder(model)) else { return Ok(None) };
    let ledger = run.join(files::LEDGER);
    let text = fs_err::read_to_string(&ledger)
        .map_err(|error| refused(run, &format!("{} cannot be read ({error})", ledger.display())))?;
    let seen = seen.map_or(Ok(Some(text.as_str())), |head| until(&text, head));
    let Some(text) = seen.map_err(|error| refused(run, &error.to_string()))? else {
        return Err(refused(run, "its ledger has no longer the line that this run went on from; restore it"));
    };
    let found = verify(text);
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
