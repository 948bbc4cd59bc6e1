//! DP-AdamBC (Tang et al., arXiv 2312.14334).

use super::{Corrections, UpdateRule};
use crate::settings::OptimizerSettings;

/// With m̂ and v̂ AdamW's corrected moments, moves by m̂ / √max(v̂ − Φ, γ'), where Φ is the noise's variance and the floor γ' is
/// given in units of Φ.
pub(super) struct AdamBc {
    floor: f64,
    corrections: Corrections,
}

impl AdamBc {
    pub(super) fn new(settings: &OptimizerSettings, corrections: Corrections) -> Self {
        Self { floor: settings.noise_floor, corrections }
    }
}

impl UpdateRule for AdamBc {
    fn direction(&self, first: f64, second: f64) -> f64 {
        let Corrections { first: of_first, second: of_second, noise, .. } = self.corrections;
        (first / of_first) / (second / of_second - noise).max(self.floor * noise).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use rldp_model::Adapter;

    use super::super::{
        Optimizer,
        tests::{STEP, settings},
    };
    use crate::settings::{OptimizerKind, OptimizerSettings};

    /// The floor holds when noise is all there is: no step is longer than m̂ / (√γ' s).
    #[test]
    fn a_second_moment_below_the_noise_is_floored() {
        let mut adapter = Adapter::from_parameters(crate::testing::smallest_layout(), vec![0.0, 0.0]);
        let settings = OptimizerSettings { optimizer: OptimizerKind::AdamBc, weight_decay: 0.0, ..settings() };
        let mut rule = Optimizer::new(settings, 2);
        rule.update(&mut adapter, &[0.01, -0.01], STEP);
        let want = 0.1 * 0.01 / (0.25_f64.sqrt() * 0.2);
        assert!((f64::from(adapter.parameters()[0]) + want).abs() < 1e-7, "{:?} against {want}", adapter.parameters());
    }
}
