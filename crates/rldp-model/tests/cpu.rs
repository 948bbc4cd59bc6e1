//! The CPU engine against PyTorch's numbers, and against itself cut differently.

#![allow(clippy::unwrap_used)]

mod common;

use common::{CASES, Golden, check_all, relative_error};
use rldp_model::{
    Adapter, Engine as _, UnitInput,
    cpu::{CpuEngine, CpuOptions, Precision},
    generate::{GenerateOptions, Sampling, generate},
};

fn engine(golden: &Golden, micro_batch_tokens: Option<usize>) -> CpuEngine {
    CpuEngine::new(&golden.files, CpuOptions { micro_batch_tokens, ..CpuOptions::default() }).unwrap()
}

#[test]
fn agrees_with_pytorch_on_all_goldens() {
    check_all(|files| CpuEngine::new(files, CpuOptions::default()).unwrap());
}

#[test]
fn agrees_with_pytorch_in_the_smallest_micro_batches() {
    check_all(|files| {
        CpuEngine::new(files, CpuOptions { micro_batch_tokens: Some(1), ..CpuOptions::default() }).unwrap()
    });
}

/// Loss and gradient of every unit.
fn gradients(engine: &mut CpuEngine, golden: &Golden, units: &[UnitInput]) -> Vec<(f64, Vec<f32>)> {
    let mut found = Vec::new();
    engine
        .for_each_unit_gradient(&golden.adapter, units, &mut |index, unit| {
            assert_eq!(index, found.len(), "units come in order");
            found.push((unit.loss, unit.gradient.to_vec()));
        })
        .unwrap();
    found
}

/// To the bit, in either precision and however the work is cut.
#[test]
fn a_batch_gives_what_its_units_give_alone() {
    for (case, precision) in CASES.into_iter().flat_map(|case| [Precision::F32, Precision::Bf16].map(|p| (case, p))) {
        let golden = Golden::load(case);
        let engine = |micro_batch_tokens| {
            let options = CpuOptions { micro_batch_tokens, precision, ..CpuOptions::default() };
            CpuEngine::new(&golden.files, options).unwrap()
        };
        let units: Vec<UnitInput> = (0..golden.len())
            .map(|i| UnitInput { sequences: vec![golden.sequence(i, 0.3), golden.sequence(0, 0.1)] })
            .collect();
        let together = gradients(&mut engine(None), &golden, &units);
        let mut alone = engine(Some(7));
        for (index, (unit, (loss, gradient))) in units.iter().zip(&together).enumerate() {
            let (own_loss, own) = gradients(&mut alone, &golden, std::slice::from_ref(unit)).remove(0);
            assert_eq!(loss.to_bits(), own_loss.to_bits(), "{case} in {precision:?}: loss of unit {index}");
            let differ = gradient.iter().zip(&own).filter(|(x, y)| x.to_bits() != y.to_bits()).count();
            assert_eq!(differ, 0, "{case} in {precision:?}: numbers of unit {index} that differ");
        }
    }
}

/// Gradient buffers are used again and again; what a frozen A leaves in them must be zero every time.
#[test]
fn frozen_factors_have_no_gradient() {
    for case in CASES {
        let mut golden = Golden::load(case);
        let layout = golden.adapter.layout().clone().with_frozen_a();
        golden.adapter = Adapter::from_parameters(layout, golden.adapter.parameters().to_vec());
        let units: Vec<UnitInput> = (0..4 * golden.len())
            .map(|i| UnitInput { sequences: vec![golden.sequence(i % golden.len(), 0.3)] })
            .collect();
        let found = gradients(&mut engine(&golden, Some(7)), &golden, &units);
        assert!(found.iter().any(|(_, gradient)| gradient.iter().any(|g| *g != 0.0)), "{case}: no gradient at all");
        for (pair, (_, gradient)) in
            golden.adapter.layout().pairs().iter().flat_map(|pair| found.iter().map(move |f| (pair, f)))
        {
            assert!(gradient[pair.a.clone()].iter().all(|g| *g == 0.0), "{case}: {} has a gradient", pair.linear.name);
        }
    }
}

