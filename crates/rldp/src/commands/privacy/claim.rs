//! What a run folder says of itself: its ledger replayed, and compared with settings, manifest and files. The same on every machine
//! that has the folder.

use std::{collections::BTreeSet, io, path::Path};

use anyhow::Result;
use fs_err as fs;
use rldp_lab::export::CARD;
use rldp_privacy::{Bound, Claim, Digests, Guarantee, Regime, Verification, verify as verify_ledger};
use rldp_train::{
    bound_files, digest_of_file, files, last_recorded_step,
    settings::{RegimeKind, TrainSettings},
};

use crate::{base, exit::Wrong};

/// Replays a run's ledger and compares its claim with what lies beside it.
pub(crate) fn check_claim(run: &Path) -> Result<Verification> {
    let mut found = verify_ledger(&read_ledger(run)?);
    match settings_of(run) {
        Err(reason) => found.check("settings", false, reason),
        Ok(settings) => {
            let differences = found.claim.as_ref().map_or_else(Vec::new, |claim| differences(claim, &settings));
            let detail = if differences.is_empty() {
                format!("the claim is what {} asks for", files::CONFIG)
            } else {
                differences.join("; ")
            };
            found.check("settings", differences.is_empty(), detail);
            check_units(&mut found, &settings, &run.join(files::MANIFEST));
        }
    }
    // What a run released must not be ahead of its ledger.
    let recorded = last_recorded_step(run).map_err(Wrong::input)?;
    let charged = found.steps;
    found.check("metrics", recorded <= charged, format!("they speak of step {recorded}, the ledger charges {charged}"));
    check_files(&mut found, run)?;
    Ok(found)
}

/// The text of a ledger. A crash may leave a part of a letter at the end; anything else that is no text fails its line's hash.
pub(super) fn read_ledger(run: &Path) -> Result<String> {
    let path = run.join(files::LEDGER);
    if !path.exists() {
        let what = if run.is_dir() {
            "is not there: the folder holds no run, or its ledger was taken away. Without it nothing is known of what was spent, and \
             no claim can be made"
        } else {
            "cannot be read: there is no such run folder"
        };
        anyhow::bail!(Wrong::input(anyhow::anyhow!("{} {what}", path.display())));
    }
    Ok(String::from_utf8_lossy(&fs::read(&path).map_err(Wrong::input)?).into_owned())
}

/// The settings of a run, or why there are none.
pub(super) fn settings_of(run: &Path) -> Result<TrainSettings, String> {
    let text = match fs::read_to_string(run.join(files::CONFIG)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(format!("{} is not there", files::CONFIG)),
        Err(error) => return Err(error.to_string()),
    };
    TrainSettings::from_toml(&text).map_err(|error| format!("{} cannot be read: {}", files::CONFIG, error.message()))
}

/// Compares the files of the folder with what the ledger's last line says of them.
fn check_files(found: &mut Verification, run: &Path) -> Result<()> {
    let steps = found.steps;
    let released = bound_files(run, false).map_err(Wrong::input)?;
    let released = released.iter().any(|name| [files::ADAPTER, files::POLICY].iter().any(|folder| is_in(name, folder)));
    let (passed, detail, bound) = match found.bound.clone() {
        Bound::Closed(digests) => (true, "the run came to its end, and its last line binds its files".to_owned(), Some(digests)),
        Bound::Paused(digests) => {
            (true, format!("NOT CLOSED: it was stopped and may go on; {steps} steps are charged so far"), Some(digests))
        }
        Bound::Unbound => (
            false,
            "it was closed by an earlier version, which bound no files: nothing says that adapter, policy and metrics are this run's"
                .to_owned(),
            None,
        ),
        Bound::Nothing if released => (
            false,
            "NOT CLOSED: the run was killed, or its ledger was cut off: nothing says that adapter and policy are this run's; \
             finish it with `rldp train --resume`"
                .to_owned(),
            None,
        ),
        Bound::Nothing => (true, format!("NOT CLOSED: {steps} steps are charged, and neither adapter nor policy is released"), None),
    };
    found.check("closed", passed, detail);
    let Some(mut bound) = bound else { return Ok(()) };
    bound.retain(|name, _| !name.starts_with(base::PREFIX));
    let warmed = found.claim.as_ref().is_some_and(|claim| !claim.public_text.is_empty());
    let faults = differing_files(run, &bound, found.closed, warmed).map_err(Wrong::input)?;
    let detail = if faults.is_empty() {
        format!("{} files are those that the ledger names", bound.len())
    } else {
        faults.join("; ")
    };
    found.check("files", faults.is_empty(), detail);
    Ok(())
}

