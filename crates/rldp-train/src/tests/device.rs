//! An engine that sums units itself, by the public rule alone: what it hands over is what the host would have summed, to the bit.

#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rldp_control::ControllerKind;
use rldp_model::{
    Adapter, Engine, ModelConfig, Sequence, SequenceLoss, StatisticRule, SumRule, UnitInput, UnitSinks, UnitSum,
    engine::{EngineError, UnitInvariance},
};
use rldp_privacy::Scaling;

use crate::{
    Silent, Trainer,
    settings::{ClippingKind, GeometryKind, TrainSettings, Trainable},
    testing::{demo_settings, demo_trainer, metrics},
};

/// A device in a few lines: plain loops over [`SumRule`], as a kernel would run them.
struct Device {
    inner: Box<dyn Engine>,
    sums: Arc<AtomicUsize>,
}

/// Step 1 of the rule.
fn squares(values: &[f32]) -> f64 {
    let square = |x: &f32| f64::from(*x) * f64::from(*x);
    let mut total = 0.0;
    for block in values.chunks(4096) {
        let eights = block.chunks_exact(8);
        let rest: f64 = eights.remainder().iter().map(square).sum();
        let mut lanes = [0.0_f64; 8];
        for eight in eights {
            lanes.iter_mut().zip(eight).for_each(|(lane, x)| *lane += square(x));
        }
        let mut sum = 0.0;
        lanes.iter().for_each(|lane| sum += lane);
        total += sum + rest;
    }
    total
}

/// Step 3, for one norm.
fn factor(rule: &SumRule, norm: f64, bound: f64, stability: f64) -> f64 {
    let n = norm * (1.0 + rule.room);
    if rule.normalizes {
        bound / (n + stability) * (1.0 - rule.room)
    } else if bound >= n {
        1.0
    } else {
        bound / n * (1.0 - rule.room)
    }
}

/// Steps 1 to 3: squares, whether the unit counts, factors.
fn bounded(rule: &SumRule, gradient: &[f32], loss: f64) -> (Vec<f64>, bool, Vec<f64>) {
    let q: Vec<f64> = rule.pairs.iter().map(|pair| squares(&gradient[pair.clone()])).collect();
    let finite = loss.is_finite() && q.iter().all(|q| q.is_finite());
    let factors = if !finite {
        vec![0.0; q.len()]
    } else if rule.pair_wise {
        q.iter().zip(&rule.clip_norms).map(|(q, c)| factor(rule, q.sqrt(), *c, rule.stability)).collect()
    } else {
        let norm = q.iter().zip(&rule.clip_norms).map(|(q, c)| q / c.powi(2)).sum::<f64>().sqrt();
        vec![factor(rule, norm, 1.0, rule.joint_stability); q.len()]
    };
    (q, finite, factors)
}

/// Step 5.
fn statistic(rule: &StatisticRule, q: &[f64], finite: bool, factors: &[f64], loss: f64) -> Vec<i64> {
    let (low, high) = rule.loss_bounds;
    let centred = (loss.clamp(low, high) - 0.5 * (low + high)) / (0.5 * (high - low));
    let mut parts = vec![if finite { rule.loss * centred } else { 0.0 }, if finite { 0.0 } else { rule.non_finite }];
    parts.extend(factors.iter().map(|f| if *f < 1.0 { rule.clip } else { -rule.clip }));
    if let Some(bins) = rule.bins {
        let place = (q.iter().sum::<f64>().sqrt() / bins.lowest).ln() / bins.ratio.ln();
        let own = (place.floor().max(0.0) as usize).min(bins.count - 1);
        parts.extend((0..bins.count).map(|bin| if finite && bin == own { rule.norm } else { 0.0 }));
    }
    parts.into_iter().map(|part| (part * rule.room / rule.grid) as i64).collect()
}

impl Engine for Device {
    fn config(&self) -> &ModelConfig {
        self.inner.config()
    }

