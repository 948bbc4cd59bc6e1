//! Noise that is correlated over steps, so that most of what one step adds is taken back by the next ones.
//!
//! # The mechanism
//!
//! Let x_t be the clipped sum of step t in units of its noise's deviation and c = (c_0, …, c_(b−1)) fixed weights with
//! Σ c_j² ≤ 1. Step t releases u_t = Σ_j c_j x_(t−j) + Z_t with fresh Z_t, and everybody can read off it
//! y_t = (u_t − Σ_(j≥1) c_j y_(t−j)) / c_0 = x_t + n_t, with n_t = (Z_t − Σ_(j≥1) c_j n_(t−j)) / c_0. The noise n of one step is larger
//! than Z, but what adds up over steps, and an optimizer adds up, is about Z / Σ c_j. This is the banded matrix factorization
//! mechanism (Choquette-Choo et al., arXiv 2306.08153, with matrices C of [`crate::Bands`] and noise C⁻¹Z); b = 1 is DP-SGD.
//! The weights are the first b coefficients of (1 − x)^(−1/2), which are near the best for sums over many steps (Fichtenberger,
//! Henzinger & Upadhyay, arXiv 2202.11205), over their norm.
//!
//! # What it costs
//!
//! Units are split into b classes, each by what it holds itself (of m units that hold the same, one is the first, one the second and so
//! on, so that who of them leaves is the last), and step t samples from class t mod b alone, each of its units with probability q' = b·q in
//! secret.
//!
//! **Theorem.** T steps at noise multiplier z are, for one unit more or less, no worse than ⌈T/b⌉ steps of the Gaussian mechanism with Poisson
//! sampling at rate q' and multiplier z.
//!
//! *Proof.* Fix the unit, its class, and everything random but its own coins and Z. It can be drawn at steps t_1, t_1 + b, …, at most
//! ⌈T/b⌉ of them; what it adds at t_i reaches the releases of W_i = {t_i, …, t_i + b − 1} only, and these windows are disjoint. Let all
//! releases before W_i be given. Then its contribution k to x_(t_i), ‖k‖ ≤ 1/z, is fixed, because it depends on earlier releases alone.
//! In the window u_(t_i + j) = F_j + c_j·k·coin_i + Z_(t_i + j), where F_j, what all others add, is a known function of earlier releases, those in the
//! window among them. So the window's releases are computed, one after another, from the vectors c_j·k·coin_i + Z_(t_i + j): one Gaussian
//! mechanism on a vector of norm at most ‖c‖·‖k‖ ≤ 1/z, behind one secret coin of probability q'. Windows compose adaptively, as steps do. ∎
//!
//! - Whatever moves the thresholds between steps moves x in those units, whose bound stays 1/z.
//! - A paid statistic has noise of its own coordinates. It is released without correlation, c = (1), which bounds it the same.
//! - A step that was charged and never released, or a new process, begins anew with no past, and no window reaches beyond such a
//!   break. The break may follow from releases of the window that it ends: whoever has the vectors of the proof can put fresh noise in
//!   place of those after it, which is post-processing.
//! - A class is the same in every process of a run, whatever tokenizer it has; one turn in each round is what the price is for.
//! - Classes may be known to everybody; coins inside a class may not.
//!
//! # On the grid
//!
//! Weights are whole numbers a_j = ⌊2^12·c_j⌋ over 2^12, with Σ a_j² ≤ 2^24 checked as integers. Contributions lie on a grid of
//! 2^-20 deviations, their weighted sums on that of the noise, 2^-32; all sums are exact.

use crate::error::PrivacyError;

/// Most bands: further ones would take memory for less and less.
pub const MOST_BANDS: u64 = 16;

/// Weights are in units of 2^-12.
const WEIGHT_BITS: u32 = 12;

