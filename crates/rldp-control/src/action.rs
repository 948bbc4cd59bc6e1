//! What a controller may do, within bounds.

/// Moves of one decision; every number but `stop` is a change of a logarithm.
///
/// Thresholds, shares and noise are the mechanism's, which prices them. Everything else is post-processing of what was
/// released, and free.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Change of ln C_i (K): the threshold of the pair, or its scale where all pairs are clipped together.
    pub clip_log_delta: Vec<f64>,
    /// Change of ln w_i before the shares are scaled to their sum (K).
    pub share_log_delta: Vec<f64>,
    /// Change of ln of the pair's step-size gain (K). A gain at the lower end of its range freezes the pair.
    pub step_log_delta: Vec<f64>,
    /// Change of ln z; used where the regime lets noise move.
    pub noise_log_delta: f64,
    /// Change of ln of the learning-rate gain.
    pub learning_rate_log_gain: f64,
    /// Change of ln of momentum's horizon, 1/(1 − β₁) steps.
    pub momentum_log_delta: f64,
    /// Change of ln of the horizon, in steps, over which iterates are averaged; 1 averages nothing.
    pub averaging_log_delta: f64,
    /// Change of the inclination to stop, which begins at 0 and ends the run at 1.
    pub stop_delta: f64,
}

/// Largest moves of one decision, either way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActionBounds {
    /// Of ln C_i.
    pub clip: f64,
    /// Of ln w_i.
    pub share: f64,
    /// Of ln of a pair's step-size gain.
    pub step: f64,
    /// Of ln z.
    pub noise: f64,
    /// Of ln of the learning-rate gain.
    pub learning_rate: f64,
    /// Of ln of momentum's horizon.
    pub momentum: f64,
    /// Of ln of the averaging horizon.
    pub averaging: f64,
    /// Of the inclination to stop: ten decisions that all want it.
    pub stop: f64,
}

/// Decisions over which the bounds of one were chosen.
const DECISIONS: f64 = 20.0;

impl ActionBounds {
    /// In a run of so many decisions: with more than twenty each moves less, by the root, so that moves which mean nothing wander
    /// as far over the run as in twenty.
    pub fn over(decisions: u64) -> Self {
        let scale = (DECISIONS / (decisions as f64).max(DECISIONS)).sqrt();
        let full = Self::default();
        Self {
            clip: scale * full.clip,
            share: scale * full.share,
            step: scale * full.step,
            noise: scale * full.noise,
            learning_rate: scale * full.learning_rate,
            momentum: scale * full.momentum,
            averaging: scale * full.averaging,
            stop: scale * full.stop,
        }
    }
}

impl Default for ActionBounds {
    /// Small enough that a policy that knows nothing yet does little harm in twenty decisions.
    fn default() -> Self {
        Self {
            clip: 0.1,
            share: 0.1,
            step: 0.1,
            noise: 0.05,
            learning_rate: 0.15,
            momentum: 0.1,
            averaging: 0.2,
            stop: 0.1,
        }
    }
}

impl Action {
    /// Moves of each pair.
    pub const PAIR_MOVES: usize = 3;
    /// Moves of the whole run.
    pub const RUN_MOVES: usize = 5;

    /// Leaves everything as it is.
    pub fn idle(pairs: usize) -> Self {
        Self::from_flat(&vec![0.0; Self::flat_length(pairs)], ActionBounds::default())
    }

    /// Length of the flat vector over `pairs` pairs.
    pub const fn flat_length(pairs: usize) -> usize {
        Self::PAIR_MOVES * pairs + Self::RUN_MOVES
    }

    /// From a vector in [−1, 1]: clip moves (K), share moves (K), step-size moves (K), then noise, learning rate, momentum,
    /// averaging, stop.
    ///
    /// # Panics
    /// When the vector has another length: a defect of the caller.
    pub fn from_flat(flat: &[f64], bounds: ActionBounds) -> Self {
        let pairs = flat.len().saturating_sub(Self::RUN_MOVES) / Self::PAIR_MOVES;
        assert_eq!(flat.len(), Self::flat_length(pairs), "{} numbers are no flat action", flat.len());
        let scaled = |value: f64, bound: f64| value.clamp(-1.0, 1.0) * bound;
        let of_pairs = |block: usize, bound: f64| {
            flat[block * pairs..(block + 1) * pairs].iter().map(|value| scaled(*value, bound)).collect()
        };
        let run = &flat[Self::PAIR_MOVES * pairs..];
        Self {
            clip_log_delta: of_pairs(0, bounds.clip),
            share_log_delta: of_pairs(1, bounds.share),
            step_log_delta: of_pairs(2, bounds.step),
            noise_log_delta: scaled(run[0], bounds.noise),
            learning_rate_log_gain: scaled(run[1], bounds.learning_rate),
            momentum_log_delta: scaled(run[2], bounds.momentum),
            averaging_log_delta: scaled(run[3], bounds.averaging),
            stop_delta: scaled(run[4], bounds.stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_decisions_than_twenty_wander_no_farther() {
        assert_eq!(ActionBounds::over(1), ActionBounds::default());
        assert_eq!(ActionBounds::over(20), ActionBounds::default());
        let (few, many) = (ActionBounds::over(20), ActionBounds::over(720));
        assert!((many.learning_rate * 6.0 - few.learning_rate).abs() < 1e-12);
        assert!((many.stop * 6.0 - few.stop).abs() < 1e-12);
    }
}