#[test]
fn greedy_decoding_follows_the_logits() {
    for case in CASES {
        let golden = Golden::load(case);
        let mut engine = engine(&golden, None);
        let options =
            GenerateOptions { max_new_tokens: 12, sampling: Sampling::GREEDY, seed: 0, stop_tokens: Vec::new() };
        let mut tokens = golden.tokens[3][..5.min(golden.tokens[3].len())].to_vec();
        let new = generate(&engine, Some(&golden.adapter), &tokens, &options).unwrap();
        assert_eq!(new.len(), 12, "{case}");
        for token in new {
            let logits = engine.logits(Some(&golden.adapter), &tokens).unwrap();
            let last = &logits[logits.len() - golden.files.config.vocab_size..];
            let best = last.iter().copied().fold(f32::MIN, f32::max);
            assert!(last[token as usize] >= best - 1e-3, "{case}: a token that is not the likeliest");
            tokens.push(token);
        }
    }
}

#[test]
fn logits_of_many_sequences_are_those_of_each() {
    for case in CASES {
        let golden = Golden::load(case);
        let mut engine = engine(&golden, None);
        let sequences: Vec<&[u32]> = golden.tokens.iter().map(Vec::as_slice).cycle().take(20).collect();
        let found = std::sync::Mutex::new(vec![Vec::new(); sequences.len()]);
        let visit = |index: usize, logits: &[f32]| found.lock().unwrap()[index].push(logits.to_vec());
        engine.for_each_logits(Some(&golden.adapter), &sequences, &visit).unwrap();
        for (tokens, found) in sequences.iter().zip(found.into_inner().unwrap()) {
            assert_eq!(found, [engine.logits(Some(&golden.adapter), tokens).unwrap()], "{case}");
        }
        let unknown = [golden.files.config.vocab_size as u32];
        assert!(engine.for_each_logits(None, &[&unknown], &|_, _| panic!("a token that is none")).is_err());
    }
}

/// bf16 has 8 bits of significand: operands are off by up to 1/256, at random, and sums average it out.
#[test]
fn bf16_stays_near_f32_on_all_goldens() {
    if !Precision::Bf16.is_native() {
        eprintln!("skipped: this processor multiplies no bf16");
        return;
    }
    for case in CASES {
        let golden = Golden::load(case);
        let options = CpuOptions { precision: Precision::Bf16, ..CpuOptions::default() };
        let mut rounded = CpuEngine::new(&golden.files, options).unwrap();
        let units: Vec<UnitInput> = (0..golden.len())
            .map(|i| UnitInput { sequences: vec![golden.sequence(i, golden.mean_weight(i))] })
            .collect();
        let exact = gradients(&mut engine(&golden, None), &golden, &units);
        let mut differs = false;
        for ((loss, gradient), (near_loss, near)) in exact.iter().zip(gradients(&mut rounded, &golden, &units)) {
            assert!((loss - near_loss).abs() <= 0.005 * loss.abs(), "{case}: loss {near_loss}, in f32 {loss}");
            let cosine = cosine(gradient, &near);
            assert!(cosine > 0.999, "{case}: cosine {cosine}");
            let error = relative_error(&near, gradient);
            assert!(error < 0.05, "{case}: relative error {error}");
            differs |= *loss != near_loss;
        }
        assert!(differs, "{case}: nothing was rounded");
    }
}

/// Of two gradients; 1 where both are zero.
fn cosine(x: &[f32], y: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    if x.iter().chain(y).all(|x| *x == 0.0) { 1.0 } else { dot(x, y) / (dot(x, x) * dot(y, y)).sqrt() }
}

#[test]
fn precisions_have_names() {
    assert!(Precision::F32.description().starts_with("f32"));
    let best = if Precision::Bf16.is_native() { "bf16" } else { "f32" };
    assert!(Precision::Bf16.description().starts_with(best));
}
