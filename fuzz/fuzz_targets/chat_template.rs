//! A chat template: it ends, and what it renders has the answers inside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_data::{Chat, ChatTemplate, SpecialTokens};

const CONVERSATION: &str = r#"[{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]"#;

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let special: SpecialTokens = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, token)| (name.into(), token.into())).into();
    let template = ChatTemplate::new(source, special);
    if let Ok(found) = template.conversation(&Chat { messages: CONVERSATION.into(), ..Chat::default() }) {
        assert!(found.answers.iter().all(|range| found.text.get(range.clone()).is_some()));
    }
});
