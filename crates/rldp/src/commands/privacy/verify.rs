//! `rldp privacy verify`: what a folder says of itself, and what this machine and a signature add.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use fs_err as fs;
use rldp_privacy::{
    Bound, Digests, Verification,
    sign::{Seal, check_signature},
};
use rldp_train::{checkpoint, digest_of_file, files};

use super::{
    super::{export, print_json, print_line, report},
    claim::{card, check_claim, read_ledger, settings_of},
    sign::{SEAL, SIGNATURE},
};
use crate::{base, cli::VerifyArguments, exit::Wrong, origin::Origin};

pub(crate) fn verify(arguments: &VerifyArguments) -> Result<ExitCode> {
    let key = arguments.public_key.as_ref().map(|path| fs::read_to_string(path).map_err(Wrong::input)).transpose()?;
    let found = verify_run(&arguments.run, key.as_deref())?;
    if arguments.json {
        print_json(&found)?;
        return Ok(exit_code(&found));
    }
    print_line(&found.statement)?;
    for check in &found.checks {
        print_line(&format!("{} {:<16} {}", if check.passed { "ok  " } else { "FAIL" }, check.name, check.detail))?;
    }
    if found.signed_by.is_none() {
        print_line(
            "Not signed: this shows what was changed by accident or by halves. Whoever may write the folder can also write all of it \
             anew, ledger included; only a signature with --public-key tells (`rldp privacy sign`).",
        )?;
    }
    print_line(match (found.holds, found.closed) {
        (true, true) => "The claim holds.",
        (true, false) => "The claim holds so far; the run has not closed.",
        (false, _) => "THE CLAIM DOES NOT HOLD.",
    })?;
    Ok(exit_code(&found))
}

fn exit_code(found: &Verification) -> ExitCode {
    if found.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All checks of a run. With `key`, a line like that of a `.pub` file, it must be signed by that key.
pub(crate) fn verify_run(run: &Path, key: Option<&str>) -> Result<Verification> {
    let mut found = check_folder(run)?;
    let seal = check_seal(&mut found, run, key)?;
    check_pages(&mut found, run, seal.as_ref().filter(|_| key.is_some()))?;
    Ok(found)
}

/// All checks of a run that is about to be signed: an older signature is replaced, and is no reason to refuse.
pub(super) fn verify_unsigned(run: &Path) -> Result<Verification> {
    let mut found = check_folder(run)?;
    check_pages(&mut found, run, None)?;
    Ok(found)
}

/// The checks of what a folder holds beside its pages and its signature.
fn check_folder(run: &Path) -> Result<Verification> {
    let mut found = check_claim(run)?;
    let ledger = read_ledger(run)?;
    check_checkpoint(&mut found, run, &ledger);
    check_base(&mut found, run)?;
    Ok(found)
}

/// What the run saved must not be ahead of its ledger. A folder that was handed out lacks the checkpoint.
fn check_checkpoint(found: &mut Verification, run: &Path, ledger: &str) {
    let checked = match checkpoint::load(run) {
        Ok(None) => return,
        Ok(Some(saved)) => saved.ledger.check(ledger).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let detail = checked.clone().err().unwrap_or_else(|| "it was written after a line that the ledger has".to_owned());
    found.check("checkpoint", checked.is_ok(), detail);
}

/// The base model, when it is on this machine: its weights and tokenizer must be those that the run worked with.
fn check_base(found: &mut Verification, run: &Path) -> Result<()> {
    let (Bound::Closed(digests) | Bound::Paused(digests)) = &found.bound else { return Ok(()) };
    let bound: Digests = digests.clone().into_iter().filter(|(name, _)| name.starts_with(base::PREFIX)).collect();
    let Ok(settings) = settings_of(run) else { return Ok(()) };
    if bound.is_empty() {
        return Ok(());
    }
    // Where the run was started, wherever this is asked. A model that is lost is said to be, below.
    let model = Origin::of(run).model(&settings.model.model).unwrap_or_else(|_| settings.model.model.clone());
    let Some(here) = base::local_digests(&model)? else {
        let detail = format!("{} is not on this machine, so it was not compared", model.display());
        found.check("base model", true, detail);
        return Ok(());
    };
    let differs = bound.keys().chain(here.keys()).find(|name| bound.get(*name) != here.get(*name));
    let detail = match differs.and_then(|name| name.strip_prefix(base::PREFIX)) {
        None => format!("{} files of {} are those that the run worked with", bound.len(), model.display()),
        Some(name) => format!("{name} of {} is not what the run worked with", model.display()),
    };
    found.check("base model", differs.is_none(), detail);
    Ok(())
}

/// The signature, when there is one or one is asked for. What it says, when it is right.
fn check_seal(found: &mut Verification, run: &Path, key: Option<&str>) -> Result<Option<Seal>> {
    let (seal, signature) = (run.join(SEAL), run.join(SIGNATURE));
    if !seal.exists() && !signature.exists() && key.is_none() {
        return Ok(None);
    }
    if !seal.exists() || !signature.exists() {
        let missing = if seal.exists() { SIGNATURE } else { SEAL };
        found.check("signature", false, format!("the run is not signed: {missing} is not there"));
        return Ok(None);
    }
    let (text, signature) =
        (fs::read_to_string(seal).map_err(Wrong::input)?, fs::read_to_string(signature).map_err(Wrong::input)?);
    let checked = check_signature(&text, &signature, key).and_then(|signer| Ok((signer, Seal::read(&text)?)));
    let (signer, seal) = match checked {
        Ok(checked) => checked,
        Err(error) => {
            found.check("signature", false, error.to_string());
            return Ok(None);
        }
    };
    let ledger = digest_of_file(&run.join(files::LEDGER)).map_err(Wrong::input)?;
    if found.head.as_ref() != Some(&seal.head) || seal.ledger != ledger {
        found.check("signature", false, format!("{signer} signed another ledger, at {}", seal.signed));
        return Ok(None);
    }
    let whose = if key.is_some() { "" } else { "; whose key that is, only --public-key tells" };
    found.check("signature", true, format!("signed by {signer} at {} by the signer's clock{whose}", seal.signed));
    found.signed_by = Some(signer);
    found.signed_at = Some(seal.signed.clone());
    Ok(Some(seal))
}

/// Report and model card of a run that closed follow from its folder, so they are written again and compared; a report that a trusted
/// signature names needs not.
fn check_pages(found: &mut Verification, run: &Path, seal: Option<&Seal>) -> Result<()> {
    if !found.closed {
        return Ok(());
    }
    let signed = seal.and_then(|seal| seal.report.clone());
    let card = card();
    let written: [(&str, &str, Page); 2] =
        [("report", files::REPORT, |run, _| report::page_of(run)), ("model card", &card, export::card_of)];
    for (name, file, page) in written {
        let path = run.join(file);
        if !path.exists() {
            if name == "report" && signed.is_some() {
                found.check(name, false, format!("{file} was signed and is not there"));
            }
            continue;
        }
        let there = fs::read(&path).map_err(Wrong::input)?;
        let (passed, detail) = if name == "report" && signed.as_ref() == Some(&rldp_privacy::digest(&there)) {
            (true, "is the one that was signed")
        } else if page(run, found).is_ok_and(|page| page.as_bytes() == there) {
            (true, "says what the folder says")
        } else {
            (
                false,
                "is not what this version writes about the folder: it was changed, or another version wrote it; `rldp report` and \
                 `rldp export` write it anew",
            )
        };
        found.check(name, passed, format!("{file} {detail}"));
    }
    Ok(())
}

/// Writes a page about a run anew.
type Page = fn(&Path, &Verification) -> Result<String>;
