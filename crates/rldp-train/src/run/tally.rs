//! What a run counts of its releases, to warn about.

use serde::{Deserialize, Serialize};

/// Mean of the released fractions of units with a non-finite gradient, and the noise in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NonFinite {
    sum: f64,
    variance: f64,
    count: f64,
}

impl NonFinite {
    pub(crate) fn add(&mut self, fraction: f64, std: f64) {
        self.sum += fraction;
        self.variance += std * std;
        self.count += 1.0;
    }

    /// The mean, when it says more than its noise that most gradients were not finite: above a half, and above four
    /// deviations, which noise alone reaches once in thirty thousand runs.
    pub(crate) fn alarming(&self) -> Option<f64> {
        let mean = self.sum / self.count.max(1.0);
        (mean > 0.5 && self.sum > 4.0 * self.variance.sqrt()).then_some(mean)
    }
}
