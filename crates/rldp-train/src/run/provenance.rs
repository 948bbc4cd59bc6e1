//! Where a policy was learned: it stands in the policy itself, and a private run takes no policy that tells of other records without
//! saying so.

use std::path::Path;

use fs_err as fs;
use rldp_privacy::{Claim, Guarantee};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::recorder::files;
use crate::{error::TrainError, settings::TrainSettings};

/// Name of a saved policy inside the policy folder.
pub(super) const POLICY_FILE: &str = "policy.json";
/// Key of the source in it.
const KEY: &str = "source";

/// Where a policy was learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Whether its records were declared public.
    pub public: bool,
    /// Number of the run, as in its manifest.
    #[serde(default)]
    pub run: String,
    /// What the run promised.
    #[serde(default)]
    pub statement: String,
    /// Whether that is a guarantee.
    #[serde(default)]
    pub guarantee: bool,
}

/// The state of a controller with where it was learned.
pub(super) fn with_source(state: &[u8], claim: &Claim, folder: &Path) -> Vec<u8> {
    let manifest = fs::read_to_string(folder.join(files::MANIFEST)).unwrap_or_default();
    let manifest: Value = serde_json::from_str(&manifest).unwrap_or_default();
    let source = Source {
        public: false,
        run: manifest["id"].as_str().unwrap_or_default().to_owned(),
        statement: claim.statement(),
        guarantee: claim.guarantee == Guarantee::Holds,
    };
    let source = serde_json::to_string(&source).unwrap_or_default();
    match state.strip_prefix(b"{") {
        Some(rest) => [format!("{{\"{KEY}\":{source},").as_bytes(), rest].concat(),
        None => state.to_vec(),
    }
}

/// The text of a policy, checked to be JSON at all, and the private run that learned it, if one did.
///
/// # Errors
/// When it is no policy, or of a private run although the settings do not allow it.
pub(super) fn read_policy(path: &Path, settings: &TrainSettings) -> Result<(Vec<u8>, Option<Source>), TrainError> {
    let path = if path.is_dir() { path.join(POLICY_FILE) } else { path.to_owned() };
    let text = fs::read(&path)?;
    let policy: Value = serde_json::from_slice(&text).map_err(|error| TrainError::Corrupt {
        path: path.display().to_string(),
        reason: format!("not a saved policy: {error}"),
    })?;
    let source = source_of(&policy, &path)?.filter(|source| !source.public);
    let Some(source) = source else { return Ok((text, None)) };
    if !settings.unsafe_reasons().is_empty() {
        return Ok((text, Some(source)));
    }
    let refuse = |reason: &str| Err(TrainError::Refused(format!("the policy {} {reason}", path.display())));
    if !source.guarantee {
        return refuse(
            "was learned in a run without a privacy guarantee, so that it may tell of that run's records, and so would this run; \
             learn one on public records by `rldp policy train`",
        );
    }
    if !settings.control.allow_private_policy {
        return refuse(
            "was learned in a private run, whose budget adds to this one's where the records are about the same people; learn one on \
             public records by `rldp policy train`, or accept the sum with --allow-private-policy, which the claim then says",
        );
    }
    Ok((text, Some(source)))
}

/// What the policy says of itself, or that it lies in the folder of a run.
fn source_of(policy: &Value, path: &Path) -> Result<Option<Source>, TrainError> {
    if let Some(source) = policy.get(KEY) {
        let read = serde_json::from_value(source.clone());
        return read.map(Some).map_err(|error| TrainError::Corrupt {
            path: path.display().to_string(),
            reason: format!("its `{KEY}` does not say where it was learned: {error}"),
        });
    }
    let ledger =
        path.parent().and_then(Path::parent).map(|run| run.join(files::LEDGER)).filter(|ledger| ledger.exists());
    let Some(ledger) = ledger else { return Ok(None) };
    let claim = rldp_privacy::claim_of(&String::from_utf8_lossy(&fs::read(ledger)?));
    Ok(Some(Source {
        public: false,
        run: String::new(),
        statement: claim.as_ref().map(Claim::statement).unwrap_or_default(),
        guarantee: claim.is_some_and(|claim| claim.guarantee == Guarantee::Holds),
    }))
}