    fn unit_invariance(&self) -> UnitInvariance {
        self.inner.unit_invariance()
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        self.inner.losses(adapter, sequences)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        self.inner.unit_gradients(adapter, units, sinks)
    }

    fn summed(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        rule: &SumRule,
    ) -> Result<Option<UnitSum>, EngineError> {
        self.sums.fetch_add(1, Ordering::Relaxed);
        let numbers = rule.pairs.iter().map(std::iter::ExactSizeIterator::len).sum();
        let mut total = UnitSum { gradient: vec![0; numbers], statistic: Vec::new() };
        if let Some(statistic) = &rule.statistic {
            total.statistic = vec![0; 2 + rule.pairs.len() + statistic.bins.map_or(0, |bins| bins.count)];
        }
        self.inner.for_each_unit_gradient(adapter, units, &mut |_, unit| {
            let (q, finite, factors) = bounded(rule, unit.gradient, unit.loss);
            let mut places = total.gradient.iter_mut();
            for ((pair, factor), grid) in rule.pairs.iter().zip(&factors).zip(&rule.grid) {
                // Step 4.
                let scale = factor / grid;
                for (g, place) in unit.gradient[pair.clone()].iter().zip(places.by_ref()) {
                    *place = place.wrapping_add(if finite { (scale * f64::from(*g)) as i64 } else { 0 });
                }
            }
            if let Some(rule) = &rule.statistic {
                let parts = statistic(rule, &q, finite, &factors, unit.loss);
                total.statistic.iter_mut().zip(parts).for_each(|(sum, part)| *sum = sum.wrapping_add(part));
            }
        })?;
        Ok(Some(total))
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.inner.logits(adapter, tokens)
    }
}

/// Runs the settings on the host or on a device: adapter, metrics, and how often the device was asked.
fn run(change: fn(&mut TrainSettings), on_device: bool) -> (Vec<f32>, Vec<serde_json::Value>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = demo_settings(folder.path(), 12);
    settings.privacy.batch_size = 6.0;
    settings.privacy.steps = 4;
    settings.privacy.epsilon = 30.0;
    settings.privacy.unsafe_noise_seed = Some(5);
    settings.model.rank = 2;
    settings.control.interval = 2;
    change(&mut settings);
    settings.validate().unwrap();
    let mut trainer: Trainer = demo_trainer(&settings);
    let sums = Arc::<AtomicUsize>::default();
    if on_device {
        let inner = std::mem::replace(&mut trainer.engine, crate::testing::demo_inputs(&settings).engine);
        trainer.engine = Box::new(Device { inner, sums: Arc::clone(&sums) });
    }
    trainer.run(&mut Silent).unwrap();
    (trainer.learner.adapter.parameters().to_vec(), metrics(&settings), sums.load(Ordering::Relaxed))
}

#[test]
fn a_device_that_follows_the_rule_releases_what_the_host_releases() {
    let cases: [fn(&mut TrainSettings); 4] = [
        |_| (),
        |settings| {
            settings.privacy.clipping = ClippingKind::Joint;
            settings.privacy.scaling = Scaling::Normalize;
            settings.privacy.statistics_share = 0.0;
        },
        |settings| {
            settings.model.trainable = Trainable::B;
            settings.privacy.scaling = Scaling::Normalize;
        },
        |settings| {
            settings.privacy.clipping = ClippingKind::Flat;
            settings.control.controller = ControllerKind::DcSgdE;
        },
    ];
    for (index, change) in cases.into_iter().enumerate() {
        let (host, device) = (run(change, false), run(change, true));
        assert_eq!((host.2, device.2), (0, 4), "case {index}");
        assert!(host.0 == device.0, "case {index}: the adapters differ");
        assert_eq!(host.1, device.1, "case {index}");
    }
}

/// A geometry maps every unit before it is clipped, which no device does.
#[test]
fn a_geometry_stays_with_the_host() {
    let learned = |settings: &mut TrainSettings| settings.privacy.geometry = GeometryKind::Adaclip;
    assert_eq!(run(learned, true).2, 0);
}
