//! Runs that a run goes on from, and what all of them promise together.

use serde::{Deserialize, Serialize};

use crate::{
    claim::{Claim, Guarantee},
    decimals::at_most,
    error::PrivacyError,
    joint::{Joint, joint},
    verify::Verification,
};

/// A run whose adapter this one starts from. Whoever sees both sees what both have spent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Earlier {
    /// Hash of the last line of its ledger, in hexadecimal.
    pub head: String,
    /// What it promised.
    pub claim: Claim,
}

impl Earlier {
    /// The run whose ledger was replayed.
    ///
    /// # Errors
    /// When the ledger does not prove its claim, or promises nothing.
    pub fn of(found: Verification) -> Result<Self, PrivacyError> {
        if let Some(check) = found.checks.iter().find(|check| !check.passed) {
            return Err(PrivacyError::Claim(format!("its ledger fails the check `{}`: {}", check.name, check.detail)));
        }
        match (found.head, found.claim) {
            (Some(head), Some(claim)) => Ok(Self { head, claim }),
            _ => Err(PrivacyError::Claim("its ledger holds no claim".into())),
        }
    }
}

impl Earlier {
    /// What its promise says nothing about, for the promise of a run that goes on from it.
    fn exceptions(&self) -> String {
        let Self { head, claim } = self;
        let public = (!claim.public_text.is_empty()).then(|| claim.public_files());
        let public = public.map(|files| {
            format!(" The run of ledger {head} began with text that was declared public, about which nothing is said: SHA-256 {files}.")
        });
        let start = claim.start_adapter.as_ref().map(|digest| {
            format!(" The run of ledger {head} began with an adapter (SHA-256 {digest}); nothing is said about what that had learned.")
        });
        let policy = claim.private_policy.then(|| {
            format!(" The controller of the run of ledger {head} began with a policy of another private run, which spent besides.")
        });
        [public, start, policy].into_iter().flatten().collect()
    }
}

impl Claim {
    /// The runs before this one, in the order in which they were made.
    pub fn earlier(&self) -> Vec<&Earlier> {
        self.after.iter().flat_map(|earlier| earlier.claim.earlier().into_iter().chain([earlier])).collect()
    }

    /// The claims of the runs before this one, and this one's.
    pub fn with_earlier(&self) -> Vec<&Self> {
        self.earlier().into_iter().map(|earlier| &earlier.claim).chain([self]).collect()
    }

    /// What this run and those before it promise together; `None` when it is the first, or promises nothing.
    ///
    /// # Errors
    /// When their units or neighbours differ, or an accountant refuses.
    pub fn together(&self) -> Result<Option<Joint>, PrivacyError> {
        if self.after.is_empty() || self.guarantee != Guarantee::Holds {
            return Ok(None);
        }
        joint(&self.with_earlier()).map(Some)
    }

    /// What goes with the claim of a run that has others before it.
    pub(crate) fn earlier_words(&self) -> String {
        let Ok(Some(Joint { runs, epsilon, delta, basic_epsilon })) = self.together() else {
            return String::new();
        };
        let before = self.earlier();
        let heads: Vec<&str> = before.iter().map(|earlier| earlier.head.as_str()).collect();
        let except = if self.with_earlier().iter().any(|claim| claim.shared_eval) {
            ", but for figures of evaluation files, which may share records with training files,"
        } else {
            ""
        };
        let words = format!(
            " It goes on from a run with a promise of its own (ledger {}). For units that are in all of the {runs} runs, what all of them \
             released{except} is ({basic_epsilon}, {delta:?})-differentially private, and ({}, {delta:?}) if no run's noise and length were \
             chosen by what an earlier one released.",
            heads.join(", "),
            at_most(epsilon, 4)
        );
        before.iter().fold(words, |words, earlier| words + &earlier.exceptions())
    }
}
