//! Gradient descent with momentum.

use super::UpdateRule;

/// Keeps m = β₁ m + g and moves by m.
pub(super) struct Sgd;

impl UpdateRule for Sgd {
    fn weight(&self, _beta1: f64) -> f64 {
        1.0
    }

    fn direction(&self, first: f64, _second: f64) -> f64 {
        first
    }
}
