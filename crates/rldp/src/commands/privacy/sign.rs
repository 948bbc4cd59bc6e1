//! `rldp privacy sign`: a signature over a closed ledger, as OpenSSH makes and checks them.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use fs_err as fs;
use rldp_privacy::{
    Verification,
    sign::{NAMESPACE, Seal, sign as sign_text},
};
use rldp_train::{
    digest_of_file, files, started,
    storage::{Disk, replace},
};

use super::{super::print_line, verify::verify_unsigned};
use crate::{cli::SignArguments, exit::Wrong};

/// What is signed: the ledger's last hash, the time, the claim.
pub(crate) const SEAL: &str = "seal.json";
/// The signature, as `ssh-keygen -Y sign` names it.
pub(crate) const SIGNATURE: &str = "seal.json.sig";

pub(crate) fn sign(arguments: &SignArguments) -> Result<ExitCode> {
    let SignArguments { run, key } = arguments;
    let key_text = fs::read_to_string(key).map_err(Wrong::input)?;
    let found = verify_unsigned(run)?;
    refuse_unsound(&found, run)?;
    let report = run.join(files::REPORT);
    let report = report.exists().then(|| digest_of_file(&report)).transpose()?;
    let ledger = digest_of_file(&run.join(files::LEDGER))?;
    let seal = Seal::new(found.head.unwrap_or_default(), ledger, report, found.statement, started());
    let text = seal.text()?;
    let (seal, signature) = (run.join(SEAL), run.join(SIGNATURE));
    let signed = match sign_text(&text, &key_text) {
        Ok(signed) => signed,
        Err(error) if signature.exists() => anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{}: {error}; the signature that the run has stays: to have a seal that OpenSSH signs, take {} away first",
            key.display(),
            signature.display()
        ))),
        Err(error) => {
            replace(&Disk, &seal, &[text.as_bytes()])?;
            anyhow::bail!(Wrong::input(anyhow::anyhow!(
                "{}: {error}; {} is written, and OpenSSH signs it with any key: `ssh-keygen -Y sign -n {NAMESPACE} -f {} {}`",
                key.display(),
                seal.display(),
                key.display(),
                seal.display()
            )))
        }
    };
    replace(&Disk, &seal, &[text.as_bytes()])?;
    replace(&Disk, &signature, &[signed.as_bytes()])?;
    print_line(&format!("{}", signature.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Who signs says that the run is whole: one that is not is not signed.
fn refuse_unsound(found: &Verification, run: &Path) -> Result<()> {
    if let Some(check) = found.checks.iter().find(|check| !check.passed) {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{} does not verify, so it is not signed ({}: {})",
            run.display(),
            check.name,
            check.detail
        )));
    }
    if !found.closed {
        anyhow::bail!(Wrong::input(anyhow::anyhow!(
            "{} has not closed, so it is not signed; finish it with `rldp train --resume {}`",
            run.display(),
            run.display()
        )));
    }
    Ok(())
}
