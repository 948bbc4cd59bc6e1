//! A safetensors file: its header, and every tensor that it promises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_model::Weights;

fuzz_target!(|bytes: &[u8]| {
    let Ok(weights) = Weights::from_bytes(bytes.to_vec()) else { return };
    for name in weights.names() {
        if let Ok(view) = weights.tensor(name) {
            view.range_to_f32(0, &mut vec![0.0; view.len().min(1000)]);
        }
    }
});