/// The weights of b bands, fixed by b alone; public.
#[derive(Clone, Debug, PartialEq)]
pub struct Bands {
    /// a_j (b), the first the largest.
    weights: Vec<i64>,
}

impl Bands {
    /// b bands.
    ///
    /// # Errors
    /// When b is 0 or above [`MOST_BANDS`].
    pub fn new(bands: u64) -> Result<Self, PrivacyError> {
        if !(1..=MOST_BANDS).contains(&bands) {
            return Err(PrivacyError::Claim(format!("noise has {bands} bands, but must have 1 to {MOST_BANDS}")));
        }
        if bands == 1 {
            return Ok(Self { weights: vec![1] });
        }
        let mut series = vec![1.0_f64];
        for j in 1..bands {
            let last = series[series.len() - 1];
            series.push(last * (2 * j - 1) as f64 / (2 * j) as f64);
        }
        let norm = series.iter().map(|c| c * c).sum::<f64>().sqrt();
        let one = f64::from(1_u32 << WEIGHT_BITS);
        let weights: Vec<i64> = series.iter().map(|c| (c / norm * one) as i64).collect();
        let energy: i64 = weights.iter().map(|a| a * a).sum();
        if energy > 1 << (2 * WEIGHT_BITS) {
            return Err(PrivacyError::Claim(format!("the weights {weights:?} of {bands} bands are longer than 1")));
        }
        Ok(Self { weights })
    }

    /// b.
    pub fn count(&self) -> usize {
        self.weights.len()
    }

    /// a_j (b), in units of 1/[`Self::scale`].
    pub(crate) fn weights(&self) -> &[i64] {
        &self.weights
    }

    /// c_j (b).
    pub fn fractions(&self) -> Vec<f64> {
        self.weights.iter().map(|&a| a as f64 / self.scale()).collect()
    }

    /// What a weight of 1 is: spacings of the noise in one of the contributions.
    pub(crate) fn scale(&self) -> f64 {
        if self.weights.len() == 1 { 1.0 } else { f64::from(1_u32 << WEIGHT_BITS) }
    }

    /// Bound of Σ_j c_j: how much larger a weighted sum of contributions can be than the largest of them.
    pub(crate) fn growth(&self) -> f64 {
        self.weights.iter().sum::<i64>() as f64 / self.scale()
    }

    /// The first `count` coefficients of 1 / Σ c_j x^j: what of Z_(t−i) is in n_t.
    fn inverse(&self, count: usize) -> Vec<f64> {
        let c = self.fractions();
        let mut inverse: Vec<f64> = Vec::with_capacity(count);
        for t in 0..count {
            let earlier: f64 = c.iter().skip(1).zip(inverse.iter().rev()).map(|(c, d)| c * d).sum();
            inverse.push((f64::from(u8::from(t == 0)) - earlier) / c[0]);
        }
        inverse
    }

    /// Deviation of n_t, and its covariance with n_(t−1), in those of Z, `position` steps after noise began anew.
    pub(crate) fn noise_of(&self, position: usize) -> (f64, f64) {
        let inverse = self.inverse(position.min(LONGEST) + 1);
        let variance: f64 = inverse.iter().map(|d| d * d).sum();
        let covariance: f64 = inverse.windows(2).map(|d| d[0] * d[1]).sum();
        (variance.sqrt(), if position == 0 { 0.0 } else { covariance })
    }

    /// Deviation of n_t long after noise began anew, in deviations of Z.
    pub fn deviation(&self) -> f64 {
        self.noise_of(LONGEST).0
    }

    /// Deviation of what noise leaves behind in a sum over many steps, over √steps of one step's in the long run: below 1, and 1
    /// for one band. What an optimizer sees of noise in a step is larger than what stays by the inverse.
    pub fn lasting(&self) -> f64 {
        1.0 / (self.growth() * self.deviation())
    }

