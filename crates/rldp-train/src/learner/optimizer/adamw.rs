//! AdamW (Loshchilov & Hutter, arXiv 1711.05101).

use super::{Corrections, UpdateRule};
use crate::settings::OptimizerSettings;

/// With m̂ and v̂ the corrected moments, moves by m̂ / √v̂. Of noise that later steps take back only what stays counts: with λ
/// what lasts of the noise's variance Φ, by m̂ / √max(v̂ − (1 − λ²)Φ, λ²Φ).
pub(super) struct AdamW {
    epsilon: f64,
    corrections: Corrections,
}

impl AdamW {
    pub(super) fn new(settings: &OptimizerSettings, corrections: Corrections) -> Self {
        Self { epsilon: settings.adam_epsilon, corrections }
    }
}

impl UpdateRule for AdamW {
    fn direction(&self, first: f64, second: f64) -> f64 {
        let Corrections { first: of_first, second: of_second, noise, lasting } = self.corrections;
        let second = without_passing_noise(second / of_second, noise, lasting);
        (first / of_first) / (second.sqrt() + self.epsilon)
    }
}

/// The second moment without the part of the noise that later steps take back; itself, to the bit, where nothing is.
fn without_passing_noise(second: f64, noise: f64, lasting: f64) -> f64 {
    let stays = lasting * lasting;
    if stays < 1.0 { (second - (1.0 - stays) * noise).max(stays * noise) } else { second }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of noise that is taken back later, what lasts is left: a second moment of noise alone counts as λ² of it, one of signal alone nearly
    /// as itself; and noise of every step's own counts in full, even where a moment falls below it.
    #[test]
    fn noise_that_passes_does_not_shorten_a_step() {
        assert!((without_passing_noise(1.0, 1.0, 0.4) - 0.16).abs() < 1e-12);
        assert!((without_passing_noise(0.2, 1.0, 0.4) - 0.16).abs() < 1e-12);
        assert!((without_passing_noise(100.0, 1.0, 0.4) - 99.16).abs() < 1e-12);
        assert_eq!(without_passing_noise(0.2, 1.0, 1.0), 0.2);
    }
}
