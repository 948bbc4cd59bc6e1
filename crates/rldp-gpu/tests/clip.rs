//! Clip and sum on the device against the rule carried out on the host, on the same gradients: equal to the bit.

#![cfg(emulated)]
#![allow(clippy::unwrap_used)]

mod support;

use rldp_gpu::{GpuOptions, Precision};
use rldp_model::{Adapter, Engine as _, NormRule, StatisticRule, SumRule, UnitInput};
use safetensors::Dtype;
use support::{FAMILIES, adapter, emulated, gradients, model, noise, sequence, texts, units};

/// The rule, as it is written.
fn on_host(rule: &SumRule, found: &[(f64, Vec<f32>)]) -> (Vec<i64>, Vec<i64>) {
    let trained = rule.pairs.iter().map(std::iter::ExactSizeIterator::len).sum();
    let mut sum = vec![0_i64; trained];
    let mut statistic = Vec::new();
    for (loss, gradient) in found {
        let squares: Vec<f64> = rule.pairs.iter().map(|pair| squared_norm(&gradient[pair.clone()])).collect();
        let finite = loss.is_finite() && squares.iter().all(|square| square.is_finite());
        let factors = if finite { factors(rule, &squares) } else { vec![0.0; squares.len()] };
        let mut at = 0;
        for ((pair, factor), grid) in rule.pairs.iter().zip(&factors).zip(&rule.grid) {
            for value in &gradient[pair.clone()] {
                if finite {
                    sum[at] = sum[at].wrapping_add((factor / grid * f64::from(*value)) as i64);
                }
                at += 1;
            }
        }
        if let Some(rule) = &rule.statistic {
            let own = contribution(rule, *loss, finite, &factors, squares.iter().sum::<f64>().sqrt());
            statistic.resize(own.len(), 0_i64);
            statistic.iter_mut().zip(own).for_each(|(sum, own)| *sum = sum.wrapping_add(own));
        }
    }
    (sum, statistic)
}

fn squared_norm(values: &[f32]) -> f64 {
    let square = |x: &f32| f64::from(*x) * f64::from(*x);
    let of_block = |block: &[f32]| {
        let mut lanes = [0.0_f64; 8];
        let (eights, rest) = block.as_chunks::<8>();
        for eight in eights {
            lanes.iter_mut().zip(eight).for_each(|(lane, x)| *lane += square(x));
        }
        lanes.iter().sum::<f64>() + rest.iter().map(square).sum::<f64>()
    };
    values.chunks(4096).map(of_block).sum()
}

fn factors(rule: &SumRule, squares: &[f64]) -> Vec<f64> {
    let factor = |norm: f64, bound: f64, stability: f64| {
        let norm = norm * (1.0 + rule.room);
        if rule.normalizes {
            return bound / (norm + stability) * (1.0 - rule.room);
        }
        if bound >= norm { 1.0 } else { bound / norm * (1.0 - rule.room) }
    };
    let pairs = squares.iter().zip(&rule.clip_norms);
    if rule.pair_wise {
        return pairs.map(|(square, bound)| factor(square.sqrt(), *bound, rule.stability)).collect();
    }
    let norm = pairs.map(|(square, bound)| square / bound.powi(2)).sum::<f64>().sqrt();
    vec![factor(norm, 1.0, rule.joint_stability); squares.len()]
}

fn contribution(rule: &StatisticRule, loss: f64, finite: bool, factors: &[f64], norm: f64) -> Vec<i64> {
    let (low, high) = rule.loss_bounds;
    let (centre, half) = (0.5 * (low + high), 0.5 * (high - low));
    let centred = if finite { (loss.clamp(low, high) - centre) / half } else { 0.0 };
    let mut parts = vec![rule.loss * centred, if finite { 0.0 } else { rule.non_finite }];
    parts.extend(factors.iter().map(|factor| if *factor < 1.0 { rule.clip } else { -rule.clip }));
    if let Some(bins) = &rule.bins {
        let own = ((norm / bins.lowest).ln() / bins.ratio.ln()).floor() as usize;
        let own = own.min(bins.count - 1);
        parts.extend((0..bins.count).map(|bin| if finite && own == bin { rule.norm } else { 0.0 }));
    }
    parts.into_iter().map(|part| (part * rule.room / rule.grid) as i64).collect()
}

