//! Secret Poisson sampling of units.

use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use crate::error::DataError;

/// 2^64.
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// Includes every unit on its own with probability q, anew each step.
///
/// Amplification by sampling holds only while nobody knows who was sampled, so the generator is seeded by the operating
/// system. The threshold on a 64-bit integer is rounded down: the realised rate never exceeds q, and a smaller rate is
/// no less private.
pub struct PoissonSampler {
    rng: ChaCha12Rng,
    threshold: Threshold,
    secret: bool,
}

enum Threshold {
    All,
    Below(u64),
}

/// The units of one step. Who is in it is secret: it cannot be printed.
pub struct SampledBatch {
    indices: Vec<usize>,
}

impl SampledBatch {
    /// Indices of the sampled units, ascending.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Those of its units that `keep` names.
    #[must_use]
    pub fn only(mut self, keep: impl Fn(usize) -> bool) -> Self {
        self.indices.retain(|unit| keep(*unit));
        self
    }
}

impl PoissonSampler {
    /// A sampler of rate q with secret randomness.
    ///
    /// # Errors
    /// When q is outside (0, 1], or the operating system gives no randomness.
    pub fn os(sampling_rate: f64) -> Result<Self, DataError> {
        let rng = ChaCha12Rng::try_from_os_rng().map_err(|error| DataError::Randomness(error.to_string()))?;
        Ok(Self { rng, threshold: threshold(sampling_rate)?, secret: true })
    }

    /// A sampler whose seed is known, for tests and paired research runs: **without privacy**.
    ///
    /// # Errors
    /// When q is outside (0, 1].
    pub fn unsafe_seeded(sampling_rate: f64, seed: u64) -> Result<Self, DataError> {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        rng.set_stream(2);
        Ok(Self { rng, threshold: threshold(sampling_rate)?, secret: false })
    }

    /// Whether the operating system seeded it, as every promise needs.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// Samples from `units` units.
    pub fn sample(&mut self, units: usize) -> SampledBatch {
        let indices = match self.threshold {
            Threshold::All => (0..units).collect(),
            Threshold::Below(threshold) => (0..units).filter(|_| self.rng.next_u64() < threshold).collect(),
        };
        SampledBatch { indices }
    }
}

fn threshold(sampling_rate: f64) -> Result<Threshold, DataError> {
    if !(sampling_rate > 0.0 && sampling_rate <= 1.0) {
        return Err(DataError::Setting { name: "sampling rate", value: sampling_rate, bound: "above 0 and at most 1" });
    }
    if sampling_rate == 1.0 {
        return Ok(Threshold::All);
    }
    // The product is exact (a power of two), the cast rounds down.
    Ok(Threshold::Below((sampling_rate * TWO_TO_64) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// |z| above this has probability below 1e-6 under the normal law, two-sided.
    const Z: f64 = 4.9;

    #[test]
    fn inclusion_and_pair_frequencies_are_those_of_independent_coins() {
        let (q, units, rounds) = (0.07, 40, 20_000);
        let mut sampler = PoissonSampler::unsafe_seeded(q, 11).unwrap();
        let (mut hits, mut pairs, mut sizes) = (vec![0_u32; units], 0_u32, Vec::new());
        for _ in 0..rounds {
            let batch = sampler.sample(units);
            batch.indices().iter().for_each(|&unit| hits[unit] += 1);
            pairs += u32::from(batch.indices().contains(&3) && batch.indices().contains(&4));
            sizes.push(batch.indices().len() as f64);
        }
        let n = f64::from(rounds);
        let z = |count: u32, p: f64| (f64::from(count) - n * p) / (n * p * (1.0 - p)).sqrt();
        // 41 tests at 1e-6 each: a false alarm in at most 4e-5 of all seeds.
        assert!(hits.iter().all(|&count| z(count, q).abs() < Z), "{hits:?}");
        assert!(z(pairs, q * q).abs() < Z, "{pairs}");
        let mean = sizes.iter().sum::<f64>() / n;
        let variance = sizes.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / n;
        let expected = units as f64 * q * (1.0 - q);
        // Variance of the sample variance of a binomial is close to 2σ⁴/n (1 + small); 6 % room is beyond 5σ here.
        assert!((variance / expected - 1.0).abs() < 0.06, "{variance} against {expected}");
    }

    #[test]
    fn empty_batches_occur_and_full_rate_takes_all() {
        let mut sampler = PoissonSampler::unsafe_seeded(0.01, 1).unwrap();
        assert!((0..200).any(|_| sampler.sample(10).indices().is_empty()));
        assert_eq!(PoissonSampler::os(1.0).unwrap().sample(5).indices(), [0, 1, 2, 3, 4]);
        assert!(PoissonSampler::os(1.5).is_err() && PoissonSampler::os(0.0).is_err());
    }
}
