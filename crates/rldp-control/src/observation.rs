//! What a controller may see. Every field is an [`Observable`]: released, or public.

use rldp_privacy::Observable;

/// About one adapter pair, averaged over an interval.
#[derive(Clone, Debug)]
pub struct PairObservation {
    /// Energy of the released gradient over its noise's, minus 1: an unbiased signal-to-noise estimate.
    pub snr: Observable,
    /// Cosine of the release with the optimizer's momentum before it.
    pub momentum_cosine: Observable,
    /// Cosine of the release with the one before.
    pub previous_cosine: Observable,
    /// Root mean square change of the pair's parameters since the start.
    pub drift: Observable,
    /// Released fraction of units that were clipped; 0 when not paid for.
    pub clip_fraction: Observable,
    /// ln(C_i / C_i at the start).
    pub log_clip_norm: Observable,
    /// ln(w_i / w_i at the start).
    pub log_share: Observable,
    /// ln of the pair's step-size gain.
    pub log_step_gain: Observable,
    /// Tail exponent α of the spectrum of the adapter's update B·A (Hill's estimator); 0 while there is no update. Not
    /// among the flat features.
    pub spectral_tail: Observable,
}

/// About the whole run.
#[derive(Clone, Debug)]
pub struct GlobalObservation {
    /// Steps done over steps planned.
    pub step_fraction: Observable,
    /// Budget spent over budget.
    pub budget_fraction: Observable,
    /// Mean of the pairs' signal-to-noise.
    pub snr: Observable,
    /// What is left of the gradient after one step: inner products of consecutive releases over their energy without the
    /// noise's, shrunk by one deviation. Near 1 the steps are short, below 0 they overshoot.
    pub persistence: Observable,
    /// That energy in deviations of its noise: how much `persistence` can be trusted.
    pub evidence: Observable,
    /// Released clipped mean loss, in nats; 0 when not paid for.
    pub loss: Observable,
    /// Its change since the last interval.
    pub loss_change: Observable,
    /// ln(z / z at the start).
    pub log_noise_multiplier: Observable,
    /// ln of the controller's factor on the learning rate.
    pub log_learning_rate_gain: Observable,
    /// ln of momentum's horizon over that at the start.
    pub log_momentum: Observable,
    /// ln of the averaging horizon, in steps.
    pub log_averaging: Observable,
    /// Reward of the last interval.
    pub last_reward: Observable,
    /// Σ d_i s_i²: energy of the noise in the mean gradient. Not among the flat features.
    pub noise_energy: Observable,
}

/// Released histogram of units' joint gradient norms, averaged over an interval.
#[derive(Clone, Debug)]
pub struct NormHistogram {
    /// Public middle of each bin, over the clip norm at the start.
    pub middles: Vec<f64>,
    /// Public upper end of each bin, over the clip norm at the start.
    pub uppers: Vec<f64>,
    /// Clip norm at the start.
    pub unit: f64,
    /// Released fraction of units in each bin.
    pub fractions: Vec<Observable>,
}

/// One observation over K pairs.
#[derive(Clone, Debug)]
pub struct Observation {
    /// About the run.
    pub global: GlobalObservation,
    /// About each pair (K).
    pub pairs: Vec<PairObservation>,
    /// Histogram of norms, when it was paid for.
    pub norms: Option<NormHistogram>,
}

impl Observation {
    /// Numbers about the run.
    pub const GLOBAL_FEATURES: usize = 12;
    /// Numbers about each pair.
    pub const PAIR_FEATURES: usize = 8;

    /// An observation of `pairs` pairs whose numbers are what `number` gives, one after another; no histogram.
    pub fn filled(pairs: usize, mut number: impl FnMut() -> Observable) -> Self {
        let global = GlobalObservation {
            step_fraction: number(),
            budget_fraction: number(),
            snr: number(),
            persistence: number(),
            evidence: number(),
            loss: number(),
            loss_change: number(),
            log_noise_multiplier: number(),
            log_learning_rate_gain: number(),
            log_momentum: number(),
            log_averaging: number(),
            last_reward: number(),
            noise_energy: number(),
        };
        let mut pair = || PairObservation {
            snr: number(),
            momentum_cosine: number(),
            previous_cosine: number(),
            drift: number(),
            clip_fraction: number(),
            log_clip_norm: number(),
            log_share: number(),
            log_step_gain: number(),
            spectral_tail: number(),
        };
        Self { global, pairs: (0..pairs).map(|_| pair()).collect(), norms: None }
    }

    /// Length of the flat vector over `pairs` pairs.
    pub const fn flat_length(pairs: usize) -> usize {
        Self::GLOBAL_FEATURES + Self::PAIR_FEATURES * pairs
    }

    /// The flat vector of the paper's form: global features, then each pair's, each squashed to about ±1.
    pub fn flat(&self) -> Vec<f64> {
        let mut features = self.global.features().to_vec();
        features.extend(self.pairs.iter().flat_map(PairObservation::features));
        features
    }
}

impl GlobalObservation {
    /// What SAC sees of the run, each squashed to about ±1.
    pub(crate) fn features(&self) -> [f64; Observation::GLOBAL_FEATURES] {
        [
            2.0 * self.step_fraction.value() - 1.0,
            2.0 * self.budget_fraction.value() - 1.0,
            squash(self.snr),
            unit(self.persistence),
            0.5 * squash(self.evidence),
            squash(self.loss) - 0.5,
            squash(self.loss_change),
            self.log_noise_multiplier.value().clamp(-2.0, 2.0),
            self.log_learning_rate_gain.value().clamp(-2.0, 2.0),
            self.log_momentum.value().clamp(-2.0, 2.0),
            (0.5 * self.log_averaging.value()).clamp(-2.0, 2.0),
            squash(self.last_reward),
        ]
    }
}

impl PairObservation {
    /// What SAC sees of a pair, each squashed to about ±1.
    pub(crate) fn features(&self) -> [f64; Observation::PAIR_FEATURES] {
        [
            squash(self.snr),
            unit(self.momentum_cosine),
            unit(self.previous_cosine),
            squash(self.drift),
            unit(self.clip_fraction),
            (self.log_clip_norm.value() / 4.0).clamp(-1.0, 1.0),
            (self.log_share.value() / 2.0).clamp(-1.0, 1.0),
            (self.log_step_gain.value() / 2.0).clamp(-1.0, 1.0),
        ]
    }
}

/// sign(x)·ln(1 + |x|), bounded: keeps order over many magnitudes.
fn squash(value: Observable) -> f64 {
    let value = value.value();
    (value.signum() * value.abs().ln_1p()).clamp(-5.0, 5.0)
}

fn unit(value: Observable) -> f64 {
    value.value().clamp(-1.0, 1.0)
}

/// An observation of nothing, for unit tests of controllers.
#[cfg(test)]
pub(crate) mod testing {
    use rldp_privacy::{Observable, Public};

    use super::Observation;

    pub(crate) fn observation(pairs: usize) -> Observation {
        let zero: Observable = Public::declare(0.0).into();
        Observation::filled(pairs, || zero)
    }
}