/// Rules that are pair-wise and joint, clip and normalize, with statistics and without, and a histogram.
fn rules(adapter: &Adapter) -> Vec<SumRule> {
    let layout = adapter.layout();
    let pairs = layout.pairs().len();
    let statistic = |bins| StatisticRule {
        loss_bounds: (0.5, 6.0),
        loss: 0.85_f64.sqrt(),
        non_finite: 0.05_f64.sqrt(),
        clip: (0.1 / pairs as f64).sqrt(),
        norm: 0.6_f64.sqrt(),
        bins,
        room: 1.0 - 1e-9,
        grid: 0.73 / 4_294_967_296.0,
    };
    let bins = NormRule { lowest: 0.05, ratio: 1.21, count: 24 };
    let rule = |pair_wise, normalizes, statistic| SumRule {
        pairs: layout.pairs().iter().map(rldp_model::Pair::range).collect(),
        clip_norms: (0..pairs).map(|k| 0.05 * (1.0 + f64::from(noise(k + 5)).abs())).collect(),
        pair_wise,
        normalizes,
        stability: 0.01,
        joint_stability: 0.37,
        room: 1e-9,
        grid: (0..pairs).map(|k| (1.0 + f64::from(noise(k)).abs()) / 4_294_967_296.0).collect(),
        statistic,
    };
    vec![
        rule(true, false, None),
        rule(true, true, Some(statistic(None))),
        rule(false, false, Some(statistic(Some(bins)))),
        rule(false, true, Some(statistic(Some(NormRule { count: 1, ..bins })))),
    ]
}

#[test]
fn the_sum_on_the_device_is_the_hosts_to_the_bit() {
    for ((name, config), frozen) in [(FAMILIES[0], false), (FAMILIES[4], true)] {
        let folder = tempfile::tempdir().unwrap();
        let files = model(folder.path(), config, Dtype::F32);
        let mut adapter = adapter(&files, 5, None);
        if frozen {
            let layout = adapter.layout().clone().with_frozen_a();
            adapter = Adapter::from_parameters(layout, adapter.parameters().to_vec());
        }
        let texts = texts(files.config.vocab_size, &[30, 1, 64, 7, 50]);
        let mut units = units(&texts);
        units[0].sequences.extend([sequence(&texts[2]), sequence(&texts[4])]);
        units.push(UnitInput { sequences: Vec::new() });
        // A unit whose loss is not finite, and one whose gradient is not.
        units
            .push(UnitInput { sequences: vec![rldp_model::Sequence { weight: f32::INFINITY, ..sequence(&texts[3]) }] });
        units.push(UnitInput { sequences: vec![rldp_model::Sequence { weight: 3e38, ..sequence(&texts[2]) }] });
        for precision in [Precision::F32, Precision::Bf16] {
            let options = GpuOptions { precision, micro_batch_tokens: Some(70), ..GpuOptions::default() };
            let mut engine = emulated(&files, options);
            let found = gradients(&mut engine, &adapter, &units);
            assert!(
                found[6..].iter().any(|(_, gradient)| gradient.iter().any(|g| !g.is_finite())),
                "{name}: all finite"
            );
            for (index, rule) in rules(&adapter).iter().enumerate() {
                let sum = engine.summed(&adapter, &units, rule).unwrap().unwrap();
                let (gradient, statistic) = on_host(rule, &found);
                assert!(
                    gradient.iter().filter(|value| **value != 0).count() > gradient.len() / 2,
                    "{name}: a sum of nothing"
                );
                assert!(sum.gradient == gradient, "{name}, rule {index}: another sum");
                assert!(sum.statistic == statistic, "{name}, rule {index}: {:?}, not {statistic:?}", sum.statistic);
            }
            assert!(engine.is_intact().unwrap(), "{name}");
        }
    }
}

#[test]
fn an_empty_batch_is_a_sum_of_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let files = model(folder.path(), FAMILIES[6].1, Dtype::F32);
    let adapter = adapter(&files, 2, None);
    let rule = &rules(&adapter)[2];
    let sum = emulated(&files, GpuOptions::default()).summed(&adapter, &[], rule).unwrap().unwrap();
    assert!(sum.gradient.len() == adapter.layout().trained_count() && sum.gradient.iter().all(|value| *value == 0));
    assert_eq!(sum.statistic, vec![0; 2 + adapter.layout().pairs().len() + 24]);
}
