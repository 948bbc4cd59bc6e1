//! The engine on the emulated device against PyTorch's numbers and the CPU engine.

#![cfg(emulated)]
#![allow(clippy::unwrap_used)]

#[path = "../../rldp-model/tests/common/mod.rs"]
mod common;
mod support;

use common::{CASES, Golden, check_all, relative_error};
use rldp_gpu::{Emulated, GpuEngine, GpuOptions, Precision};
use rldp_model::{
    Adapter, Engine as _, ModelFiles, ModelSource, UnitInput,
    cpu::{CpuEngine, CpuOptions},
    generate::{GenerateOptions, Sampling, generate},
};
use safetensors::Dtype;
use support::{FAMILIES, MEMORY, adapter, bits, emulated, gradients, in_precision, model, sequence, texts, units};

const LENGTHS: [usize; 6] = [33, 1, 90, 2, 17, 64];

fn on_cpu(files: &ModelFiles) -> CpuEngine {
    CpuEngine::new(files, CpuOptions::default()).unwrap()
}

#[test]
fn agrees_with_pytorch_on_all_goldens() {
    check_all(|files| emulated(files, in_precision(Precision::F32)));
}

/// Random models against the CPU engine, each pair's A and B for itself; and nothing is written beside a buffer.
#[test]
fn agrees_with_the_cpu_engine_on_every_family() {
    for (name, config) in FAMILIES {
        let folder = tempfile::tempdir().unwrap();
        let files = model(folder.path(), config, Dtype::F32);
        let adapter = adapter(&files, if name == "llama" { 11 } else { 4 }, None);
        let texts = texts(files.config.vocab_size, &LENGTHS);
        let units = units(&texts);
        let mut engine = emulated(&files, in_precision(Precision::F32));
        let expected = gradients(&mut on_cpu(&files), &adapter, &units);
        let found = gradients(&mut engine, &adapter, &units);
        for (unit, ((loss, gradient), (expected_loss, expected))) in found.iter().zip(&expected).enumerate() {
            assert!((loss - expected_loss).abs() <= 1e-5 * expected_loss.abs(), "{name}, unit {unit}: {loss}");
            for pair in adapter.layout().pairs() {
                for range in [pair.a.clone(), pair.b.clone()] {
                    let error = relative_error(&gradient[range.clone()], &expected[range]);
                    assert!(error < 1e-4, "{name}, unit {unit}, {}: relative error {error:e}", pair.linear.name);
                }
            }
        }
        assert!(engine.is_intact().unwrap(), "{name}: something was written beside a buffer");
    }
}

/// bf16 has 8 bits of significand; the bounds are those of the CPU engine's products.
#[test]
fn bf16_stays_near_f32_on_all_goldens() {
    for case in CASES {
        let golden = Golden::load(case);
        let units: Vec<UnitInput> = (0..golden.len())
            .map(|i| UnitInput { sequences: vec![golden.sequence(i, golden.mean_weight(i))] })
            .collect();
        let exact = gradients(&mut on_cpu(&golden.files), &golden.adapter, &units);
        let mut rounded = emulated(&golden.files, in_precision(Precision::Bf16));
        let near = gradients(&mut rounded, &golden.adapter, &units);
        let mut differs = false;
        for ((loss, gradient), (near_loss, near)) in exact.iter().zip(&near) {
            assert!((loss - near_loss).abs() <= 0.005 * loss.abs(), "{case}: loss {near_loss}, in f32 {loss}");
            let error = relative_error(near, gradient);
            assert!(error < 0.05, "{case}: relative error {error}");
            differs |= *loss != *near_loss;
        }
        assert!(differs, "{case}: nothing was rounded");
        assert!(rounded.is_intact().unwrap(), "{case}");
    }
}

/// What a unit's gradient is does not depend on who else is in the batch, where it lies, or how the batch is cut: to the bit.
#[test]
fn a_units_gradient_depends_on_that_unit_alone() {
    for (name, config) in [FAMILIES[0], FAMILIES[2], FAMILIES[4]] {
        let folder = tempfile::tempdir().unwrap();
        let files = model(folder.path(), config, Dtype::BF16);
        let adapter = adapter(&files, 3, None);
        let texts = texts(files.config.vocab_size, &[40, 3, 70, 70, 1, 25]);
        let mut whole = units(&texts);
        whole[1].sequences.extend([sequence(&texts[2]), sequence(&texts[5]), sequence(&texts[0])]);
        for precision in [Precision::F32, Precision::Bf16] {
            let options = |rows| GpuOptions { micro_batch_tokens: Some(rows), ..in_precision(precision) };
            let together = bits(&gradients(&mut emulated(&files, options(400)), &adapter, &whole));
            let cut = bits(&gradients(&mut emulated(&files, options(70)), &adapter, &whole));
            assert!(together == cut, "{name} in {precision:?}: another micro-batch, other numbers");
            let backwards: Vec<UnitInput> = whole.iter().rev().cloned().collect();
            let mut turned = bits(&gradients(&mut emulated(&files, options(190)), &adapter, &backwards));
            turned.reverse();
            assert!(together == turned, "{name} in {precision:?}: another order, other numbers");
            for (unit, together) in whole.iter().zip(&together) {
                let alone = bits(&gradients(&mut emulated(&files, options(400)), &adapter, std::slice::from_ref(unit)));
                assert!(alone[0] == *together, "{name} in {precision:?}: a unit alone has another gradient");
            }
        }
    }
}