/// Name of the model card in an exported run.
pub(super) fn card() -> String {
    format!("{}/{CARD}", files::ADAPTER)
}

/// Whether a file of a run lies in this folder of it.
fn is_in(name: &str, folder: &str) -> bool {
    name.split('/').next() == Some(folder)
}

/// What is wrong with the files that a ledger binds, one fault each.
fn differing_files(run: &Path, bound: &Digests, closed: bool, warmed: bool) -> io::Result<Vec<String>> {
    let mut there = bound_files(run, closed)?;
    // The card of an exported run follows from the rest, and has a check of its own.
    there.retain(|name| *name != card());
    // Earlier versions did not bind what a warm-up on public text left.
    if warmed && !bound.keys().any(|name| is_in(name, files::PUBLIC)) {
        there.retain(|name| !is_in(name, files::PUBLIC));
    }
    let names: BTreeSet<&str> = bound.keys().map(String::as_str).chain(there.iter().map(String::as_str)).collect();
    let mut faults = Vec::new();
    for name in names {
        let path = run.join(name);
        match bound.get(name) {
            None => faults.push(format!("{name} is no file of this run")),
            Some(_) if !path.exists() => faults.push(format!("{name} is not there")),
            Some(digest) if *digest != digest_of_file(&path)? => {
                faults.push(format!("{name} is not what the run wrote"));
            }
            Some(_) => {}
        }
    }
    Ok(faults)
}

/// Where the ledger's claim is not the one that the settings ask for.
fn differences(claim: &Claim, settings: &TrainSettings) -> Vec<String> {
    let privacy = &settings.privacy;
    let regime = match claim.regime {
        Regime::Committed { .. } => RegimeKind::Committed,
        Regime::Deck { .. } => RegimeKind::Deck,
        Regime::Adaptive { .. } => RegimeKind::Adaptive,
        Regime::NonPrivate => privacy.regime,
    };
    let unit = settings.data.unit_words();
    let pairs = [
        ("epsilon", format!("{:?}", claim.target_epsilon), format!("{:?}", privacy.epsilon)),
        ("delta", format!("{:?}", claim.delta), format!("{:?}", privacy.delta)),
        ("steps", claim.steps.to_string(), privacy.steps.to_string()),
        ("other_steps", claim.other_steps.to_string(), privacy.other_steps.to_string()),
        ("noise_bands", claim.noise_bands.to_string(), privacy.noise_bands.unwrap_or(1).to_string()),
        ("batch_size", format!("{:?}", claim.expected_batch_size), format!("{:?}", privacy.batch_size)),
        ("regime", format!("{regime:?}"), format!("{:?}", privacy.regime)),
        ("unit", claim.unit.clone(), unit.clone()),
        ("after", (!claim.after.is_empty()).to_string(), settings.model.after.is_some().to_string()),
        (
            "guarantee",
            (claim.guarantee == Guarantee::Holds).to_string(),
            settings.unsafe_reasons().is_empty().to_string(),
        ),
        (
            "unsafe_non_private",
            (claim.regime == Regime::NonPrivate).to_string(),
            privacy.unsafe_non_private.to_string(),
        ),
    ];
    let differing = pairs.into_iter().filter(|(_, claimed, asked)| claimed != asked);
    differing.map(|(name, claimed, asked)| format!("{name}: claimed {claimed}, the settings ask for {asked}")).collect()
}

/// The sampling rate must be the batch size over the number of units that the manifest names.
fn check_units(found: &mut Verification, settings: &TrainSettings, manifest: &Path) {
    let read = fs::read_to_string(manifest).ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    // Where coins decide who is trained on, the expected number counts.
    let units = read.and_then(|manifest| manifest["expected_units"].as_f64().or_else(|| manifest["units"].as_f64()));
    let claimed = found.claim.as_ref().map(|claim| claim.sampling_rate);
    let asked = units.map(|units| settings.privacy.batch_size / units);
    let detail = match (claimed, asked) {
        (Some(claimed), Some(asked)) => {
            format!("claimed {claimed}, {asked} by the manifest's {} units", units.unwrap_or_default())
        }
        _ => format!("there is no number of units in {}", manifest.display()),
    };
    found.check("sampling rate", claimed.is_some() && claimed == asked, detail);
}
