//! Gaussian noise on a grid of integers, from a cryptographic generator.
//!
//! # Why a grid
//!
//! A floating-point normal added to a floating-point sum leaks: which doubles can come out at all depends on the sum
//! (Mironov 2012; arXiv 2112.05307), and the sum itself depends on the order of its terms by more than its stated
//! sensitivity (arXiv 2207.10635). Here contributions and noise are whole multiples of a spacing, 2^-32 of the noise's standard
//! deviation. Integer sums are exact, and their low bits are covered as well as their high ones.
//!
//! # Why the continuous accountants apply
//!
//! Let x be an integer (a sum in spacings of the grid) and N standard normal. Then x + ⌊2^32·N⌋ = ⌊x + 2^32·N⌋: adding *rounded*
//! noise to an integer is rounding the output of the continuous Gaussian mechanism, which is post-processing. Nothing
//! has to be proven anew about a discrete distribution. Arithmetic modulo 2^64 is post-processing too, so even a sum
//! that left 64 bits would leak nothing (and it is refused beforehand, because it would be useless).
//!
//! # How far a draw is from ⌊2^32·N⌋
//!
//! Write k for the magnitude: a draw is k or −1 − k with equal odds, as the sign of N has. For k ≥ 0 the exact
//! probability is p(k) ∝ ∫ e^(-x²/2) dx over [k, k + 1]/2^32. The sampler (see `strips.rs` for the ratios) proposes with
//! exact integer probabilities and accepts exactly when a uniform 120-bit U is below a computed ratio; short cuts decide
//! only where no further bit of U could change the verdict. With u = 2^-120, total-variation distances are:
//!
//! | Source | At most |
//! |---|---|
//! | magnitudes from 16 deviations are never drawn: 2Q(16) | 2^-188 |
//! | midpoint rule with its second-order term: \|φ''''\|₁/(1920·2^128) < 5/1920·2^-128 | 2^-136 |
//! | ratios: Σ (a_i/2^27)·((C/a_i)·2^8 + 7)u ≤ (C·2^-9 + 7)u with C < 2^21, over an acceptance above 0.98 | 2^-107 |
//! | comparing U with a ratio that is a multiple of u | 0 |
//! | proposing: integers a_i/2^27, uniform inside a strip | 0 |
//!
//! (For measures with masses A and A', normalising both costs at most the L1 distance over the larger mass.) Together
//! below 2^-106; [`TV_PER_COORDINATE`] states 2^-104, which the claim pays for out of its delta.
//!
//! # What remains
//!
//! - The generator, `ChaCha12` with a key from the operating system, is taken to be indistinguishable from uniform bits.
//! - Time: about 1.4 % of draws take the longer path and 0.8 % are drawn again, depending on the noise and not on the
//!   data. An attacker who times single draws could learn a little about the noise; whoever can must not be near.
//! - Converting a noisy sum to `f64` or `f32` is post-processing.

mod ahead;
mod fixed;
mod gaussian;
mod reserve;
mod strips;
#[cfg(test)]
mod tests;

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

pub use reserve::{ideal_delta, largest_epsilon, noise_delta};

use self::ahead::Ahead;
use crate::{error::PrivacyError, secrecy::Secrecy};

/// Spacings of the grid in a standard deviation of the noise: S = 2^32.
///
/// At z = 1 a clip norm has 2^32 of them (so truncation costs a unit at most √P·2^-32 of its norm) and 2^30 units fit into
/// 64 bits.
pub const SPACINGS_PER_DEVIATION: f64 = (1_u64 << 32) as f64;

/// Largest magnitude of a draw, in spacings of the grid: below 16 deviations.
pub(crate) const LARGEST_DRAW: f64 = 16.0 * SPACINGS_PER_DEVIATION;

/// Total-variation distance, at most, of one draw from the rounded Gaussian ⌊2^32·N⌋: 2^-104. The module says why.
pub const TV_PER_COORDINATE: f64 = 1.0 / (1_u128 << 104) as f64;

/// Where noise comes from.
pub struct NoiseSource {
    rng: ChaCha12Rng,
    secrecy: Secrecy,
    silent: bool,
    ahead: Ahead,
}

impl NoiseSource {
    /// A generator seeded by the operating system, fresh in every process: no stream is ever used twice.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn os() -> Result<Self, PrivacyError> {
        let rng = ChaCha12Rng::try_from_os_rng().map_err(|error| PrivacyError::Randomness(error.to_string()))?;
        Ok(Self { rng, secrecy: Secrecy::Secret, silent: false, ahead: Ahead::default() })
    }

    /// A generator whose seed is known: for tests and paired research runs. **No privacy guarantee** holds for what it
    /// perturbs, and every claim made with it must say so.
    pub fn unsafe_seeded(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        rng.set_stream(1);
        Self { rng, secrecy: Secrecy::Known, silent: false, ahead: Ahead::default() }
    }

    /// No noise at all, for tests of the arithmetic. **No privacy guarantee** holds.
    pub fn unsafe_silent() -> Self {
        Self { silent: true, ..Self::unsafe_seeded(0) }
    }

    /// Whether the noise is secret, as every promise needs.
    pub fn secrecy(&self) -> Secrecy {
        self.secrecy
    }

    /// Mean of what [`Self::perturb`] adds: −1/2, since draws are rounded down.
    pub(crate) fn mean(&self) -> f64 {
        if self.silent { 0.0 } else { -0.5 }
    }

    /// Adds to every value, modulo 2^64, a draw of ⌊2^32·N⌋ with N standard normal: noise of 2^32 spacings of the grid.
    ///
    /// **Guarantee.** On values that one unit moves by at most Δ in L2, this is within [`TV_PER_COORDINATE`] a value of
    /// post-processing the Gaussian mechanism of noise multiplier 2^32/Δ. The draws have mean −1/2, which whoever reads
    /// the values may add back.
    pub fn perturb(&mut self, values: &mut [i64]) {
        if self.silent {
            return;
        }
        let rest = self.ahead.add_to(values);
        let tables = &*strips::TABLES;
        for value in rest {
            *value = value.wrapping_add(gaussian::draw(tables, &mut self.rng));
        }
    }

    /// Makes the next `count` draws of [`Self::perturb`] now, while the sum that they are for is still being made. They are the same
    /// draws in the same order: which bits come out does not depend on whether, or when, this was called.
    ///
    /// **Guarantee.** Draws depend on the generator alone, so when they are made tells nothing. Each leaves the store as it is added, and
    /// is added once.
    pub fn draw_ahead(&mut self, count: usize) {
        if self.silent {
            return;
        }
        let tables = &*strips::TABLES;
        self.ahead.fill(count, || gaussian::draw(tables, &mut self.rng));
    }
}
