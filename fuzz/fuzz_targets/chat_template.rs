//! A chat template: it ends, and what it renders has the answers inside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_data::ChatTemplate;

const CONVERSATION: &str = r#"[{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]"#;

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let Ok(template) = ChatTemplate::new(source.to_owned(), "<s>".into(), "</s>".into()) else { return };
    if let Ok(found) = template.conversation(CONVERSATION) {
        assert!(found.answers.iter().all(|range| found.text.get(range.clone()).is_some()));
    }
});
