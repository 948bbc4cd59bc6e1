//! A `config.json`: what is accepted has sizes that add up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_model::ModelConfig;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = ModelConfig::from_json(text) else { return };
    assert!(config.heads.is_multiple_of(config.kv_heads));
    assert!(!config.block_linears(0).is_empty());
    if let Some(rope) = config.rope {
        assert_eq!(rope.rotation(config.head_dim, 8).at(1).count(), config.head_dim / 2);
    }
});
