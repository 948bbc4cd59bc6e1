//! The sum of a run that promises nothing: no clipping, no noise.

use crate::{
    boundary::{Released, Sensitive},
    clipped_sum::{NoisyRelease, StatisticSpec},
    spending::UnsafeStep,
};

/// Sum over a batch of per-unit gradients as they are, for ceilings and for what an audit must expose.
///
/// **No guarantee.** It begins with an [`UnsafeStep`], which only a spender whose claim is
/// [`crate::Guarantee::None`] hands out: a private run has no way to it. What it releases has the type of a private
/// release so that the same loop can go on with it.
pub struct PlainSum {
    pairs: usize,
    spec: Option<StatisticSpec>,
    gradient: Vec<f64>,
    statistic: Vec<f64>,
}

impl PlainSum {
    /// An empty sum over pairs of `pair_sizes` parameters (K), with the paid statistics' figures when `spec` asks for them.
    pub fn new(_step: UnsafeStep, pair_sizes: &[usize], spec: Option<StatisticSpec>) -> Self {
        let (pairs, parameters) = (pair_sizes.len(), pair_sizes.iter().sum());
        let statistics = spec.as_ref().map_or(0, |spec| spec.length(pairs));
        Self { pairs, spec, gradient: vec![0.0; parameters], statistic: vec![0.0; statistics] }
    }

    /// Adds one unit's gradient (P) and loss. A unit with a non-finite number counts as zero, as in the private sum.
    ///
    /// # Panics
    /// When the gradient does not have P values: a defect of the caller.
    pub fn add_unit(&mut self, gradient: Sensitive<&[f32]>, loss: Sensitive<f64>) {
        let (gradient, loss) = (gradient.expose(), loss.expose());
        assert_eq!(gradient.len(), self.gradient.len(), "a unit's gradient does not fit the layout");
        let finite = loss.is_finite() && gradient.iter().all(|value| value.is_finite());
        if finite {
            self.gradient.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        if let Some(spec) = &self.spec {
            let norm = gradient.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let parts = spec.contribution(loss, finite, &vec![1.0; self.pairs], norm);
            self.statistic.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
    }

    /// The sum over the expected batch size. Deviations of the noise are zero.
    pub fn release(self, expected_batch_size: f64) -> NoisyRelease {
        let mean = self.gradient.iter().map(|sum| (sum / expected_batch_size) as f32).collect();
        NoisyRelease {
            noise_multiplier: 0.0,
            noise_correlation: 0.0,
            mean_gradient: Released::mint(mean),
            whitened: Released::mint(Vec::new()),
            noise_std: vec![0.0; self.pairs],
            statistics: self.spec.map(|spec| spec.read(&self.statistic, 0.0, expected_batch_size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{
        Adjacency, Claim, Guarantee, LedgerSink, Regime, Secrecy, Spender,
        accounting::{AccountantKind, Event},
        noise_delta, verify,
    };

    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<String>>);

    impl LedgerSink for Lines {
        fn append(&mut self, line: &str) -> io::Result<()> {
            let mut text = self.0.lock().unwrap();
            text.push_str(line);
            text.push('\n');
            Ok(())
        }
    }

    fn claim() -> Claim {
        Claim {
            target_epsilon: f64::INFINITY,
            delta: 0.0,
            other_steps: 0,
            public_text: Vec::new(),
            start_adapter: None,
            after: Vec::new(),
            adjacency: Adjacency::AddRemove,
            unit: "record".into(),
            units: None,
            shared_eval: false,
            private_policy: false,
            noise_bands: 1,
            sampling_rate: 0.5,
            expected_batch_size: 2.0,
            steps: 2,
            noise_coordinates: 3,
            noise_delta: 0.0,
            regime: Regime::NonPrivate,
            guarantee: Guarantee::None { reason: "no noise".into() },
        }
    }

    fn private_claim() -> Claim {
        Claim {
            target_epsilon: 9.0,
            delta: 1e-5,
            noise_delta: noise_delta(9.0, 1e-5, 3, 2).unwrap(),
            regime: Regime::Committed { segments: vec![Event::new(0.5, 2.0, 2)], accountant: AccountantKind::Rdp },
            guarantee: Guarantee::Holds,
            ..claim()
        }
    }

    #[test]
    fn the_sum_is_plain_and_its_ledger_never_verifies() {
        let lines = Lines::default();
        let mut spender = Spender::open(claim(), Box::new(lines.clone())).unwrap();
        let spec = StatisticSpec { loss_low: 0.0, loss_high: 4.0, norms: None };
        for _ in 0..2 {
            let mut sum = PlainSum::new(spender.unsafe_step().unwrap().unwrap(), &[1, 2], Some(spec.clone()));
            sum.add_unit(Sensitive::new(&[3.0, -1.0, 1e6]), Sensitive::new(1.0));
            sum.add_unit(Sensitive::new(&[1.0, 1.0, 1.0]), Sensitive::new(3.0));
            sum.add_unit(Sensitive::new(&[f32::NAN, 1.0, 1.0]), Sensitive::new(3.0));
            let release = sum.release(2.0);
            assert_eq!(release.mean_gradient.get(), &[2.0, 0.0, 500_000.5]);
            assert_eq!(release.noise_std, [0.0, 0.0]);
            let statistics = release.statistics.unwrap();
            assert!((statistics.mean_loss.get() - 2.0).abs() < 1e-6, "{statistics:?}");
            assert!((statistics.non_finite_fraction.get() - 0.5).abs() < 1e-6, "{statistics:?}");
        }
        assert!(spender.unsafe_step().unwrap().is_none());
        assert_eq!(spender.spent_epsilon(), f64::INFINITY);
        let ledger = lines.0.lock().unwrap().clone();
        assert!(ledger.contains("\"target_epsilon\":null"), "{ledger}");
        let found = verify(&ledger);
        assert!(!found.holds && found.epsilon.is_none() && found.steps == 2, "{found:?}");
        assert!(found.statement.contains("NO PRIVACY GUARANTEE"), "{}", found.statement);
        let failed: Vec<&str> = found.checks.iter().filter(|check| !check.passed).map(|check| check.name).collect();
        assert_eq!(failed, ["guarantee", "epsilon"]);
        let mut resumed = Spender::resume(&ledger, &claim(), None, Box::new(lines)).unwrap();
        assert!(resumed.unsafe_step().unwrap().is_none());
    }

    #[test]
    fn a_promise_gives_no_unsafe_step_and_no_promise_gives_no_charge() {
        let mut private = Spender::open(private_claim(), Box::new(Lines::default())).unwrap();
        assert!(private.unsafe_step().is_err());
        assert!(private.charge(2.0, Secrecy::Secret).unwrap().is_some());
        let mut bare = Spender::open(claim(), Box::new(Lines::default())).unwrap();
        assert!([0.0, 2.0].iter().all(|z| bare.charge(*z, Secrecy::Secret).is_err()));
    }

    #[test]
    fn a_claim_without_noise_is_no_guarantee_and_has_no_epsilon() {
        let refused = |claim: Claim| Spender::open(claim, Box::new(Lines::default())).is_err();
        assert!(refused(Claim { guarantee: Guarantee::Holds, ..claim() }));
        assert!(refused(Claim { target_epsilon: 4.0, ..claim() }));
        assert!(refused(Claim { target_epsilon: f64::INFINITY, ..private_claim() }));
    }
}
