//! What a device that cannot be used, or fails, says.

#![cfg(emulated)]
#![allow(clippy::unwrap_used)]

mod support;

use rldp_gpu::{Emulated, Faults, GpuEngine, GpuOptions};
use rldp_model::{Engine as _, ModelFiles};
use safetensors::Dtype;
use support::{FAMILIES, MEMORY, adapter, bits, emulated, gradients, model, texts, units};
use tempfile::TempDir;

fn tiny() -> (TempDir, ModelFiles) {
    let folder = tempfile::tempdir().unwrap();
    let files = model(folder.path(), FAMILIES[6].1, Dtype::F32);
    (folder, files)
}

fn options() -> GpuOptions {
    GpuOptions { micro_batch_tokens: Some(64), ..GpuOptions::default() }
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_numbers() {
    let (_folder, files) = tiny();
    let refused = GpuEngine::new(Box::new(Emulated::new(1 << 17)), &files, options()).err().unwrap().to_string();
    for part in ["the emulated card has 131072 bytes", "the model takes", "GGUF", "--device cpu"] {
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn a_record_that_does_not_fit_is_refused_and_the_engine_goes_on() {
    let (_folder, files) = tiny();
    let adapter = adapter(&files, 4, None);
    let limit = |memory_limit| GpuOptions { memory_limit, ..options() };
    let (long, short) = (texts(300, &[128]), texts(300, &[20]));
    let mut engine = emulated(&files, limit(Some(1 << 20)));
    let refused =
        engine.for_each_unit_gradient(&adapter, &units(&long), &mut |_, _| panic!("no room")).unwrap_err().to_string();
    assert!(refused.contains("a record of 128 tokens does not fit") && refused.contains("--max-length"), "{refused}");
    assert_eq!(
        bits(&gradients(&mut engine, &adapter, &units(&short))),
        bits(&gradients(&mut emulated(&files, options()), &adapter, &units(&short)))
    );
}

/// Whatever the step was doing, the loss of the device is an error, never a panic or a wrong number.
#[test]
fn a_lost_device_is_an_error_wherever_it_happens() {
    let (_folder, files) = tiny();
    let adapter = adapter(&files, 4, None);
    let texts = texts(300, &[20, 30, 40]);
    let whole = gradients(&mut emulated(&files, options()), &adapter, &units(&texts));
    let mut lost = 0;
    for at in (1..2000).step_by(61) {
        let device = Emulated::new(MEMORY).with_faults(Faults { lost_at: Some(at), ..Faults::default() });
        let mut engine = GpuEngine::new(Box::new(device), &files, options()).unwrap();
        let mut found = Vec::new();
        let done = engine.for_each_unit_gradient(&adapter, &units(&texts), &mut |_, unit| {
            found.push((unit.loss, unit.gradient.to_vec()));
        });
        assert_eq!(bits(&found), bits(&whole[..found.len()]), "what came before the loss is right");
        match done {
            Ok(()) => assert_eq!(found.len(), whole.len()),
            Err(error) => {
                lost += 1;
                let error = error.to_string();
                assert!(error.contains("the device is lost") && error.contains("resume"), "{error}");
            }
        }
    }
    assert!(lost > 3, "{lost}");
}

#[test]
fn memory_that_runs_out_in_a_step_is_an_error() {
    let (_folder, files) = tiny();
    let adapter = adapter(&files, 64, None);
    let texts = texts(300, &[20]);
    let mut refused = 0;
    for room in [40 << 20, 60 << 20, 500 << 20] {
        let device = Emulated::new(MEMORY).with_faults(Faults { refuses_beyond: Some(room), ..Faults::default() });
        let Ok(mut engine) = GpuEngine::new(Box::new(device), &files, options()) else { continue };
        if let Err(error) = engine.for_each_unit_gradient(&adapter, &units(&texts), &mut |_, _| ()) {
            refused += 1;
            let error = error.to_string();
            assert!(error.contains("ran out of memory") && error.contains("resume"), "{error}");
        }
    }
    assert!(refused > 0, "no step ran out of memory");
}

#[test]
fn tokens_that_the_model_has_not_are_refused() {
    let (_folder, files) = tiny();
    let mut engine = emulated(&files, options());
    assert!(engine.logits(None, &[300]).unwrap_err().to_string().contains("token id 300"));
    assert!(engine.logits(None, &[0; 129]).unwrap_err().to_string().contains("128 positions"));
    assert!(engine.logits(None, &[]).unwrap().is_empty());
}
