//! What a controller moves of the mechanism, within the bounds that the mechanism allows.

use rldp_control::Action;
use rldp_privacy::{Allocation, Scaling};
use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError,
    settings::{ClippingKind, PrivacySettings, RegimeKind},
};

/// A threshold may wander this far from its start, either way.
pub(crate) const CLIP_RANGE: f64 = 64.0;
/// No pair's share falls below this fraction of an even share, so that its noise stays bounded.
const SHARE_FLOOR: f64 = 0.1;
/// The noise multiplier may wander this far from the planned one, either way.
const NOISE_RANGE: f64 = 4.0;

/// What a controller moves of the mechanism. All of it is public.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Controls {
    /// Which of the moves the mechanism takes.
    pub clipping: ClippingKind,
    /// How a unit is brought under its bound.
    pub scaling: Scaling,
    /// C_i (K): thresholds in pair-wise clipping, scales of the pairs in joint clipping, all equal in flat clipping.
    pub clip_norms: Vec<f64>,
    /// w_i (K), which sum to 1 − w_0; used by pair-wise clipping alone.
    pub shares: Vec<f64>,
    /// w_0.
    pub statistics_share: f64,
    /// z of the last step that was charged; where a controller moves it otherwise than in a deck, of the next one.
    pub noise_multiplier: f64,
    /// z that a controller asks a deck for, which plays the nearest card left; none before it asks for one, and in other regimes.
    #[serde(default)]
    pub wished_noise_multiplier: Option<f64>,
}

impl Controls {
    /// Even start: joint bound C over K pairs.
    pub fn even(privacy: &PrivacySettings, pairs: usize, noise_multiplier: f64) -> Self {
        let count = pairs as f64;
        let clip_norm = match privacy.clipping {
            ClippingKind::PairWise => privacy.clip_norm / count.sqrt(),
            ClippingKind::Joint | ClippingKind::Flat => privacy.clip_norm,
        };
        Self {
            clipping: privacy.clipping,
            scaling: privacy.scaling,
            clip_norms: vec![clip_norm; pairs],
            shares: vec![(1.0 - privacy.statistics_share) / count; pairs],
            statistics_share: privacy.statistics_share,
            noise_multiplier,
            wished_noise_multiplier: None,
        }
    }

    /// z that the next step is charged for, or the card nearest to it.
    pub(crate) fn wanted_noise_multiplier(&self) -> f64 {
        self.wished_noise_multiplier.unwrap_or(self.noise_multiplier)
    }

    /// The mechanism of the next step.
    ///
    /// # Errors
    /// When thresholds or shares are not a valid allocation.
    pub fn allocation(&self) -> Result<Allocation, TrainError> {
        let allocation = match self.clipping {
            ClippingKind::PairWise => {
                Allocation::pair_wise(self.clip_norms.clone(), self.shares.clone(), self.statistics_share)?
            }
            ClippingKind::Joint | ClippingKind::Flat => {
                Allocation::joint(self.clip_norms.clone(), self.statistics_share)?
            }
        };
        Ok(allocation.with_scaling(self.scaling))
    }

    /// Moves by `action`, projected onto what the mechanism allows; `start` anchors the ranges. Returns whether anything was
    /// projected.
    ///
    /// Pair-wise clipping takes the moves of thresholds and shares; joint clipping takes those of thresholds as moves of its
    /// scales; flat clipping has one threshold, which takes their mean.
    pub(crate) fn apply(&mut self, start: &Self, action: &Action, regime: RegimeKind) -> bool {
        let mut projected = false;
        let mut clamp = |value: f64, centre: f64, range: f64| {
            let bounded = value.clamp(centre / range, centre * range);
            projected |= bounded != value;
            bounded
        };
        let count = self.clip_norms.len();
        let common = action.clip_log_delta.iter().sum::<f64>() / count.max(1) as f64;
        for k in 0..count {
            let delta = if self.clipping == ClippingKind::Flat { common } else { action.clip_log_delta[k] };
            self.clip_norms[k] = clamp(self.clip_norms[k] * delta.exp(), start.clip_norms[k], CLIP_RANGE);
        }
        if regime != RegimeKind::Committed {
            let proposal = self.wanted_noise_multiplier() * action.noise_log_delta.exp();
            let wished = clamp(proposal, start.noise_multiplier, NOISE_RANGE);
            match regime {
                // What was played says nothing of what is wished: a wish must be able to leave a card behind in small moves.
                RegimeKind::Deck => self.wished_noise_multiplier = Some(wished),
                RegimeKind::Committed | RegimeKind::Adaptive => self.noise_multiplier = wished,
            }
        }
        if self.clipping == ClippingKind::PairWise {
            let total = 1.0 - self.statistics_share;
            let moved: Vec<f64> =
                self.shares.iter().zip(&action.share_log_delta).map(|(share, delta)| share * delta.exp()).collect();
            projected |= moved.iter().any(|share| *share < SHARE_FLOOR * total / count as f64);
            self.shares = onto_simplex(&moved, total);
        }
        projected
    }

