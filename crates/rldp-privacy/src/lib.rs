//! The promise: sensitive values, events, ledger, accountants, filter, calibration and noise.

pub mod accounting;
mod allocation;
mod bands;
pub mod book;
mod boundary;
mod chain;
mod choice;
mod claim;
mod clipped_sum;
pub mod decimals;
mod earlier;
mod error;
mod joint;
mod ledger;
mod noise;
mod plain_sum;
mod regime;
mod scaling;
mod secrecy;
pub mod sign;
mod spending;
mod spent;
mod standing;
mod verify;

pub use accounting::Adjacency;
pub use allocation::Allocation;
pub use bands::{Bands, MOST_BANDS};
pub use boundary::{NoGuarantee, Observable, Public, Released, Sensitive, TakenOver};
pub use chain::{LedgerSink, digest, digest_of};
pub use choice::Choice;
pub use claim::{Claim, Guarantee, PublicFile};
pub use clipped_sum::{
    ClippedSum, Frame, NoisyRelease, NormBins, PartialSum, Past, ReleasedStatistics, StatisticSpec, StatisticWeights,
};
pub use earlier::Earlier;
pub use error::PrivacyError;
pub use joint::{Joint, joint};
pub use ledger::{Bound, Digests, LedgerPosition, charged_steps, claim_of, is_closed, until};
pub use noise::{NoiseSource, SPACINGS_PER_DEVIATION, TV_PER_COORDINATE, ideal_delta, largest_epsilon, noise_delta};
pub use plain_sum::PlainSum;
pub use regime::Regime;
pub use scaling::Scaling;
pub use secrecy::Secrecy;
pub use spending::{Charge, Spender, UnsafeStep};
pub use standing::Standing;
pub use verify::{Check, Verification, verify};
