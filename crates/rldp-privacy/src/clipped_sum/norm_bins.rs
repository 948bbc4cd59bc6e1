//! Bins of a histogram of units' gradient norms, before they are bounded.

use serde::{Deserialize, Serialize};

/// Bins between public norms; the last has no upper end, and what lies below the first counts in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormBins {
    lowest: f64,
    ratio: f64,
    count: usize,
}

impl NormBins {
    /// `count` bins whose lower ends are `centre` times powers of a ratio, from 1/`range` to `range` times `centre`.
    pub fn logarithmic(centre: f64, range: f64, count: usize) -> Self {
        Self { lowest: centre / range, ratio: (range * range).powf(1.0 / count as f64), count }
    }

    /// Where the first bin begins.
    pub fn lowest(&self) -> f64 {
        self.lowest
    }

    /// Upper over lower end of each bin.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Number of bins.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Upper end of bin `bin`; of the last one, where it would be in the sequence.
    pub fn upper(&self, bin: usize) -> f64 {
        self.lowest * self.ratio.powf(bin as f64 + 1.0)
    }

    /// Geometric middle of bin `bin`.
    pub fn middle(&self, bin: usize) -> f64 {
        self.lowest * self.ratio.powf(bin as f64 + 0.5)
    }

    /// The bin of a norm; `norm` is finite.
    pub(super) fn bin(&self, norm: f64) -> usize {
        let position = ((norm / self.lowest).ln() / self.ratio.ln()).floor();
        // Saturating: below the first bin, and ln 0, go to the first.
        (position as usize).min(self.count - 1)
    }

    pub(super) fn is_valid(&self) -> bool {
        self.count > 0 && self.lowest > 0.0 && self.lowest.is_finite() && self.ratio > 1.0 && self.ratio.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_fall_into_the_bin_whose_ends_enclose_them() {
        let bins = NormBins::logarithmic(0.5, 64.0, 24);
        assert!((bins.upper(23) / 32.0 - 1.0).abs() < 1e-12);
        for bin in 0..24 {
            assert_eq!(bins.bin(bins.middle(bin)), bin);
            assert_eq!(bins.bin(bins.upper(bin) * (1.0 - 1e-9)), bin);
        }
        assert_eq!(bins.bin(0.0), 0);
        assert_eq!(bins.bin(1e-300), 0);
        assert_eq!(bins.bin(1e300), 23);
    }
}
