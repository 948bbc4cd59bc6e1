//! A `tokenizer.json`: what is accepted encodes and decodes a sentence.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_data::TextTokenizer;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tokenizer) = TextTokenizer::from_bytes(bytes) else { return };
    if let Ok(tokens) = tokenizer.encode("The patient, aged 7, was seen.", true) {
        let _ = tokenizer.decode(&tokens);
    }
});
