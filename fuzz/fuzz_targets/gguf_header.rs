//! A GGUF file, whole: header, table of tensors, configuration, tokenizer; what opens is read once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_data::{ChatTemplate, SpecialTokens, TextTokenizer};
use rldp_model::gguf;

fuzz_target!(|bytes: &[u8]| {
    let Ok(files) = gguf::from_bytes(bytes.to_vec()) else { return };
    for name in files.weights.names() {
        if let Ok(view) = files.weights.tensor(name) {
            view.range_to_f32(0, &mut vec![0.0; view.len().min(1000)]);
        }
    }
    let Some(embedded) = files.embedded else { return };
    if let Ok(Some(json)) = embedded.tokenizer {
        if let Ok(tokenizer) = TextTokenizer::from_bytes(json.as_bytes()) {
            let _ = tokenizer.encode("The patient, aged 7, was seen.", true);
        }
    }
    if let Some(chat) = embedded.chat {
        let _ = ChatTemplate::new(&chat.template, SpecialTokens::new());
    }
});