/// A kernel that lacks a barrier gives other numbers when its threads run in the opposite order.
#[test]
fn threads_may_run_in_any_order() {
    for (name, config) in [FAMILIES[1], FAMILIES[2], FAMILIES[4]] {
        let folder = tempfile::tempdir().unwrap();
        let files = model(folder.path(), config, Dtype::F16);
        let adapter = adapter(&files, 3, None);
        let texts = texts(files.config.vocab_size, &[20, 45]);
        for precision in [Precision::F32, Precision::Bf16] {
            let [one, other] = [Emulated::new(MEMORY), Emulated::new(MEMORY).backwards()].map(|device| {
                let mut engine = GpuEngine::new(Box::new(device), &files, in_precision(precision)).unwrap();
                bits(&gradients(&mut engine, &adapter, &units(&texts)))
            });
            assert!(one == other, "{name} in {precision:?}");
        }
    }
}

/// A card without room for all activations makes them again, and gets the same bits; so does an adapter on few maps.
#[test]
fn activations_made_again_are_the_same() {
    let (name, config) = FAMILIES[6];
    let folder = tempfile::tempdir().unwrap();
    let files = model(folder.path(), config, Dtype::F32);
    for targets in [None, Some(&["v_proj", "down_proj"][..])] {
        let adapter = adapter(&files, 4, targets);
        let texts = texts(files.config.vocab_size, &[60, 100, 31]);
        let run = |memory_limit| {
            let options = GpuOptions { memory_limit, micro_batch_tokens: Some(100), ..GpuOptions::default() };
            GpuEngine::new(Box::new(Emulated::new(MEMORY)), &files, options).map(|mut engine| {
                let mut found = Vec::new();
                let done = engine.for_each_unit_gradient(&adapter, &units(&texts), &mut |_, unit| {
                    found.push((unit.loss, unit.gradient.to_vec()));
                });
                (done.map(|()| engine.recomputes()).map_err(|error| error.to_string()), bits(&found))
            })
        };
        let (again, free) = run(None).unwrap();
        assert_eq!(again, Ok(false), "{name}");
        // The least limit that is not refused.
        let (mut low, mut high) = (0, MEMORY);
        while high - low > 4096 {
            let middle = usize::midpoint(low, high);
            if run(Some(middle)).unwrap().0.is_ok() { high = middle } else { low = middle }
        }
        let (again, tight) = run(Some(high)).unwrap();
        assert_eq!(again, Ok(true), "{name}");
        assert!(free == tight, "{name}: other bits");
        assert!(run(Some(low)).unwrap().0.unwrap_err().contains("--max-length"));
    }
}

/// GGUF's blocks stay as they are on the device.
#[test]
fn agrees_with_the_cpu_engine_on_gguf_files() {
    for name in ["llama", "qwen2", "gpt2"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../rldp-model/testdata/gguf");
        let files = ModelSource::open(&path.join(format!("{name}.gguf"))).unwrap();
        let adapter = adapter(&files, 2, None);
        let texts = texts(files.config.vocab_size, &[12, 5]);
        let expected = gradients(&mut on_cpu(&files), &adapter, &units(&texts));
        for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Bf16, 0.05)] {
            let mut engine = emulated(&files, in_precision(precision));
            let found = gradients(&mut engine, &adapter, &units(&texts));
            for ((_, found), (_, expected)) in found.iter().zip(&expected) {
                let error = relative_error(found, expected);
                assert!(error < tolerance, "{name} in {precision:?}: relative error {error:e}");
            }
            assert!(engine.is_intact().unwrap(), "{name}");
        }
    }
}

/// Slots are used again and again; what a frozen A leaves in them must be zero every time.
#[test]
fn frozen_factors_have_no_gradient() {
    let golden = Golden::load("llama-tied");
    let layout = golden.adapter.layout().clone().with_frozen_a();
    let frozen = Adapter::from_parameters(layout, golden.adapter.parameters().to_vec());
    let units: Vec<UnitInput> =
        (0..12).map(|i| UnitInput { sequences: vec![golden.sequence(i % golden.len(), 0.3)] }).collect();
    let options = GpuOptions { micro_batch_tokens: Some(200), ..GpuOptions::default() };
    let mut engine = emulated(&golden.files, options);
    let all = gradients(&mut engine, &golden.adapter, &units);
    let found = gradients(&mut engine, &frozen, &units);
    for ((_, all), (_, found)) in all.iter().zip(&found) {
        for pair in frozen.layout().pairs() {
            assert!(found[pair.a.clone()].iter().all(|g| *g == 0.0), "{} has a gradient", pair.linear.name);
            assert_eq!(found[pair.b.clone()], all[pair.b.clone()]);
        }
    }
}

/// Token after token, with keys and values kept, is the same text as the CPU engine's; and its logits are those of a whole pass.
#[test]
fn decoding_follows_the_cpu_engine() {
    for case in CASES {
        let golden = Golden::load(case);
        let options =
            GenerateOptions { max_new_tokens: 12, sampling: Sampling::GREEDY, seed: 0, stop_tokens: Vec::new() };
        let prompt = &golden.tokens[3];
        let expected = generate(&on_cpu(&golden.files), Some(&golden.adapter), prompt, &options).unwrap();
        let mut engine = emulated(&golden.files, in_precision(Precision::F32));
        let found = engine.generate(Some(&golden.adapter), prompt, &options).unwrap();
        assert_eq!(found, expected, "{case}");
    }
}