    /// Root mean square over `steps` steps of what noise leaves in Σ_(s≤t) η_s y_s with rates η that fall linearly to zero, in
    /// deviations of Z: what plans of different b and z are compared by.
    pub fn noise_of_iterates(&self, steps: usize) -> f64 {
        let inverse = self.inverse(steps);
        let rate = |s: usize| 1.0 - s as f64 / steps as f64;
        // What Z_s has left in the iterate after step t: Σ_(s≤r≤t) η_r d_(r−s).
        let squares = (0..steps).map(|s| {
            let mut left = 0.0;
            (s..steps)
                .map(|t| {
                    left += rate(t) * inverse[t - s];
                    left * left
                })
                .sum::<f64>()
        });
        (squares.sum::<f64>() / steps.max(1) as f64).sqrt()
    }
}

/// Coefficients after which the inverse's energy changes no more in its first digits.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_band_is_noise_of_its_own_for_every_step() {
        let one = Bands::new(1).unwrap();
        assert_eq!((one.weights(), one.scale(), one.growth(), one.lasting()), ([1].as_slice(), 1.0, 1.0, 1.0));
        assert_eq!(one.noise_of(0), (1.0, 0.0));
        assert_eq!(one.noise_of(9), (1.0, 0.0));
    }

    #[test]
    fn no_column_is_longer_than_one_and_hardly_shorter() {
        for bands in 2..=MOST_BANDS {
            let weights = Bands::new(bands).unwrap().weights().to_vec();
            let energy: i64 = weights.iter().map(|a| a * a).sum();
            assert!(energy <= 1 << 24 && energy > (1 << 24) / 1000 * 998, "{bands}: {weights:?}");
            assert!(weights.is_sorted_by(|a, b| a > b) && weights.iter().all(|a| *a > 0), "{bands}: {weights:?}");
        }
        assert!(Bands::new(0).is_err() && Bands::new(MOST_BANDS + 1).is_err());
    }

    /// C times its inverse is the identity, and variances and covariances are those of the matrix C⁻¹ made as a whole.
    #[test]
    fn the_inverse_is_the_matrix_inverse() {
        let bands = Bands::new(4).unwrap();
        let (n, d) = (12, bands.inverse(12));
        let c = |i: usize| bands.weights().get(i).map_or(0.0, |&a| a as f64 / bands.scale());
        for t in 0..n {
            let product: f64 = (0..=t).map(|i| c(i) * d[t - i]).sum();
            assert!((product - f64::from(u8::from(t == 0))).abs() < 1e-12);
        }
        let row = |t: usize| -> Vec<f64> { (0..n).map(|s| if s <= t { d[t - s] } else { 0.0 }).collect() };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for t in 1..n {
            let (deviation, covariance) = bands.noise_of(t);
            assert!((deviation - dot(&row(t), &row(t)).sqrt()).abs() < 1e-12);
            assert!((covariance - dot(&row(t), &row(t - 1))).abs() < 1e-12);
        }
    }

    /// Of ten thousand steps' noise, 1/Σ c_j of a step's stays for each √step; what a plan is compared by is the same for one band as
    /// for independent noise.
    #[test]
    fn most_of_the_noise_is_taken_back() {
        let bands = Bands::new(4).unwrap();
        let sum: f64 = bands.inverse(10_000).iter().sum();
        assert!((sum * bands.growth() - 1.0).abs() < 1e-3, "{sum}");
        assert!((0.38..0.42).contains(&bands.lasting()), "{}", bands.lasting());
        let steps = 60;
        let plain: f64 = (0..steps).map(|s| (1.0 - s as f64 / 60.0).powi(2) * (60 - s) as f64).sum::<f64>() / 60.0;
        assert!((Bands::new(1).unwrap().noise_of_iterates(steps) - plain.sqrt()).abs() < 1e-12);
        let ratio = bands.noise_of_iterates(steps) / plain.sqrt();
        assert!((0.55..0.65).contains(&ratio), "{ratio}");
    }
}
