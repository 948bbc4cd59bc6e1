//! What once went wrong in silence, as a person meets it: docs/results/silent.md lists each with what other programs do.

use serde_json::Value;

use crate::support::{SMALL_RUN, Scene};

fn nll(scene: &Scene, words: &str) -> f64 {
    scene.rldp(&format!("evaluate {words} --json")).expect(0).json()["nll"].as_f64().unwrap()
}

/// A completion behind a prompt that is longer than a block is scored after the end of that prompt.
#[test]
fn a_completion_is_scored_after_the_end_of_its_prompt() {
    let scene = Scene::new();
    // A note of the kind that the model knows, cut in its middle: its end follows from its beginning.
    let notes = scene.read("eval.csv");
    let note = notes.lines().nth(1).unwrap().rsplit_once(",\"").map_or(notes.as_str(), |(_, text)| text);
    let (start, end) = note.split_at(note.char_indices().map(|(at, _)| at).nth(note.chars().count() / 2).unwrap());
    let line = |prompt: &str| format!("{}\n", serde_json::json!({"prompt": prompt, "completion": end}));
    scene.write("long.jsonl", line(&format!("{}{start}", "word ".repeat(80))));
    scene.write("none.jsonl", line(""));
    let cut = nll(&scene, "--model model --data long.jsonl --max-length 48");
    let (whole, nothing) =
        (nll(&scene, "--model model --data long.jsonl"), nll(&scene, "--model model --data none.jsonl"));
    let tokens =
        |words: &str| scene.rldp(&format!("evaluate --model model {words} --json")).expect(0).json()["tokens"].clone();
    assert!(
        (cut - nothing).abs() > 1e-3,
        "{cut} cut, {whole} whole, {nothing} after nothing: the end of the prompt is gone"
    );
    assert_eq!(
        tokens("--data long.jsonl --max-length 48"),
        tokens("--data long.jsonl"),
        "all of the completion is scored"
    );
    let said = scene.rldp("evaluate --model model --data long.jsonl --max-length 48").expect(0).stderr;
    assert!(said.contains("1 of 1 records are longer than 48 tokens"), "{said}");
}

/// What a run evaluates, what `evaluate` makes of its adapter, and what its blocks are, agree without a flag.
#[test]
fn an_adapter_has_one_perplexity() {
    let scene = Scene::new();
    scene
        .rldp(&format!("{SMALL_RUN} --precision f32 --out run --max-length 20").replace("--max-length 48", ""))
        .expect(0);
    let lines = scene.json_lines("run/metrics.jsonl");
    let last = lines.iter().rfind(|line| line["kind"] == "eval").unwrap();
    let found = scene.rldp("evaluate --model model --adapter run/adapter --data eval.csv --json").expect(0).json();
    for key in ["nll", "tokens", "records"] {
        let (inside, outside) = (last[key].as_f64().unwrap(), found[key].as_f64().unwrap());
        assert!((inside - outside).abs() <= 1e-6 * inside, "{key}: {inside} in the run, {outside} outside");
    }
    let other = nll(&scene, "--model model --adapter run/adapter --data eval.csv --max-length 48");
    assert!((other - found["nll"].as_f64().unwrap()).abs() > 1e-3, "blocks make no difference: the test tells nothing");
}

#[test]
fn the_join_of_prompt_and_completion_is_a_setting() {
    let scene = Scene::new();
    scene.write("a.jsonl", "{\"prompt\": \"The patient\", \"completion\": \" was seen.\"}\n");
    scene.write("b.jsonl", "{\"prompt\": \"The patient ->\", \"completion\": \" was seen.\"}\n");
    let words = ["evaluate", "--model", "model", "--data", "a.jsonl", "--json", "--prompt-end", " ->"];
    let joined = scene.rldp_args(&words).expect(0).json()["nll"].clone();
    let words = ["evaluate", "--model", "model", "--data", "b.jsonl", "--json", "--prompt-end", ""];
    assert_eq!(scene.rldp_args(&words).expect(0).json()["nll"], joined);
    assert!((nll(&scene, "--model model --data a.jsonl") - joined.as_f64().unwrap()).abs() > 1e-3);
}

/// A prompt beyond the model's positions loses its start; generation goes on.
#[test]
fn one_long_record_never_stops_bleu() {
    let scene = Scene::new();
    let mut rows = String::from("prompt,completion\nThe patient,was seen\n");
    rows.extend(["word ".repeat(400), "The patient,was seen\n".to_owned()]);
    scene.write("long.csv", rows);
    let words = "evaluate --model model --data long.csv --prompt-column prompt --completion-column completion --json";
    let found = scene.rldp(&format!("{words} --metrics bleu,rouge-l --max-new-tokens 4")).expect(0).json();
    assert_eq!(found["prompts"], 2);
}

