//! How a unit's gradient is brought under its bound.

/// γ of AUTO-S, in units of the gradient's norm: the paper's value for all its experiments.
pub(crate) const STABILITY: f64 = 0.01;

/// Takes more off a factor than norms, factors and products lose on the way to the grid.
pub(crate) const ROUNDING_ROOM: f64 = 1e-9;

crate::choices! {
    /// What multiplies a gradient g with threshold C. Either way the result's norm is at most C, so a mechanism's sensitivity
    /// and its price are the same.
    pub enum Scaling as "scaling" {
        /// Gradients above their bound are scaled down: min(1, C/‖g‖) (Abadi et al., arXiv 1607.00133).
        Clip = "clip",
        /// All are scaled to about their bound: C/(‖g‖ + γ), γ = 0.01 (AUTO-S of Bu et al., arXiv 2206.07136).
        /// With one C for everything, C only rescales sum and noise together, and drops out of an optimizer that does not see
        /// scale.
        Normalize = "normalize",
    }
}

impl Scaling {
    /// The factor for a gradient of norm `norm` with threshold `bound`; `stability` is γ in the same units. Rounded down,
    /// so that the scaled norm is at most the bound.
    pub(crate) fn factor(self, norm: f64, bound: f64, stability: f64) -> f64 {
        let norm = norm * (1.0 + ROUNDING_ROOM);
        match self {
            Self::Clip if bound >= norm => 1.0,
            Self::Clip => bound / norm * (1.0 - ROUNDING_ROOM),
            Self::Normalize => bound / (norm + stability) * (1.0 - ROUNDING_ROOM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas of the two papers at hand-computed points.
    #[test]
    fn factors_are_the_papers() {
        let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-8, "{got} against {want}");
        close(Scaling::Clip.factor(0.5, 1.0, STABILITY), 1.0);
        close(Scaling::Clip.factor(4.0, 1.0, STABILITY), 0.25);
        close(Scaling::Normalize.factor(0.49, 1.0, STABILITY), 2.0);
        close(Scaling::Normalize.factor(0.99, 0.2, STABILITY), 0.2);
        close(Scaling::Normalize.factor(0.0, 0.2, STABILITY), 20.0);
    }
}