    /// Whether they can be of a run that began with `start`.
    pub(crate) fn fits(&self, start: &Self) -> bool {
        let fixed = |of: &Self| (of.clipping, of.scaling, of.statistics_share);
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        fixed(self) == fixed(start)
            && self.clip_norms.iter().chain(&self.shares).all(positive)
            && self.wished_noise_multiplier.as_ref().is_none_or(positive)
            && (positive(&self.noise_multiplier) || self.noise_multiplier == 0.0 && start.noise_multiplier == 0.0)
    }
}

/// Scales `weights` to sum to `total` with every entry at least the floor; entries below it are pinned there.
fn onto_simplex(weights: &[f64], total: f64) -> Vec<f64> {
    let floor = SHARE_FLOOR * total / weights.len() as f64;
    let mut pinned = vec![false; weights.len()];
    loop {
        let free: f64 = weights.iter().zip(&pinned).filter(|(_, pinned)| !**pinned).map(|(weight, _)| weight).sum();
        let left = total - floor * pinned.iter().filter(|pinned| **pinned).count() as f64;
        let scale = left / free;
        let below = |k: usize| !pinned[k] && weights[k] * scale < floor;
        let next: Vec<usize> = (0..weights.len()).filter(|&k| below(k)).collect();
        if next.is_empty() {
            let shares = weights.iter().zip(&pinned);
            return shares.map(|(weight, pinned)| if *pinned { floor } else { weight * scale }).collect();
        }
        for k in next {
            pinned[k] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Controls {
        Controls {
            clipping: ClippingKind::PairWise,
            scaling: rldp_privacy::Scaling::Clip,
            clip_norms: vec![0.5; 4],
            shares: vec![0.245; 4],
            statistics_share: 0.02,
            noise_multiplier: 1.0,
            wished_noise_multiplier: None,
        }
    }

    fn action(share: [f64; 4], clip: f64, noise: f64) -> Action {
        Action {
            clip_log_delta: vec![clip; 4],
            share_log_delta: share.to_vec(),
            noise_log_delta: noise,
            ..Action::idle(4)
        }
    }

    #[test]
    fn an_idle_action_changes_nothing() {
        let mut now = start();
        assert!(!now.apply(&start(), &action([0.0; 4], 0.0, 0.0), RegimeKind::Committed));
        assert_eq!(now.clip_norms, start().clip_norms);
        assert!(now.shares.iter().all(|share| (share - 0.245).abs() < 1e-15));
    }

    #[test]
    fn the_committed_regime_never_moves_the_noise_multiplier() {
        let mut now = start();
        now.apply(&start(), &action([0.0; 4], 0.3, -0.5), RegimeKind::Committed);
        assert_eq!(now.noise_multiplier, 1.0);
        now.apply(&start(), &action([0.0; 4], 0.3, -0.5), RegimeKind::Adaptive);
        assert!(now.noise_multiplier < 1.0);
    }

    #[test]
    fn a_wish_leaves_the_card_that_was_played_behind() {
        let mut now = start();
        for _ in 0..10 {
            now.apply(&start(), &action([0.0; 4], 0.0, 0.05), RegimeKind::Deck);
            now.noise_multiplier = 1.0;
        }
        assert!((now.wanted_noise_multiplier().ln() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn extreme_actions_stay_on_the_simplex_and_in_range() {
        let mut now = start();
        for _ in 0..50 {
            assert!(
                now.apply(&start(), &action([3.0, -3.0, -3.0, 0.0], 3.0, 3.0), RegimeKind::Adaptive)
                    || now.clip_norms[0] < 32.0
            );
        }
        assert!((now.shares.iter().sum::<f64>() - 0.98).abs() < 1e-12, "{:?}", now.shares);
        assert!(now.shares.iter().all(|share| *share >= 0.1 * 0.245 - 1e-15), "{:?}", now.shares);
        assert!((now.clip_norms[0] - 32.0).abs() < 1e-9 && (now.noise_multiplier - 4.0).abs() < 1e-9);
    }
}
