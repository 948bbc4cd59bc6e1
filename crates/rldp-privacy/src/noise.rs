//! Gaussian noise from a cryptographic generator.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rand_distr::StandardNormal;

use crate::error::PrivacyError;

/// Where noise comes from.
pub struct NoiseSource {
    rng: ChaCha12Rng,
    secret: bool,
    silent: bool,
}

impl NoiseSource {
    /// A generator seeded by the operating system, fresh in every process: no stream is ever used twice.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn os() -> Result<Self, PrivacyError> {
        let rng = ChaCha12Rng::try_from_os_rng().map_err(|error| PrivacyError::Randomness(error.to_string()))?;
        Ok(Self { rng, secret: true, silent: false })
    }

    /// A generator whose seed is known: for tests and paired research runs. **No privacy guarantee** holds for what it
    /// perturbs, and every claim made with it must say so.
    pub fn unsafe_seeded(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        rng.set_stream(1);
        Self { rng, secret: false, silent: false }
    }

    /// No noise at all, for tests of the arithmetic. **No privacy guarantee** holds.
    pub fn unsafe_silent() -> Self {
        Self { silent: true, ..Self::unsafe_seeded(0) }
    }

    /// Whether the noise is secret, as every guarantee needs.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// Adds noise of standard deviation `std` to every value.
    pub(crate) fn perturb(&mut self, values: &mut [f64], std: f64) {
        if self.silent {
            return;
        }
        for value in values {
            let normal: f64 = self.rng.sample(StandardNormal);
            *value += std * normal;
        }
    }
}
