//! How the learning rate goes over a run.

use crate::settings::{Decay, OptimizerSettings};

impl OptimizerSettings {
    /// Learning rate of step `step` (counted from 0) of `steps`, at the peak rate `peak`.
    pub fn learning_rate_at(&self, peak: f64, step: u64, steps: u64) -> f64 {
        let warmup = (self.warmup * steps as f64).round();
        let position = step as f64;
        if position < warmup {
            return peak * (position + 1.0) / warmup;
        }
        let left = (steps as f64 - position) / (steps as f64 - warmup).max(1.0);
        match self.decay {
            Decay::Linear => peak * left,
            Decay::Cosine => peak * 0.5 * (1.0 - (std::f64::consts::PI * left).cos()),
            Decay::Constant => peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::learner::optimizer::tests::settings;

    #[test]
    fn schedule_rises_then_falls_to_the_last_step() {
        let rates: Vec<f64> = (0..10).map(|step| settings().learning_rate_at(0.1, step, 10)).collect();
        assert!((rates[0] - 0.05).abs() < 1e-12 && (rates[1] - 0.1).abs() < 1e-12 && (rates[2] - 0.1).abs() < 1e-12);
        assert!(rates.windows(2).skip(2).all(|pair| pair[1] < pair[0]));
        assert!((rates[9] - 0.1 / 8.0).abs() < 1e-12);
    }
}
