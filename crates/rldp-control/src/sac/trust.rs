//! How far a policy that learns while it steers may lead: as far as its critics' word has held.
//!
//! Rewards of a private run are mostly noise, and an actor follows its critics' errors as gladly as what they know. So before a
//! transition is learned from, what the critics said of its move is set against what the move then earned. While the two agree
//! no better than by chance, moves are those of a policy that has learned nothing, and what they add up to is taken back bit by
//! bit; with evidence the policy's own share grows.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::agent::untrained_move;

/// Agreement, in standard deviations of none, below which a policy is not followed: chance alone passes it in one of 44.
const CHANCE: f64 = 2.0;
/// Judged moves below which nothing is said.
const LEAST: u64 = 8;
/// What an exploring move takes back of all before it: they stay within 1.4 of one's deviation.
const RETURN: f64 = 0.3;

/// What critics said of moves before they were judged, against what the moves earned: running sums about running means.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trust {
    /// Of a policy that was learned before the run, which is followed as it is.
    granted: bool,
    count: u64,
    mean_said: f64,
    mean_earned: f64,
    said_squares: f64,
    earned_squares: f64,
    products: f64,
    /// Sums of exploring moves, by who moves: the run, or each pair.
    wandered: Vec<Vec<f64>>,
}

impl Trust {
    /// In a policy that was learned before the run.
    pub(crate) fn granted() -> Self {
        Self { granted: true, ..Self::default() }
    }

    /// Takes one judged move: the advantage that the critics `said` it had, and the reward that it `earned`.
    pub(crate) fn judge(&mut self, said: f64, earned: f64) {
        if !said.is_finite() || !earned.is_finite() {
            return;
        }
        self.count += 1;
        let share = 1.0 / self.count as f64;
        let (from_said, from_earned) = (said - self.mean_said, earned - self.mean_earned);
        self.mean_said += share * from_said;
        self.mean_earned += share * from_earned;
        self.said_squares += from_said * (said - self.mean_said);
        self.earned_squares += from_earned * (earned - self.mean_earned);
        self.products += from_said * (earned - self.mean_earned);
    }

    /// Correlation of what was said with what was earned, over its deviation where there is none.
    pub(crate) fn agreement(&self) -> f64 {
        let scale = (self.said_squares * self.earned_squares).sqrt();
        if self.count < LEAST || scale <= 0.0 { 0.0 } else { self.products / scale * (self.count as f64).sqrt() }
    }

    /// The policy's share of its moves, in [0, 1]: what is left of the agreement when chance has had its part.
    pub(crate) fn share(&self) -> f64 {
        let agreement = self.agreement();
        if self.granted {
            1.0
        } else if agreement > CHANCE {
            1.0 - (CHANCE / agreement).powi(2)
        } else {
            0.0
        }
    }

    /// What rewards are divided by before they are learned from: their deviation, where it is above 1. A decision of a
    /// thousandth of the budget has rewards of a thousand times the noise of one that spends all.
    pub(crate) fn reward_unit(&self) -> f64 {
        let variance = self.earned_squares / (self.count.max(2) - 1) as f64;
        variance.sqrt().max(1.0)
    }

    /// The move that mover `who` is to make where the policy would make `own`.
    pub(crate) fn lead(&mut self, who: usize, own: Vec<f64>, rng: &mut impl Rng) -> Vec<f64> {
        if self.granted {
            return own;
        }
        let share = self.share();
        if self.wandered.len() <= who {
            self.wandered.resize(who + 1, vec![0.0; own.len()]);
        }
        let moves = own.into_iter().zip(&mut self.wandered[who]);
        moves
            .map(|(own, wandered)| {
                let explored = (1.0 - share) * (untrained_move(rng) - RETURN * *wandered).clamp(-1.0, 1.0);
                *wandered += explored;
                share * own + explored
            })
            .collect()
    }

    /// Whether it can have come from judged moves.
    pub(crate) fn check(&self, movers: usize, moves: usize) -> Result<(), String> {
        let sums = [self.mean_said, self.mean_earned, self.said_squares, self.earned_squares, self.products];
        let finite = sums.iter().chain(self.wandered.iter().flatten()).all(|sum| sum.is_finite());
        let fits = self.wandered.len() <= movers && self.wandered.iter().all(|sums| sums.len() == moves);
        if finite && fits && self.said_squares.min(self.earned_squares) >= 0.0 {
            Ok(())
        } else {
            Err("its record of judged moves does not fit".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha12Rng;
    use rand_distr::StandardNormal;

    use super::*;

    fn judged(signal: f64, count: usize, seed: u64) -> Trust {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut trust = Trust::default();
        for _ in 0..count {
            let said: f64 = rng.sample(StandardNormal);
            let noise: f64 = rng.sample(StandardNormal);
            trust.judge(0.01 * said + 5.0, signal * said + noise - 3.0);
        }
        trust
    }

    #[test]
    fn exploring_moves_stay_near_where_they_began() {
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let mut trust = Trust::default();
        let mut place = 0.0_f64;
        let mut squares = 0.0;
        for _ in 0..4000 {
            place += trust.lead(1, vec![1.0, -1.0], &mut rng)[0];
            squares += place * place / 4000.0;
        }
        // One move has a deviation of 0.33.
        assert!((0.3..0.6).contains(&squares.sqrt()), "{}", squares.sqrt());
        assert!(trust.check(2, 2).is_ok() && trust.check(1, 2).is_err() && trust.check(2, 3).is_err());
    }

    /// Of 2,000 policies whose word is worth nothing about one in 44 is followed: 46, with a deviation of 7; below 80 but once in
    /// a million.
    #[test]
    fn a_policy_is_seldom_followed_by_chance() {
        let followed = (0..2000).filter(|seed| judged(0.0, 100, *seed).share() > 0.0).count();
        assert!((15..80).contains(&followed), "{followed}");
    }

    #[test]
    fn a_policy_whose_word_holds_is_followed() {
        assert!(judged(1.0, 100, 1).share() > 0.9);
        assert_eq!(judged(-1.0, 100, 1).share(), 0.0);
        assert_eq!(judged(1.0, 7, 1).share(), 0.0);
    }

    #[test]
    fn sums_are_those_of_the_definition() {
        let (said, earned) = ([0.5, -1.0, 2.0, 0.25, 1.5, -0.5, 0.0, 3.0], [1.0, 0.0, 1.5, -2.0, 4.0, 0.5, 0.25, 9.0]);
        let mut trust = Trust::default();
        said.iter().zip(&earned).for_each(|(said, earned)| trust.judge(*said, *earned));
        trust.judge(f64::NAN, 1.0);
        let mean = |values: &[f64; 8]| values.iter().sum::<f64>() / 8.0;
        let about = |left: &[f64; 8], right: &[f64; 8]| {
            let (a, b) = (mean(left), mean(right));
            left.iter().zip(right).map(|(x, y)| (x - a) * (y - b)).sum::<f64>()
        };
        let correlation = about(&said, &earned) / (about(&said, &said) * about(&earned, &earned)).sqrt();
        assert!((trust.agreement() - correlation * 8.0_f64.sqrt()).abs() < 1e-12);
        assert!((trust.reward_unit() - (about(&earned, &earned) / 7.0).sqrt()).abs() < 1e-12);
    }
}
