//! The reference engine against PyTorch.

#[path = "../../rldp-model/tests/common/mod.rs"]
mod common;

use common::Golden;
use rldp_model::{Engine, EngineError, Sequence};
use rldp_reference::ReferenceEngine;

#[test]
fn the_reference_engine_matches_pytorch() {
    common::check_all(|files| ReferenceEngine::new(files).unwrap());
}

#[test]
fn tokens_outside_the_model_are_refused() {
    let golden = Golden::load("llama-tied");
    let mut engine = ReferenceEngine::new(&golden.files).unwrap();
    let error = engine.logits(None, &[1, 64]).unwrap_err();
    assert!(matches!(error, EngineError::UnknownToken { token: 64, vocab: 64 }), "{error}");
    let long = vec![1; 257];
    let error =
        engine.losses(None, &[Sequence { tokens: &long, scored_from: 0, skipped: &[], weight: 1.0 }]).unwrap_err();
    assert!(matches!(error, EngineError::TooLong { length: 257, limit: 256 }), "{error}");
}
