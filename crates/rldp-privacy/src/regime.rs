//! How noise multipliers are chosen, and what each way proves.

use serde::{Deserialize, Serialize};

use crate::{
    accounting::{AccountantKind, Adjacency, Event, FilterSpec, NoiseDeck, accountant},
    bands::Bands,
    claim::{Claim, Guarantee},
    error::PrivacyError,
};

/// How noise multipliers are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// All noise multipliers and the sampling rate are fixed in advance, in this order.
    Committed {
        /// The plan.
        segments: Vec<Event>,
        /// Whose epsilon the claim rests on.
        accountant: AccountantKind,
    },
    /// A fixed multiset of noise multipliers, played in an order that may depend on earlier releases: the price of the
    /// committed plan (see [`NoiseDeck`] for the theorem).
    Deck {
        /// The cards.
        cards: Vec<Event>,
        /// Whose epsilon the claim rests on.
        accountant: AccountantKind,
    },
    /// Noise multipliers may depend on earlier releases; a fixed-order Rényi filter refuses what would overspend.
    Adaptive {
        /// Order and budget, fixed in advance.
        filter: FilterSpec,
    },
    /// Nothing is clipped and no noise is added, for ceilings and as what an audit must expose: epsilon is infinite.
    NonPrivate,
}

impl Regime {
    /// Checks that the regime proves the claim's target, under the claim's adjacency.
    pub(crate) fn validate(&self, claim: &Claim) -> Result<(), PrivacyError> {
        self.validate_bands(claim)?;
        self.validate_other_steps(claim)?;
        match self {
            Self::Committed { segments, accountant } => validate_plan(claim, segments, *accountant),
            Self::Deck { cards, accountant } => {
                NoiseDeck::new(cards)?;
                validate_plan(claim, cards, *accountant)
            }
            Self::Adaptive { filter } => validate_filter(claim, filter),
            Self::NonPrivate => validate_non_private(claim),
        }
    }

    /// Checks that noise is correlated only where the theorem of [`Bands`] holds.
    fn validate_bands(&self, claim: &Claim) -> Result<(), PrivacyError> {
        let refuse =
            |reason: &str| Err(PrivacyError::Claim(format!("noise has {} bands, {reason}", claim.noise_bands)));
        Bands::new(claim.noise_bands)?;
        if claim.noise_bands == 1 {
            return Ok(());
        }
        if !matches!(self, Self::Committed { .. }) {
            return refuse("which only noise that is fixed in advance can have");
        }
        if claim.adjacency == Adjacency::ReplaceOne {
            return refuse("but a unit that replaces another may be of another class");
        }
        if claim.other_steps > 0 {
            return refuse("whose rounds steps of other runs do not share; use one band");
        }
        if claim.turn_rate() > 1.0 {
            return refuse("more than there are batches in the data; use fewer");
        }
        Ok(())
    }

    /// Checks that steps of other runs are covered only where every step has the same noise: which of several levels the others took
    /// from the plan, nothing in this ledger says.
    fn validate_other_steps(&self, claim: &Claim) -> Result<(), PrivacyError> {
        let one_level = match self {
            Self::Committed { segments, .. } => {
                segments.windows(2).all(|pair| pair[0].noise_multiplier == pair[1].noise_multiplier)
            }
            Self::Deck { .. } | Self::Adaptive { .. } | Self::NonPrivate => false,
        };
        if claim.other_steps == 0 || one_level {
            return Ok(());
        }
        Err(PrivacyError::Claim(format!(
            "it covers {} steps of other runs, which only noise of one level that is fixed in advance can: a run could take the \
             quiet steps of a plan that others take as well",
            claim.other_steps
        )))
    }

    /// The noise multiplier that a committed plan fixes for round `index`, counted from 0; `None` past its end, and in the
    /// other regimes. With one band a round is a step.
    pub(crate) fn committed_noise(&self, index: u64) -> Option<f64> {
        self.committed_noises()(index)
    }

    /// [`Self::committed_noise`] of many rounds, without a walk through the plan for each.
    pub(crate) fn committed_noises(&self) -> impl Fn(u64) -> Option<f64> + use<'_> {
        let segments: &[Event] = if let Self::Committed { segments, .. } = self { segments } else { &[] };
        let ends = segments.iter().scan(0_u64, |end, event| {
            *end = end.saturating_add(event.steps);
            Some(*end)
        });
        let ends: Vec<u64> = ends.collect();
        move |index| segments.get(ends.partition_point(|end| *end <= index)).map(|event| event.noise_multiplier)
    }

    /// Which accountant proves the target: a filter's is by Rényi divergence.
    pub(crate) fn accountant(&self) -> Option<AccountantKind> {
        match self {
            Self::Committed { accountant, .. } | Self::Deck { accountant, .. } => Some(*accountant),
            Self::Adaptive { .. } => Some(AccountantKind::Rdp),
            Self::NonPrivate => None,
        }
    }

    /// The regime in words.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::Committed { .. } => "noise was fixed before the first step",
            Self::Deck { .. } => {
                "noise was fixed before the first step as a set, whose order was chosen during training"
            }
            Self::Adaptive { .. } => "noise was chosen during training, behind a filter fixed before the first step",
            Self::NonPrivate => "nothing was clipped and no noise was added",
        }
    }
}

fn validate_plan(claim: &Claim, plan: &[Event], kind: AccountantKind) -> Result<(), PrivacyError> {
    let refuse = |reason: String| Err(PrivacyError::Claim(reason));
    if let Some(event) = plan.iter().find(|event| event.sampling_rate != claim.turn_rate()) {
        return refuse(format!("a segment samples at {}, the claim at {}", event.sampling_rate, claim.turn_rate()));
    }
    let planned = plan.iter().fold(0_u64, |sum, event| sum.saturating_add(event.steps));
    let covered = claim.rounds(claim.covered_steps());
    if planned != covered {
        return refuse(format!("the plan has {planned} rounds, the claim covers {covered}"));
    }
    let epsilon = accountant(kind).epsilon_under(claim.adjacency, plan, claim.ideal_delta())?;
    if epsilon > claim.target_epsilon {
        return refuse(format!("the plan costs epsilon {epsilon}, above the target {}", claim.target_epsilon));
    }
    Ok(())
}

fn validate_filter(claim: &Claim, filter: &FilterSpec) -> Result<(), PrivacyError> {
    let refuse = |reason: String| Err(PrivacyError::Claim(reason));
    if claim.adjacency == Adjacency::ReplaceOne {
        return refuse("the filter's costs are those of add/remove and zero-out, not of replace-one".into());
    }
    filter.verify()?;
    if filter.epsilon > claim.target_epsilon || filter.delta > claim.ideal_delta() {
        return refuse(format!(
            "the filter enforces ({}, {}), above the target ({}, {}) less {} of delta for the noise sampler",
            filter.epsilon, filter.delta, claim.target_epsilon, claim.delta, claim.noise_delta
        ));
    }
    Ok(())
}

fn validate_non_private(claim: &Claim) -> Result<(), PrivacyError> {
    if claim.guarantee == Guarantee::Holds {
        return Err(PrivacyError::Claim("a run without noise cannot claim a guarantee".into()));
    }
    if claim.target_epsilon != f64::INFINITY {
        return Err(PrivacyError::Claim(format!(
            "epsilon is {}, but a run without noise has none: it must be infinite",
            claim.target_epsilon
        )));
    }
    Ok(())
}
