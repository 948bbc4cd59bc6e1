//! Activations that are made again in the backward pass.

#![allow(clippy::unwrap_used)]

mod support;

use rldp_model::{
    Adapter, AdapterLayout, Engine as _, LoraSettings, ModelError, Sequence, UnitInput,
    cpu::{CpuEngine, CpuOptions, MemoryLimit},
};

const LONGEST: usize = 200;

/// A limit that leaves no room for all activations changes no bit of the gradients.
#[test]
fn activations_made_again_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let files = support::ten_blocks(folder.path());
    for targets in [None, Some(vec!["q_proj".to_owned(), "down_proj".to_owned()])] {
        let settings = LoraSettings { rank: 4, lora_alpha: 8.0, target_modules: targets };
        let layout = AdapterLayout::for_model(&files.config, &settings).unwrap();
        let adapter_parameters = layout.parameter_count();
        let parameters = (0..adapter_parameters).map(|i| (i as f32 * 0.7).sin() * 0.02).collect();
        let adapter = Adapter::from_parameters(layout, parameters);
        let tokens: Vec<u32> = (0..LONGEST as u32).map(|t| t * 31 % 2000).collect();
        let sequences = [&tokens[..], &tokens[..40], &tokens[3..70]];
        let units: Vec<UnitInput> = sequences
            .map(|tokens| UnitInput {
                sequences: vec![Sequence { tokens, scored_from: 0, skipped: &[], weight: 0.01 }],
            })
            .into();
        let gradients = |bytes: Option<usize>| {
            let memory_limit =
                bytes.map(|bytes| MemoryLimit { bytes, adapter_parameters, past_bytes: 0, longest: LONGEST });
            let options = CpuOptions { memory_limit, micro_batch_tokens: Some(LONGEST), ..CpuOptions::default() };
            let mut found = Vec::new();
            CpuEngine::new(&files, options).map(|mut engine| {
                engine
                    .for_each_unit_gradient(&adapter, &units, &mut |_, unit| found.extend_from_slice(unit.gradient))
                    .unwrap();
                found
            })
        };
        let Err(ModelError::Memory { needed, .. }) = gradients(Some(1)) else { panic!("a byte is not enough") };
        let (free, tight) = (gradients(None).unwrap(), gradients(Some(needed * 8 / 7)).unwrap());
        assert!(free.iter().any(|g| *g != 0.0) && free == tight);
    }
}
