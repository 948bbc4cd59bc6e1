//! Chat templates against transformers, and which of a conversation's text is scored.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::{collections::BTreeMap, path::Path};

use rldp_data::{Chat, ChatTemplate, SpecialTokens};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A conversation with a template, and the text that transformers makes of it; `None` where it refuses.
#[derive(serde::Deserialize)]
struct Case {
    name: String,
    template: String,
    special: SpecialTokens,
    messages: String,
    tools: Option<String>,
    opens: bool,
    text: Option<String>,
    /// What transformers' mask of the assistant's turns covers.
    spans: Option<Vec<(usize, usize)>>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../testdata/chat/chat.json")).unwrap()
}

impl Case {
    fn template(&self) -> ChatTemplate {
        ChatTemplate::new(&self.template, self.special.clone())
    }

    fn render(&self) -> Result<String, String> {
        self.template().render(&self.messages, self.tools.as_deref(), self.opens)
    }

    fn chat(&self) -> Chat {
        Chat { before: None, messages: self.messages.clone(), tools: self.tools.clone() }
    }
}

#[test]
fn templates_render_as_in_transformers() {
    let (mut rendered, mut refused, mut wrong) = (0, 0, Vec::new());
    for case in cases() {
        let found = case.render();
        match (&case.text, found) {
            (Some(text), Ok(found)) if *text == found => rendered += 1,
            (None, Err(reason)) if reason.contains("refuses the conversation") => refused += 1,
            (text, found) => wrong.push(format!("{}: {found:?}\n  for {text:?}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(rendered >= 60 && refused >= 2, "{rendered} rendered, {refused} refused");
}

#[test]
fn marked_answers_are_those_of_transformers() {
    let mut seen = 0;
    for case in cases().iter().filter(|case| !case.opens) {
        let Some(spans) = case.spans.as_ref().filter(|spans| !spans.is_empty()) else { continue };
        let found = case.template().conversation(&case.chat()).unwrap();
        let characters = |byte: usize| found.text[..byte].chars().count();
        let found: Vec<_> =
            found.answers.iter().map(|answer| (characters(answer.start), characters(answer.end))).collect();
        assert_eq!(&found, spans, "{}", case.name);
        seen += 1;
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn answers_are_what_the_assistant_says_with_its_end() {
    for case in cases().iter().filter(|case| case.text.is_some() && case.name.starts_with("plain")) {
        let conversation = case.template().conversation(&case.chat()).unwrap();
        let messages: Vec<Value> = serde_json::from_str(&case.messages).unwrap();
        let said: Vec<&str> = messages
            .iter()
            .filter(|message| message["role"] == "assistant")
            .map(|message| message["content"].as_str().unwrap().trim())
            .collect();
        assert_eq!((conversation.answers.len(), conversation.left_out), (said.len(), 0));
        for (range, said) in conversation.answers.iter().zip(said) {
            let answer = &conversation.text[range.clone()];
            assert!(answer.trim().starts_with(said), "{}: {answer:?} for {said:?}", case.name);
            assert!(answer.len() > said.len(), "the end of the turn is scored too");
        }
    }
}

fn chat(messages: &str) -> Chat {
    Chat { messages: messages.to_owned(), ..Chat::default() }
}

#[test]
fn conversations_that_cannot_be_scored_are_refused_without_showing_them() {
    let template = |source: &str| ChatTemplate::new(source, SpecialTokens::new());
    let reason =
        |source: &str, json: &str| template(source).conversation(&chat(json)).map(|found| found.text).unwrap_err();
    let plain = "{% for m in messages %}{{ m.content }}{% endfor %}";
    assert!(reason(plain, "SECRET").contains("not an array"));
    assert!(reason(plain, r#"[{"content": "SECRET"}]"#).contains("message 1 has no `role`"));
    assert!(reason(plain, r#"[{"role": "user", "content": "SECRET"}]"#).contains("says nothing"));
    assert!(reason(plain, r#"[{"from": "SECRET", "value": "SECRET"}]"#).contains("none of human"));
    assert!(reason(plain, r#"[{"role": "assistant", "content": "SECRET \ud83d"}]"#).contains("lone surrogate"));
    let quoting = "{{ raise_exception(messages[0].content) }}";
    assert!(!reason(quoting, r#"[{"role": "assistant", "content": "SECRET"}]"#).contains("SECRET"));
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    let two = r#"[{"role": "assistant", "content": "SECRET"}, {"role": "assistant", "content": "b"}]"#;
    assert!(reason(endless, two).contains("refuses"));
    assert!(reason("{% for %}", two).contains("line 1"), "a template that is not valid refuses conversations alone");
}

const ONE: &str = r#"[{"role": "user", "content": "Is it well?"}, {"role": "assistant", "content": "Yes, it is."}]"#;
const TWO: &str = r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
    {"role": "assistant", "content": "d"}, {"role": "user", "content": "never answered"}]"#;

fn answers(source: &str, chat: &Chat) -> (Vec<String>, usize) {
    let found = ChatTemplate::new(source, SpecialTokens::new()).conversation(chat).unwrap();
    (found.answers.iter().map(|answer| found.text[answer.clone()].to_owned()).collect(), found.left_out)
}

/// What invites an answer may hold what no stored answer begins with, as in models that think first.
#[test]
fn an_invitation_that_is_no_prefix_leaves_the_answer_what_it_is() {
    let thinking = "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}{% if m.role == 'assistant' %}<eos>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}";
    assert_eq!(answers(thinking, &chat(ONE)), (vec!["Yes, it is.<eos>".into()], 0));
    assert_eq!(answers(thinking, &chat(TWO)), (vec!["b<eos>".into(), "d<eos>".into()], 0));
    // An answer that begins as the invitation goes on belongs to itself.
    let tag = r#"[{"role": "user", "content": "q"}, {"role": "assistant", "content": "<table>"}]"#;
    assert_eq!(answers(thinking, &chat(tag)), (vec!["<table><eos>".into()], 0));
}

/// Where earlier answers are rendered otherwise once others follow, the last one is scored.
#[test]
fn the_last_answer_is_scored_when_earlier_ones_change() {
    let forgetful = "{% for m in messages %}<{{ m.role }}>{% if loop.last and m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    assert_eq!(answers(forgetful, &chat(TWO)), (vec!["<think></think>d<end>".into()], 1));
}

#[test]
fn prompts_of_messages_are_context_and_share_gpt_is_read() {
    let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let before = Some(r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]"#.to_owned());
    let messages = r#"[{"role": "assistant", "content": "d"}]"#.to_owned();
    assert_eq!(answers(source, &Chat { before, messages, tools: None }), (vec!["d<end>".into()], 0));
    let share =
        r#"[{"from": "system", "value": "s"}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]"#;
    let found = ChatTemplate::new(source, SpecialTokens::new()).conversation(&chat(share)).unwrap();
    assert_eq!(found.text, "<system>s<end><user>Hi<end><assistant>Hello<end>");
    assert_eq!(&found.text[found.answers[0].clone()], "Hello<end>");
}

#[test]
fn tools_reach_the_template_and_dates_are_of_today() {
    let source = "{{ tools | tojson if tools is not none else 'none' }} {{ strftime_now('%Y') | int > 2024 }}{% for m in messages %}{{ m.content }}{% endfor %}";
    let template = ChatTemplate::new(source, SpecialTokens::new());
    assert_eq!(template.render("[]", None, false).unwrap(), "none True");
    let tools = r#"[{"z": 1, "a": "it's <b> & \u00e9"}]"#;
    assert_eq!(template.render("[]", Some(tools), false).unwrap(), "[{\"z\": 1, \"a\": \"it's <b> & é\"}] True");
}

#[derive(serde::Deserialize)]
struct Corpus {
    special: SpecialTokens,
    conversations: BTreeMap<String, Talk>,
    templates: Vec<Public>,
}

#[derive(serde::Deserialize)]
struct Talk {
    messages: String,
    tools: Option<String>,
}

/// A template in a public repository, by its digest.
#[derive(serde::Deserialize)]
struct Public {
    name: String,
    sha256: String,
    cases: Vec<Rendering>,
}

#[derive(serde::Deserialize)]
struct Rendering {
    conversation: String,
    opens: bool,
    renders: bool,
    /// `None` where the text holds a date, or nothing is rendered.
    sha256: Option<String>,
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A sum with text that is called safe is escaped in Jinja, and refused here.
const ESCAPED: &str = "meetkai-functionary-medium-v3.1";

/// Templates of a folder named by `RLDP_TEMPLATES`, which `corpus.json` knows by their digests. Where transformers refuses a
/// conversation that is rendered here, the template loops over tools that are not there.
#[test]
fn public_templates_render_as_in_transformers() {
    let Some(folder) = std::env::var_os("RLDP_TEMPLATES") else {
        eprintln!("skipped: RLDP_TEMPLATES names no folder of public templates");
        return;
    };
    let corpus: Corpus = serde_json::from_str(include_str!("../testdata/chat/corpus.json")).unwrap();
    let (mut known, mut equal, mut lenient, mut wrong) = (0, 0, 0, Vec::new());
    for entry in fs_err::read_dir(Path::new(&folder)).unwrap() {
        let path = entry.unwrap().path();
        let Some(source) =
            fs_err::read_to_string(&path).ok().filter(|_| path.extension().is_some_and(|e| e == "jinja"))
        else {
            continue;
        };
        let sha256 = digest(&source);
        let Some(public) = corpus.templates.iter().find(|public| public.sha256 == sha256) else { continue };
        known += 1;
        for case in &public.cases {
            let Talk { messages, tools } = &corpus.conversations[&case.conversation];
            let template = ChatTemplate::new(&source, corpus.special.clone());
            let found = template.render(messages, tools.as_deref(), case.opens);
            let what = format!("{} {} {}", public.name, case.conversation, case.opens);
            match (found, case.renders, &case.sha256) {
                (Ok(text), true, Some(sha256)) if digest(&text) == *sha256 => equal += 1,
                (Ok(_), true, None) | (Err(_), false, _) => equal += 1,
                (Err(_), true, Some(_)) if public.name.contains(ESCAPED) && case.conversation == "tools" => {}
                (Ok(_), false, _) => lenient += 1,
                (found, ..) => wrong.push(format!("{what}: {:?}", found.map(|text| text.len()))),
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        known >= 40 && equal >= 8 * known && lenient <= equal / 40,
        "{known} templates, {equal} equal, {lenient} lenient"
    );
    eprintln!("{known} templates, {equal} renderings equal, {lenient} where transformers refuses");
}
