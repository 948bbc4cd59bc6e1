//! The engine keeps a memory limit. Alone in its process, whose peak it measures.

#![allow(clippy::unwrap_used)]

mod support;

use rldp_model::{
    Adapter, AdapterLayout, Engine as _, LoraSettings, ModelError, Sequence, UnitGradient, UnitInput, UnitSink,
    UnitSinks,
    cpu::{CpuEngine, CpuOptions, MemoryLimit, Precision},
};

const LONGEST: usize = 200;

/// Takes gradients and keeps none.
struct Forgets;

impl UnitSinks for Forgets {
    fn fork(&self) -> Box<dyn UnitSink + '_> {
        Box::new(Self)
    }
}

impl UnitSink for Forgets {
    fn add(&mut self, _unit: usize, _gradient: UnitGradient) {}
}

/// Largest resident memory of this process so far, in bytes; absent where the system does not say.
fn peak() -> Option<usize> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? << 10)
}

/// Starts the peak anew, which writing the model has raised.
fn forget_peak() {
    let _ = fs_err::write("/proc/self/clear_refs", "5");
}

#[test]
fn the_peak_stays_below_the_limit_whatever_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let files = support::ten_blocks(folder.path());
    let settings = LoraSettings { rank: 8, lora_alpha: 16.0, target_modules: None };
    let layout = AdapterLayout::for_model(&files.config, &settings).unwrap();
    let adapter_parameters = layout.parameter_count();
    let parameters = (0..adapter_parameters).map(|i| (i as f32 * 0.7).sin() * 0.02).collect();
    let adapter = Adapter::from_parameters(layout, parameters);
    let limit = |bytes| Some(MemoryLimit { bytes, adapter_parameters, past_bytes: 0, longest: LONGEST });
    let engine = |precision, bytes| {
        CpuEngine::new(&files, CpuOptions { memory_limit: limit(bytes), precision, ..CpuOptions::default() })
    };
    let Err(ModelError::Memory { needed, .. }) = engine(Precision::F32, 1) else { panic!("a byte is not enough") };
    let texts: Vec<Vec<u32>> =
        (0..24).map(|i| (0..LONGEST as u32).map(|t| (t * 31 + i * 7) % 2000).collect()).collect();
    let unit = |tokens| UnitInput { sequences: vec![Sequence { tokens, scored_from: 0, skipped: &[], weight: 0.01 }] };
    let units: Vec<UnitInput> = texts.iter().map(|tokens| unit(tokens)).collect();
    // An eighth of the limit goes to gradients, so that a little more than what is needed is asked for. That little is too
    // little for all activations: they are made again.
    for (precision, bytes) in [(Precision::Bf16, needed * 5 / 4), (Precision::F32, needed * 2)] {
        let mut engine = engine(precision, bytes).unwrap();
        forget_peak();
        engine.unit_gradients(&adapter, &units, &Forgets).unwrap();
        let Some(peak) = peak() else { return eprintln!("skipped: the system does not tell the peak") };
        assert!(peak <= bytes, "{precision:?}: {peak} bytes, above the limit of {bytes}");
        assert!(peak >= bytes / 5, "{precision:?}: {peak} bytes only, of {bytes}: the model of memory is far off");
    }
}
