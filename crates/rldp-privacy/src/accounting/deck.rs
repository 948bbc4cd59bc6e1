//! The noise deck: adaptively *ordered* noise at the price of a committed plan.
//!
//! A deck is a multiset of noise multipliers, fixed before the first step. Every step plays one card, chosen by whatever
//! was released before; a played card is gone; the run may stop with cards left. Noise may exceed the card's.
//!
//! **Theorem.** Let every card i have a pair (P_i, Q_i) that dominates, at all orders of the hockey-stick divergence
//! H_x(P‖Q) = ∫ (dP − x dQ)⁺, x ≥ 0, each mechanism that may be run under it. Then the interaction is dominated by the
//! product of all cards' pairs, in whatever order they are played. So the epsilon of the deck as a committed plan,
//! by PLD, is the epsilon of the run: adaptivity in the order is free.
//!
//! *Proof.* Stopping early or skipping cards is post-processing of the run that plays the rest unseen, so let all cards be
//! played. For a set S of cards left let V_S(x) = H_x(⊗_{i∈S} P_i ‖ ⊗_{i∈S} Q_i). We show by induction over |S| that no
//! analyst with the cards S left, from a point at which Q over P has likelihood ratio x, reaches more than V_S(x); at the
//! start x = e^ε and V is the claim. Nothing left: both are (1 − x)⁺. Otherwise the analyst picks a card i and a mechanism
//! M, M' under it; the output o moves the ratio to x·dM'/dM(o), and by induction at most
//! ∫ dM V_{S∖i}(x dM'/dM) follows. V_{S∖i} is convex and falls, so V_{S∖i}(y) = c + ∫ (s − y)⁺ ν(ds) with ν ≥ 0, and the
//! integral is c + ∫ s H_{x/s}(M ‖ M') ν(ds), which rises with every H: domination bounds it by the value at
//! (P_i, Q_i), which is V_S(x), *the same for every i*. ∎
//!
//! The two directions of add/remove adjacency each have their dominating pair (arXiv 2111.04114) and, the data sets
//! being fixed, all steps share a direction; the accountant takes the larger of both. More noise is post-processing, so
//! a card covers every z at or above its own. The last step of the proof is where decks end: replacing cards by
//! *other* ones needs an order between products, which subsampled Gaussians do not have. That is why the natural filter
//! fails (arXiv 2602.06756, 2602.15815).

use serde::{Deserialize, Serialize};

use super::error::{AccountingError, require};
use super::event::{Event, merge};

/// Cards that are left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NoiseDeck {
    /// One sampling rate; noise multipliers rise, `steps` counts equal cards.
    cards: Vec<Event>,
}

/// No card that is left covers the step.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "refused: no card left covers {steps} steps at noise multiplier {noise_multiplier} and sampling rate \
     {sampling_rate}; the deck has {left} cards left"
)]
pub struct DeckRefusal {
    /// q of the step.
    pub sampling_rate: f64,
    /// z of the step.
    pub noise_multiplier: f64,
    /// How many were asked for.
    pub steps: u64,
    /// Cards left.
    pub left: u64,
}

impl NoiseDeck {
    /// A deck of `steps` cards per event, all at one sampling rate.
    ///
    /// Its guarantee is that of `cards` as a committed plan, under any accountant that covers them.
    pub fn new(cards: &[Event]) -> Result<Self, AccountingError> {
        let cards = merge(cards)?;
        let (first, last) = (cards[0].sampling_rate, cards[cards.len() - 1].sampling_rate);
        require(first == last, "sampling rate of a card", last, "the same for all cards of a deck")?;
        Ok(Self { cards })
    }

    /// The cards that are left, by rising noise.
    pub fn cards(&self) -> &[Event] {
        &self.cards
    }

    /// How many cards are left.
    pub fn left(&self) -> u64 {
        self.cards.iter().fold(0, |left, card| left.saturating_add(card.steps))
    }

    /// The noise multiplier of the card left that is closest, in ratio, to what a controller wants.
    pub fn nearest(&self, noise_multiplier: f64) -> Option<f64> {
        let distance = |z: f64| (z / noise_multiplier).ln().abs();
        let noises = self.cards.iter().map(|card| card.noise_multiplier);
        noises.min_by(|a, b| distance(*a).total_cmp(&distance(*b)))
    }

    /// Plays the noisiest cards that cover the event's steps, or refuses the event and leaves the deck as it is. Call
    /// before noise is drawn.
    ///
    /// A refusal is not final: which cards are left is public, and a step that they cover is paid for.
    pub fn try_charge(&mut self, event: &Event) -> Result<(), DeckRefusal> {
        let covers = |card: &&mut Event| {
            card.noise_multiplier <= event.noise_multiplier && card.sampling_rate == event.sampling_rate
        };
        let covering = self.cards.iter_mut().filter(covers).fold(0_u64, |sum, card| sum.saturating_add(card.steps));
        if event.validate().is_err() || covering < event.steps {
            let Event { sampling_rate, noise_multiplier, steps } = *event;
            return Err(DeckRefusal { sampling_rate, noise_multiplier, steps, left: self.left() });
        }
        let mut wanted = event.steps;
        for card in self.cards.iter_mut().rev().filter(covers) {
            let played = card.steps.min(wanted);
            card.steps -= played;
            wanted -= played;
        }
        self.cards.retain(|card| card.steps > 0);
        Ok(())
    }
}
