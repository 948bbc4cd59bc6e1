//! Signatures over a closed ledger, in the format of OpenSSH's `ssh-keygen -Y`.
//!
//! A hash chain shows what was changed; it does not show who wrote it, and whoever may write the folder can write another whole
//! chain. A signature does. What is signed is a [`Seal`]: a short text that names the ledger's last hash, which binds the
//! claim, every charge and every file, and the time. `ssh-keygen -Y verify -n rldp` checks it without this program.

use serde::{Deserialize, Serialize};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use crate::error::PrivacyError;

/// What the signature is for, as `ssh-keygen -Y sign -n` names it.
pub const NAMESPACE: &str = "rldp";
/// Version of the text.
const VERSION: u64 = 1;

/// What a signature is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    version: u64,
    /// Hash of the ledger's last line.
    pub head: String,
    /// SHA-256 of `ledger.jsonl`, as `sha256sum` prints it.
    pub ledger: String,
    /// SHA-256 of `report.html`, when there is one.
    pub report: Option<String>,
    /// The claim in words.
    pub statement: String,
    /// When it was signed, in UTC, by the signer's clock. An older copy of a whole folder has an older time.
    pub signed: String,
}

impl Seal {
    /// The seal of a ledger that ends in `head`.
    pub fn new(head: String, ledger: String, report: Option<String>, statement: String, signed: String) -> Self {
        Self { version: VERSION, head, ledger, report, statement, signed }
    }

    /// The text that is signed.
    ///
    /// # Errors
    /// Never for what [`Self::new`] makes.
    pub fn text(&self) -> Result<String, PrivacyError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| refused(&error))?;
        Ok(format!("{text}\n"))
    }

    /// Reads a text that was signed.
    ///
    /// # Errors
    /// When it is no seal of a version that this program knows.
    pub fn read(text: &str) -> Result<Self, PrivacyError> {
        let seal: Self = serde_json::from_str(text).map_err(|error| refused(&error))?;
        if seal.version == VERSION {
            Ok(seal)
        } else {
            Err(PrivacyError::Signature(format!("the seal has version {}, not the supported {VERSION}", seal.version)))
        }
    }
}

/// Signs `text` with an Ed25519 key in OpenSSH's format, and gives the armoured signature.
///
/// # Errors
/// When the key cannot be read, has a passphrase, or is of another kind.
pub fn sign(text: &str, key: &str) -> Result<String, PrivacyError> {
    let key = PrivateKey::from_openssh(key).map_err(|error| {
        PrivacyError::Signature(format!(
            "the key is no private key of OpenSSH ({error}); `ssh-keygen -t ed25519 -f KEY` makes one"
        ))
    })?;
    if key.is_encrypted() {
        return Err(PrivacyError::Signature("the key has a passphrase".into()));
    }
    ed25519(&key.algorithm())?;
    let signature = key.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes()).map_err(|error| refused(&error))?;
    signature.to_pem(LineEnding::LF).map_err(|error| refused(&error))
}

/// Checks a signature of `text` and gives the fingerprint of its key. With `expected`, a line like that of a `.pub` file, the key
/// must be this one; without, anybody's is taken, and who that is remains to be asked.
///
/// # Errors
/// When the signature is damaged, of another text, or of another key.
pub fn check_signature(text: &str, signature: &str, expected: Option<&str>) -> Result<String, PrivacyError> {
    let signature = SshSig::from_pem(signature)
        .map_err(|error| PrivacyError::Signature(format!("it is no signature of OpenSSH ({error})")))?;
    ed25519(&signature.algorithm())?;
    let signer = PublicKey::new(signature.public_key().clone(), "");
    let fingerprint = signer.fingerprint(HashAlg::Sha256).to_string();
    signer.verify(NAMESPACE, text.as_bytes(), &signature).map_err(|_| {
        PrivacyError::Signature(format!("the signature is not one of this text by the key {fingerprint} that it names"))
    })?;
    let Some(expected) = expected else { return Ok(fingerprint) };
    let expected = PublicKey::from_openssh(expected.trim()).map_err(|error| {
        PrivacyError::Signature(format!("the public key is no line of OpenSSH like `ssh-ed25519 AAAA… name` ({error})"))
    })?;
    if expected.key_data() == signature.public_key() {
        return Ok(fingerprint);
    }
    Err(PrivacyError::Signature(format!(
        "it was signed by {fingerprint}, not by {}",
        expected.fingerprint(HashAlg::Sha256)
    )))
}

fn ed25519(algorithm: &Algorithm) -> Result<(), PrivacyError> {
    if *algorithm == Algorithm::Ed25519 {
        return Ok(());
    }
    Err(PrivacyError::Signature(format!("the key is of kind {algorithm}; use one of kind ssh-ed25519")))
}

fn refused(error: &impl ToString) -> PrivacyError {
    PrivacyError::Signature(error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Made by `ssh-keygen -t ed25519 -N "" -C test`, for this test alone.
    const KEY: &str = include_str!("../testdata/sign/key");
    const PUBLIC: &str = include_str!("../testdata/sign/key.pub");
    const OTHER: &str = include_str!("../testdata/sign/other.pub");
    /// Made by `printf 'a text\n' | ssh-keygen -Y sign -n rldp -f key`.
    const THEIRS: &str = include_str!("../testdata/sign/text.sig");

    #[test]
    fn signatures_of_openssh_and_ours_are_the_same_and_bind_the_text_and_the_key() {
        let text = "a text\n";
        // Ed25519 has no randomness: the same key and text give the same signature in every program.
        assert_eq!(sign(text, KEY).unwrap().replace(['\n', '\r'], ""), THEIRS.replace(['\n', '\r'], ""));
        let fingerprint = check_signature(text, THEIRS, Some(PUBLIC)).unwrap();
        assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
        assert_eq!(check_signature(text, THEIRS, None).unwrap(), fingerprint);
        for (text, signature, key, says) in [
            ("another text\n", THEIRS.to_owned(), PUBLIC, "not one of this text"),
            (text, THEIRS.to_owned(), OTHER, "not by SHA256:"),
            (text, THEIRS.replacen("U1NIU0lH", "U1NIU0lI", 1), PUBLIC, "no signature of OpenSSH"),
            (text, THEIRS.to_owned(), "nonsense", "no line of OpenSSH"),
        ] {
            let error = check_signature(text, &signature, Some(key)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_seal_is_read_as_it_was_written_and_nothing_else_is() {
        let seal = Seal::new("ab".into(), "cd".into(), None, "Everything.".into(), "2026-01-01T00:00:00Z".into());
        let text = seal.text().unwrap();
        assert_eq!(Seal::read(&text).unwrap(), seal);
        assert!(Seal::read(&text.replace("\"version\": 1", "\"version\": 2")).is_err());
        assert!(Seal::read(&text.replace("\"head\"", "\"tail\"")).is_err());
    }
}
