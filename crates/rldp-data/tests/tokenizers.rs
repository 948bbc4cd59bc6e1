//! Repositories of tokenizers against `AutoTokenizer`, from `testdata/tokenizers`.

#![allow(clippy::unwrap_used)] // helpers of tests

use rldp_data::TextTokenizer;
use serde_json::Value;

fn document() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/tokenizers/repositories.json");
    serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
}

fn open(case: &Value, contents: &Value) -> TextTokenizer {
    let folder = tempfile::TempDir::new().unwrap();
    for (name, key) in case["files"].as_object().unwrap() {
        fs_err::write(folder.path().join(name), contents[key.as_str().unwrap()].as_str().unwrap()).unwrap();
    }
    TextTokenizer::from_dir(folder.path()).unwrap()
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn repositories_of_every_shape_give_the_ids_of_auto_tokenizer() {
    let document = document();
    let (texts, cases) = (document["texts"].as_array().unwrap(), document["cases"].as_array().unwrap());
    assert!(cases.len() >= 30 && texts.len() >= 40);
    let mut wrong = Vec::new();
    for case in cases {
        let tokenizer = open(case, &document["contents"]);
        for (text, ids) in texts.iter().zip(case["ids"].as_array().unwrap()) {
            let text = text.as_str().unwrap();
            let apart = ids.get(0).is_some_and(Value::is_array);
            let (with, without) = if apart { (&ids[0], &ids[1]) } else { (ids, ids) };
            for (special, expected) in [(true, with), (false, without)] {
                let found = tokenizer.encode(text, special).unwrap();
                if found != numbers(expected) {
                    wrong.push(format!("{}: {text:?} gives {found:?}, AutoTokenizer {expected}", case["name"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
}

#[test]
fn a_completion_ends_as_the_tokenizer_says_where_the_model_stops_there() {
    let document = document();
    for case in document["cases"].as_array().unwrap() {
        let tokenizer = open(case, &document["contents"]);
        let Some(eos) = case["eos"].as_u64().map(|eos| eos as u32) else { continue };
        let ordered = |mut stops: Vec<u32>| {
            tokenizer.own_end_first(&mut stops);
            stops
        };
        assert_eq!(ordered(vec![7, 8, eos, 9]), [eos, 7, 8, 9], "{}", case["name"]);
        assert_eq!(ordered(vec![eos + 1, 7]), [eos + 1, 7]);
    }
}
