//! Applies a controller's action to the mechanism, projected onto what the mechanism allows.

use rldp_control::Action;

use crate::{
    plan::Steering,
    settings::{ClippingKind, RegimeKind},
};

/// A threshold may wander this far from its start, either way.
pub(crate) const CLIP_RANGE: f64 = 64.0;
/// No pair's share falls below this fraction of an even share, so that its noise stays bounded.
const SHARE_FLOOR: f64 = 0.1;
/// The noise multiplier may wander this far from the planned one, either way.
const NOISE_RANGE: f64 = 4.0;

/// Moves `now` by `action`; `start` anchors the ranges. Returns whether anything was projected.
///
/// Pair-wise clipping takes the moves of thresholds and shares; joint clipping takes those of thresholds as moves of its
/// scales; flat clipping has one threshold, which takes their mean.
pub fn apply(now: &mut Steering, start: &Steering, action: &Action, regime: RegimeKind) -> bool {
    let mut projected = false;
    let mut clamp = |value: f64, centre: f64, range: f64| {
        let bounded = value.clamp(centre / range, centre * range);
        projected |= bounded != value;
        bounded
    };
    let count = now.clip_norms.len();
    let common = action.clip_log_delta.iter().sum::<f64>() / count.max(1) as f64;
    for k in 0..count {
        let delta = if now.clipping == ClippingKind::Flat { common } else { action.clip_log_delta[k] };
        now.clip_norms[k] = clamp(now.clip_norms[k] * delta.exp(), start.clip_norms[k], CLIP_RANGE);
    }
    if regime != RegimeKind::Committed {
        let proposal = now.noise_multiplier * action.noise_log_delta.exp();
        now.noise_multiplier = clamp(proposal, start.noise_multiplier, NOISE_RANGE);
    }
    projected |= now.post.apply(action);
    if now.clipping == ClippingKind::PairWise {
        let total = 1.0 - now.statistics_share;
        let moved: Vec<f64> =
            now.shares.iter().zip(&action.share_log_delta).map(|(share, delta)| share * delta.exp()).collect();
        projected |= moved.iter().any(|share| *share < SHARE_FLOOR * total / count as f64);
        now.shares = onto_simplex(&moved, total);
    }
    projected
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

    fn start() -> Steering {
        Steering {
            clipping: ClippingKind::PairWise,
            scaling: rldp_privacy::Scaling::Clip,
            clip_norms: vec![0.5; 4],
            shares: vec![0.245; 4],
            statistics_share: 0.02,
            noise_multiplier: 1.0,
            post: crate::post_processing::PostProcessing::start(4),
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
        assert!(!apply(&mut now, &start(), &action([0.0; 4], 0.0, 0.0), RegimeKind::Committed));
        assert_eq!(now.clip_norms, start().clip_norms);
        assert!(now.shares.iter().all(|share| (share - 0.245).abs() < 1e-15));
    }

    #[test]
    fn the_committed_regime_never_moves_the_noise_multiplier() {
        let mut now = start();
        apply(&mut now, &start(), &action([0.0; 4], 0.3, -0.5), RegimeKind::Committed);
        assert_eq!(now.noise_multiplier, 1.0);
        apply(&mut now, &start(), &action([0.0; 4], 0.3, -0.5), RegimeKind::Adaptive);
        assert!(now.noise_multiplier < 1.0);
    }

    #[test]
    fn extreme_actions_stay_on_the_simplex_and_in_range() {
        let mut now = start();
        for _ in 0..50 {
            assert!(
                apply(&mut now, &start(), &action([3.0, -3.0, -3.0, 0.0], 3.0, 3.0), RegimeKind::Adaptive)
                    || now.clip_norms[0] < 32.0
            );
        }
        assert!((now.shares.iter().sum::<f64>() - 0.98).abs() < 1e-12, "{:?}", now.shares);
        assert!(now.shares.iter().all(|share| *share >= 0.1 * 0.245 - 1e-15), "{:?}", now.shares);
        assert!((now.clip_norms[0] - 32.0).abs() < 1e-9 && (now.noise_multiplier - 4.0).abs() < 1e-9);
    }
}
