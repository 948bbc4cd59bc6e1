//! From an interval's released statistics and public facts to what a controller sees.

use rldp_control::{GlobalObservation, NormHistogram, Observation, PairObservation};
use rldp_privacy::{NormBins, Observable, Public, Released};

use super::observer::{Comparison, ObserverState, PairSums};
use crate::{learner::PostProcessing, mechanism::Controls};

/// Public facts about the moment of the decision.
#[derive(Clone, Debug)]
pub struct PublicFacts<'a> {
    /// Steps done over steps planned.
    pub step_fraction: f64,
    /// Budget spent over budget.
    pub budget_fraction: f64,
    /// What the mechanism was at the start.
    pub start: &'a Controls,
    /// What it is now.
    pub now: &'a Controls,
    /// What happens to releases.
    pub post: &'a PostProcessing,
    /// Reward of the last interval.
    pub last_reward: Option<Observable>,
    /// Root mean square change of each pair's parameters since the start (K). Parameters are post-processing of released
    /// gradients, so this is as public as the adapter.
    pub drift: Vec<f64>,
    /// Tail exponent of each pair's update (K), as public as the adapter.
    pub spectral_tails: Vec<f64>,
    /// Σ d_i s_i²: energy of the noise in the mean gradient.
    pub noise_energy: f64,
    /// Bins of the histogram of norms, when it is paid for.
    pub norm_bins: Option<&'a NormBins>,
}

/// What is seen of an interval that ended in `state` with the sums `pairs` (K).
pub(super) fn observation(
    state: Released<&ObserverState>,
    pairs: Released<&Vec<PairSums>>,
    facts: &PublicFacts,
) -> Observation {
    let ended = *state.get();
    let steps = ended.steps as f64;
    let number = |read: &dyn Fn(&ObserverState) -> Option<f64>| {
        state.map(read).transpose().map_or_else(unknown, Observable::from)
    };
    let of_pair = |k: usize| PairObservation {
        snr: pairs.map(|pairs| pairs[k].snr / steps).into(),
        momentum_cosine: pairs.map(|pairs| pairs[k].momentum_cosine / steps).into(),
        previous_cosine: pairs.map(|pairs| pairs[k].previous_cosine / steps).into(),
        drift: public(facts.drift[k]),
        clip_fraction: number(&|state| Some(state.clip_fractions.as_ref()?[k] / steps)),
        log_clip_norm: public((facts.now.clip_norms[k] / facts.start.clip_norms[k]).ln()),
        log_share: public((facts.now.shares[k] / facts.start.shares[k]).ln()),
        log_step_gain: public(facts.post.step_gains[k].ln()),
        spectral_tail: public(facts.spectral_tails[k]),
    };
    let seen = state.map(|state| state.consecutive).transpose().map(|pairing| Comparison(pairing).seen());
    let post = facts.post;
    let global = GlobalObservation {
        step_fraction: public(facts.step_fraction),
        budget_fraction: public(facts.budget_fraction),
        snr: pairs.map(|pairs| pairs.iter().map(|pair| pair.snr).sum::<f64>() / (steps * pairs.len() as f64)).into(),
        persistence: seen.map_or_else(unknown, |seen| seen.persistence()),
        evidence: seen.map_or_else(unknown, |seen| seen.evidence()),
        loss: number(&|state| Some(state.loss? / steps)),
        loss_change: number(&|state| Some(state.loss? / steps - state.previous_loss?)),
        log_noise_multiplier: public((facts.now.wanted_noise_multiplier() / facts.start.noise_multiplier).ln()),
        log_learning_rate_gain: public(post.learning_rate_gain.ln()),
        log_momentum: public(post.momentum_gain.ln()),
        log_averaging: public(post.averaging_horizon.ln()),
        last_reward: facts.last_reward.unwrap_or_else(unknown),
        noise_energy: public(facts.noise_energy),
    };
    let norms = state.map(|state| state.norm_fractions.as_ref()).transpose().zip(facts.norm_bins);
    let norms = norms.map(|(sums, bins)| histogram(sums, bins, steps, facts.start.clip_norms[0]));
    Observation { global, pairs: (0..facts.now.clip_norms.len()).map(of_pair).collect(), norms }
}

/// Mean of the released histograms of `steps` steps; `unit` is the clip norm at the start.
fn histogram(sums: Released<&Vec<f64>>, bins: &NormBins, steps: f64, unit: f64) -> NormHistogram {
    let each = 0..bins.count();
    NormHistogram {
        middles: each.clone().map(|bin| bins.middle(bin) / unit).collect(),
        uppers: each.clone().map(|bin| bins.upper(bin) / unit).collect(),
        unit,
        fractions: each.map(|bin| sums.map(|sums| sums[bin] / steps).into()).collect(),
    }
}

/// A public value that stands for "not observed".
fn unknown() -> Observable {
    public(0.0)
}

fn public(value: f64) -> Observable {
    Public::declare(value).into()
}
