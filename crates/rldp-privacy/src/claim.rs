//! The promise of a run, fixed before its first step.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    accounting::Adjacency,
    boundary::NoGuarantee,
    earlier::Earlier,
    error::PrivacyError,
    noise::{ideal_delta, noise_delta},
    regime::Regime,
};

/// Whether the claim is a guarantee at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// The claim holds under its stated assumptions.
    Holds,
    /// The run is research: something outside the mechanism saw raw data, or the noise is known.
    None {
        /// What breaks the promise.
        reason: String,
    },
}

/// JSON has no infinity: it is written as null.
fn infinite_when_null<'a, D: serde::Deserializer<'a>>(value: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(f64::INFINITY))
}

/// A file of text that the run was told is public; the promise is not about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicFile {
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Records in it.
    pub records: u64,
}

impl PublicFile {
    /// The file of these bytes, which hold so many records.
    pub fn of(bytes: &[u8], records: usize) -> Self {
        let digest = Sha256::digest(bytes);
        Self { sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(), records: records as u64 }
    }
}

/// The promise at the head of a ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Epsilon that is never exceeded; infinite, and written as null, when the run promises nothing.
    #[serde(deserialize_with = "infinite_when_null")]
    pub target_epsilon: f64,
    /// Delta that goes with it.
    pub delta: f64,
    /// When two data sets count as neighbours.
    pub adjacency: Adjacency,
    /// One unit in words: `record`, or the column that names it.
    pub unit: String,
    /// N, when it was declared before the records were read. Then q, z, manifest and ledger depend on it alone, and units may be added
    /// and removed below it. Otherwise N is the file's own number of units, which is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u64>,
    /// Whether evaluation records were allowed to stand among the training records: figures of them are then no part of the promise.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared_eval: bool,
    /// Whether a policy of another private run was allowed: what that run spent adds to this one's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub private_policy: bool,
    /// q: the chance of a unit to be in a batch, over all classes.
    pub sampling_rate: f64,
    /// b, how many steps noise is correlated over, and classes that units are sampled from in turn: [`crate::Bands`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub noise_bands: u64,
    /// B, public.
    pub expected_batch_size: f64,
    /// Most steps the run may make.
    pub steps: u64,
    /// Further steps, of other runs on the same records at the same rate and noise, that the target covers as well; the
    /// runs of a tuning that was paid for have this in common.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_steps: u64,
    /// Most numbers that get noise in a step: adapter parameters and paid statistics; public.
    pub noise_coordinates: u64,
    /// The part of delta that pays for the sampler's distance from the Gaussian; [`noise_delta`] gives it. The regime
    /// proves its epsilon at what is left.
    pub noise_delta: f64,
    /// How noise is chosen.
    pub regime: Regime,
    /// Text that the adapter was trained on without noise before the first step, because whoever ran it declared it public.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_text: Vec<PublicFile>,
    /// SHA-256 of the weights of the adapter that the run starts from, when nothing is told of what that had learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_adapter: Option<String>,
    /// The run whose adapter this one starts from, when what both spent is to be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Earlier>,
    /// Whether the claim is a guarantee.
    pub guarantee: Guarantee,
}

impl Claim {
    /// Checks that the plan proves the target.
    ///
    /// # Errors
    /// When a number is out of range, or the plan costs more than the target.
    pub fn validate(&self) -> Result<(), PrivacyError> {
        let refuse = |reason: String| Err(PrivacyError::Claim(reason));
        if self.regime == Regime::NonPrivate {
            return self.regime.validate(self);
        }
        if !(self.target_epsilon > 0.0 && self.target_epsilon.is_finite()) {
            return refuse(format!("epsilon is {}, but must be positive and finite", self.target_epsilon));
        }
        if !(self.delta > 0.0 && self.delta < 1.0) {
            return refuse(format!("delta is {}, but must be strictly between 0 and 1", self.delta));
        }
        if self.adjacency == Adjacency::ZeroOut && self.units.is_some() {
            return refuse("units were declared, which zero-out adjacency does not need; claim add/remove".into());
        }
        self.validate_noise()?;
        self.regime.validate(self)?;
        for earlier in &self.after {
            earlier.claim.validate()?;
        }
        self.together().map(|_| ())
    }

    /// Checks that enough of delta, and no large part of it, is set aside for the sampler.
    fn validate_noise(&self) -> Result<(), PrivacyError> {
        if self.noise_coordinates == 0 {
            return Err(PrivacyError::Claim("no number gets noise; give the adapter's size".into()));
        }
        let needed = noise_delta(self.target_epsilon, self.delta, self.noise_coordinates, self.covered_steps())?;
        if self.noise_delta >= needed && self.noise_delta <= 0.1 * self.delta {
            return Ok(());
        }
        Err(PrivacyError::Claim(format!(
            "delta {} is set aside for the noise sampler, but it must be at least {needed} and at most a tenth of \
             delta {}",
            self.noise_delta, self.delta
        )))
    }

    /// q': the chance of a unit to be in a batch when its class has its turn.
    pub fn turn_rate(&self) -> f64 {
        self.sampling_rate * self.noise_bands as f64
    }

    /// Rounds over all classes that `steps` steps are a part of: how often a unit can have its turn, and what is priced.
    pub fn rounds(&self, steps: u64) -> u64 {
        steps.div_ceil(self.noise_bands.max(1))
    }

