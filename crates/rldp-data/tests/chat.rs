//! Chat templates against transformers, and which of a conversation's text is scored.

#![allow(clippy::unwrap_used)]

use rldp_data::ChatTemplate;
use serde_json::Value;

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("../testdata/chat/chat.json")).unwrap()
}

fn template(case: &Value) -> ChatTemplate {
    ChatTemplate::new(case["template"].as_str().unwrap().to_owned(), "<s>".into(), "</s>".into()).unwrap()
}

#[test]
fn templates_render_as_in_transformers() {
    let (mut rendered, mut refused) = (0, 0);
    for case in cases() {
        let found = template(&case).render(case["messages"].as_array().unwrap(), case["opens"].as_bool().unwrap());
        match case["text"].as_str() {
            Some(text) => assert_eq!(found.unwrap(), text, "{}", case["name"]),
            None => assert!(found.unwrap_err().contains("refuses the conversation"), "{}", case["name"]),
        }
        if case["text"].is_null() { refused += 1 } else { rendered += 1 }
    }
    assert!(rendered >= 12 && refused == 2, "{rendered} rendered, {refused} refused");
}

#[test]
fn answers_are_what_the_assistant_says_with_its_end() {
    for case in cases().iter().filter(|case| !case["text"].is_null()) {
        let conversation = template(case).conversation(&case["messages"].to_string()).unwrap();
        let said: Vec<&str> = case["messages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|message| message["role"] == "assistant")
            .map(|message| message["content"].as_str().unwrap().trim())
            .collect();
        assert_eq!(conversation.answers.len(), said.len());
        for (range, said) in conversation.answers.iter().zip(said) {
            let answer = &conversation.text[range.clone()];
            assert!(answer.trim().starts_with(said), "{}: {answer:?} for {said:?}", case["name"]);
            assert!(answer.len() > said.len(), "the end of the turn is scored too");
        }
    }
}

#[test]
fn conversations_that_cannot_be_scored_are_refused_without_showing_them() {
    let template = |source: &str| ChatTemplate::new(source.to_owned(), String::new(), String::new()).unwrap();
    let reason = |source: &str, json: &str| template(source).conversation(json).map(|found| found.text).unwrap_err();
    let plain = "{% for m in messages %}{{ m.content }}{% endfor %}";
    assert!(reason(plain, "SECRET").contains("not an array"));
    assert!(reason(plain, r#"[{"content": "SECRET"}]"#).contains("no `role`"));
    assert!(reason(plain, r#"[{"role": "user", "content": "SECRET"}]"#).contains("says nothing"));
    let last_only = "{% for m in messages %}{{ m.content if loop.last else '-' }}{% endfor %}";
    let two = r#"[{"role": "assistant", "content": "SECRET"}, {"role": "assistant", "content": "b"}]"#;
    assert!(reason(last_only, two).contains("turn 1 differently"));
    let quoting = "{{ raise_exception(messages[0].content) }}";
    assert!(!reason(quoting, r#"[{"role": "assistant", "content": "SECRET"}]"#).contains("SECRET"));
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    assert!(reason(endless, two).contains("refuses"));
    assert!(
        ChatTemplate::new("{% for %}".into(), String::new(), String::new()).unwrap_err().to_string().contains("line 1")
    );
}