#[test]
fn several_files_are_one_training_set_and_one_book_of_units() {
    let scene = Scene::new();
    let (header, rows) = scene.read("train.csv").split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let (first, second) = rows.split_at(rows.len() / 3);
    scene.write("a.csv", format!("{header}\n{}\n", first.join("\n")));
    scene.write("b.csv", format!("{header}\n{}\n", second.join("\n")));
    let run = |train: &str, out: &str| {
        let words = SMALL_RUN.replace("--train train.csv", train);
        scene.rldp(&format!("{words} --unsafe-noise-seed 3 --out {out}")).expect(0);
        let lines = scene.json_lines(&format!("{out}/metrics.jsonl"));
        lines.iter().filter(|line| line["kind"] == "eval").map(|line| line["nll"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(run("--train a.csv --train b.csv", "two"), run("--train train.csv", "one"));
    scene.open_again("two");
    scene.rldp("train --resume two --quiet").expect(0);
    assert!(scene.read("two/config.toml").contains("train = ["));
}

#[test]
fn one_person_is_one_unit() {
    let scene = Scene::new();
    let rows: String =
        (0..40).map(|i| format!("{}{},The patient was seen.\n", i / 2, if i % 2 == 0 { "" } else { ".0" })).collect();
    scene.write("numbers.csv", format!("patient,text\n{rows}"));
    let run = SMALL_RUN.replace("train.csv", "numbers.csv");
    scene.rldp(&format!("{run} --out run")).expect(0);
    let claim = &scene.json_lines("run/ledger.jsonl")[0]["claim"];
    let rate = claim["sampling_rate"].as_f64().unwrap_or_default();
    assert!((rate - 12.0 / 20.0).abs() < 1e-12, "20 people are {} units", 12.0 / rate);
    scene.write("blanks.csv", format!("patient,text\n{}", rows.replace(".0,", " ,")));
    let run = SMALL_RUN.replace("train.csv", "blanks.csv");
    let refused = scene.rldp(&format!("{run} --out new")).expect(1).stderr;
    assert!(refused.contains("row 2") && refused.contains("--unit-ids trimmed"), "{refused}");
    scene.rldp(&format!("{run} --out trimmed --unit-ids trimmed")).expect(0);
    assert!(scene.read("trimmed/config.toml").contains("unit_ids = \"trimmed\""));
    assert!(
        scene.read("trimmed/ledger.jsonl").contains("patient (ids trimmed)"),
        "the claim says how ids were compared"
    );
    assert_eq!(scene.rldp("privacy verify trimmed --json").expect(0).json()["holds"], true);
}

/// The chat template is not needed for text, whatever it is.
#[test]
fn a_template_that_cannot_be_read_blocks_no_text() {
    let scene = Scene::new();
    let whole = nll(&scene, "--model model --data eval.csv");
    for template in ["{% for %}", "{% generation %}{{ messages }}"] {
        scene.write("model/chat_template.jinja", template);
        assert_eq!(nll(&scene, "--model model --data eval.csv"), whole);
        scene.rldp("generate --model model --prompt Patient --max-new-tokens 2").expect(0);
        scene.rldp("generate --model model --prompt Patient --max-new-tokens 2 --chat").expect(1);
    }
}

#[test]
fn a_text_that_brings_its_own_first_token_is_warned_about() {
    let scene = Scene::new();
    let mut tokenizer: Value = serde_json::from_str(&scene.read("model/tokenizer.json")).unwrap();
    let special = &tokenizer["added_tokens"][0];
    let (token, id) = (special["content"].as_str().unwrap().to_owned(), special["id"].clone());
    tokenizer["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token.clone(): {"id": token, "ids": [id], "tokens": [token]}},
    });
    scene.write("model/tokenizer.json", tokenizer.to_string());
    scene.write("bos.jsonl", format!("{}\n", serde_json::json!({"text": format!("{token}The patient was seen.")})));
    let said = scene.rldp("evaluate --model model --data bos.jsonl").expect(0).stderr;
    assert!(said.contains("stands there twice"), "{said}");
    assert!(!scene.rldp("evaluate --model model --data eval.csv").expect(0).stderr.contains("twice"));
}