    /// The round, counted from 0, of the step after `steps` steps.
    pub(crate) fn round_of(&self, steps: u64) -> u64 {
        steps / self.noise_bands.max(1)
    }

    /// Steps that the target covers: this run's and those of other runs.
    pub fn covered_steps(&self) -> u64 {
        self.steps.saturating_add(self.other_steps)
    }

    /// The delta at which the regime must prove its epsilon for exact Gaussian noise: delta less its reserve.
    pub fn ideal_delta(&self) -> f64 {
        ideal_delta(self.delta, self.noise_delta)
    }

    /// The first field in which `other` differs, by name with both values; one that was asked for before one that
    /// follows from it.
    ///
    /// # Errors
    /// When a claim cannot be written as JSON: then nothing says that they are the same.
    pub fn difference(&self, other: &Self) -> Result<Option<String>, PrivacyError> {
        let fields = |claim: &Self| match serde_json::to_value(claim) {
            Ok(serde_json::Value::Object(fields)) => Ok(fields),
            Ok(other) => Err(PrivacyError::Claim(format!("it is written as {other} and not as fields"))),
            Err(error) => Err(PrivacyError::Claim(format!("it cannot be written: {error}"))),
        };
        let (mine, theirs) = (fields(self)?, fields(other)?);
        let missing = serde_json::Value::Null;
        let differs = |(key, value): &(&String, &serde_json::Value)| theirs.get(key.as_str()) != Some(*value);
        let derived = |(key, _): &(&String, &serde_json::Value)| ["noise_delta", "regime"].contains(&key.as_str());
        // What only the other has differs from nothing.
        let added = theirs.iter().filter(|(key, _)| !mine.contains_key(key.as_str())).map(|(key, _)| (key, &missing));
        let mut differing: Vec<_> = mine.iter().filter(differs).chain(added).collect();
        differing.sort_by_key(derived);
        Ok(differing.first().map(|(key, value)| {
            let now = theirs.get(key.as_str()).unwrap_or(&missing);
            format!("`{key}` was {value} when the run began and is {now} now")
        }))
    }

    /// Evidence that this claim guarantees nothing; `None` when it holds.
    pub fn no_guarantee(&self) -> Option<NoGuarantee> {
        match self.guarantee {
            Guarantee::Holds => None,
            Guarantee::None { .. } => Some(NoGuarantee::admitted()),
        }
    }

    /// The claim in words: one sentence that is true of all that is released, and what goes with it.
    pub fn statement(&self) -> String {
        if let Guarantee::None { reason } = &self.guarantee {
            return format!("NO PRIVACY GUARANTEE: {reason}.");
        }
        let except = if self.shared_eval {
            ", but for the figures of the evaluation file, which may share records with the training file,"
        } else {
            ""
        };
        let mut text = format!(
            "Everything released by this run (adapter, policy, metrics, ledger, manifest and report){except} is ({}, \
             {:?})-differentially private with respect to {}; {}.",
            self.target_epsilon,
            self.delta,
            self.neighbours(),
            self.regime.words(),
        );
        if self.noise_bands > 1 {
            let bands = self.noise_bands;
            text = format!("{text} Noise is correlated over {bands} steps, of which each unit may be in one alone.");
        }
        if self.other_steps > 0 {
            let steps = self.other_steps;
            text = format!(
                "{text} The same holds for it together with up to {steps} steps of other runs under this plan."
            );
        }
        if self.private_policy {
            text += " The controller began with a policy of another private run: whoever sees what that run released, too, sees what \
                     both of them spent.";
        }
        text + &self.public_words() + &self.start_words() + &self.earlier_words()
    }

    /// What two neighbouring data sets differ in, in words.
    fn neighbours(&self) -> String {
        let unit = if self.unit == "record" {
            "one record".to_owned()
        } else {
            format!("all records with the same `{}`", self.unit)
        };
        match (self.adjacency, self.units) {
            (Adjacency::AddRemove, Some(units)) => {
                format!(
                    "adding or removing {unit}, among at most {units} units, a number that was declared and not counted"
                )
            }
            (Adjacency::AddRemove, None) => format!("adding or removing {unit}, where the number of units is public"),
            (Adjacency::ZeroOut, _) => format!(
                "replacing {unit} by nothing, where the number of units stays the same and is public (zero-out adjacency)"
            ),
            (Adjacency::ReplaceOne, _) => format!("replacing {unit} by another, where the number of units is public"),
        }
    }

    /// Which text was taken for public, and by whom.
    fn public_words(&self) -> String {
        if self.public_text.is_empty() {
            return String::new();
        }
        format!(
            " It began with text that whoever ran it declared public, and says nothing about that: SHA-256 {}.",
            self.public_files()
        )
    }

    /// The files of public text, by digest.
    pub(crate) fn public_files(&self) -> String {
        let file = |file: &PublicFile| format!("{} ({} records)", file.sha256, file.records);
        self.public_text.iter().map(file).collect::<Vec<_>>().join(", ")
    }

    /// Which adapter it started from, where nothing vouches for that one.
    fn start_words(&self) -> String {
        let words = |digest| {
            format!(" It began with an adapter (SHA-256 {digest}), and says nothing about what that had learned.")
        };
        self.start_adapter.as_ref().map_or_else(String::new, words)
    }
}

pub(crate) fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_one(value: &u64) -> bool {
    *value == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
