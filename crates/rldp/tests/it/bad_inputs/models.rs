//! Model directories, tokenizers and adapters.

use serde_json::{Value, json};

use super::{Case, train};
use crate::support::Scene;

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let config: Value = serde_json::from_str(&scene.read("model/config.json")).unwrap();
    let mut cases = configs(&config);
    cases.extend(weights());
    cases.extend(tokenizers());
    cases.extend(adapters(scene));
    cases.extend([
        Case::new("model that is not there", with("nowhere")),
        Case::new("a file for a model", with("train.csv")),
        Case::new("a pickle for a model", with("model.pt")).file("model.pt", b"\x80\x02SECRET".as_slice()),
        Case::new("a pickle for a model, by another name", with("weights.bin"))
            .file("weights.bin", b"PK\x03\x04".as_slice()),
        Case::new("an adapter for a model", with("done/adapter")),
        Case::new("a folder without a model", with("bare")).before("mkdir bare"),
    ]);
    cases
}

fn with(model: &str) -> String {
    train("--model model", &format!("--model {model}"))
}

/// A copy of the model with another `config.json`.
fn configs(config: &Value) -> Vec<Case> {
    let changed = |key: &str, value: Value| {
        let mut changed = config.clone();
        changed[key] = value;
        changed.to_string()
    };
    let nested = "{\"a\":".repeat(100_000);
    let texts: Vec<(&str, String)> = vec![
        ("config that is cut", "{".into()),
        ("config that is a list", "[1]".into()),
        ("config without an architecture", "{}".into()),
        ("config nested without end", nested),
        ("unknown architecture", changed("model_type", json!("mamba"))),
        ("width of another model", changed("n_embd", json!(64))),
        ("heads that do not divide", changed("n_head", json!(3))),
        ("zero layers", changed("n_layer", json!(0))),
        ("more layers than weights", changed("n_layer", json!(4096))),
        ("layers beyond any model", changed("n_layer", json!(1_u64 << 62))),
        ("vocabulary beyond any model", changed("vocab_size", json!(99_999_999_999_u64))),
        ("vocabulary of another model", changed("vocab_size", json!(1 << 24))),
        ("positions beyond any model", changed("n_positions", json!(u64::MAX))),
        ("a negative size", changed("n_embd", json!(-128))),
        ("a size in words", changed("n_embd", json!("wide"))),
        ("an infinite norm epsilon", changed("layer_norm_epsilon", json!(1e300))),
        ("quantized weights", changed("quantization_config", json!({"bits": 4}))),
        ("unknown activation", changed("activation_function", json!("snake"))),
    ];
    let case = |(index, (name, text)): (usize, (&'static str, String))| {
        let folder = format!("config-{index}");
        Case::new(name, with(&folder))
            .file(format!("{folder}/config.json"), text)
            .before("for m in config-*; do cp -n model/tokenizer.json model/model.safetensors $m; done")
    };
    texts.into_iter().enumerate().map(case).collect()
}

/// A copy of the model with other weights.
fn weights() -> Vec<Case> {
    let header = |length: u64, text: &str| [&length.to_le_bytes(), text.as_bytes()].concat();
    let outside = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4611686018427387904]}}"#;
    let wrapped = r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
    let files: Vec<(&'static str, &'static str, Vec<u8>)> = vec![
        ("empty weights", "model.safetensors", Vec::new()),
        ("weights with a hostile length", "model.safetensors", header(u64::MAX, "{}")),
        ("weights that point outside", "model.safetensors", header(outside.len() as u64, outside)),
        ("weights whose sizes overflow", "model.safetensors", header(wrapped.len() as u64, wrapped)),
        ("weights without tensors", "model.safetensors", header(2, "{}")),
        ("a Git LFS pointer", "model.safetensors", b"version https://git-lfs.github.com/spec/v1\n".to_vec()),
        ("a pickle named safetensors", "model.safetensors", b"PK\x03\x04SECRET".to_vec()),
        ("pickled weights", "pytorch_model.bin", b"PK\x03\x04".to_vec()),
        ("an index without shards", "model.safetensors.index.json", br#"{"weight_map": {}}"#.to_vec()),
        ("an index that is cut", "model.safetensors.index.json", b"{".to_vec()),
        (
            "an index of an absent shard",
            "model.safetensors.index.json",
            br#"{"weight_map": {"a": "one.safetensors"}}"#.to_vec(),
        ),
        (
            "an index that climbs",
            "model.safetensors.index.json",
            br#"{"weight_map": {"a": "../model/model.safetensors"}}"#.to_vec(),
        ),
        (
            "an index with an absolute path",
            "model.safetensors.index.json",
            br#"{"weight_map": {"a": "/etc/passwd"}}"#.to_vec(),
        ),
    ];
    let case = |(index, (name, file, content)): (usize, (&'static str, &str, Vec<u8>))| {
        let folder = format!("weights-{index}");
        Case::new(name, with(&folder))
            .file(format!("{folder}/{file}"), content)
            .before("for m in weights-*; do cp -n model/tokenizer.json model/config.json $m; done")
    };
    files
        .into_iter()
        .enumerate()
        .map(case)
        .chain([
            Case::new("truncated weights", with("cut"))
                .before("cp -r model cut; truncate -s 1000000 cut/model.safetensors"),
            Case::new("no weights", with("light")).before("cp -r model light; rm light/model.safetensors"),
            Case::new("a tensor without a place", with("more"))
                .file("more/model.safetensors", with_tensor("transformer.h.0.attn.q_norm.weight"))
                .before("cp -n model/tokenizer.json model/config.json more"),
            Case::new("an adapter's tensor among the weights", with("mixed"))
                .file(
                    "mixed/model.safetensors",
                    with_tensor("base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"),
                )
                .before("cp -n model/tokenizer.json model/config.json mixed"),
            Case::new("weights that are no numbers, evaluated", "evaluate --model nan --data eval.csv")
                .file("nan/model.safetensors", without_numbers())
                .before("cp -n model/tokenizer.json model/config.json nan"),
            Case::new("weights that are no numbers, continued", "generate --model nan --prompt Patient"),
            Case::new("generation_config with an end in words", with("ends"))
                .before("cp -r model ends; echo '{\"eos_token_id\": \"</s>\"}' > ends/generation_config.json"),
        ])
        .collect()
}

/// The model's weights and one tensor more.
fn with_tensor(name: &str) -> Vec<u8> {
    let (header, data) = parts();
    let mut header: Value = serde_json::from_slice(header).unwrap();
    header[name] = json!({"dtype": "F32", "shape": [2], "data_offsets": [data.len(), data.len() + 8]});
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data, &[0; 8]].concat()
}

/// The model's weights, all of them NaN.
fn without_numbers() -> Vec<u8> {
    let (header, data) = parts();
    [&(header.len() as u64).to_le_bytes(), header, &vec![0xff; data.len()]].concat()
}

/// Header and data of the model's safetensors.
fn parts() -> (&'static [u8], &'static [u8]) {
    let bytes = rldp_data::demo::WEIGHTS;
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8..].split_at(length)
}

fn tokenizers() -> Vec<Case> {
    let case = |name, folder: &str, text: &str, before| {
        Case::new(name, with(folder)).file(format!("{folder}/tokenizer.json"), text).before(before)
    };
    vec![
        Case::new("no tokenizer", with("mute")).before("cp -r model mute; rm mute/tokenizer.json"),
        case(
            "a tokenizer that is cut",
            "tokenizer-1",
            "{\"version\": \"1.0\", \"mod",
            "cp -n model/config.json model/model.safetensors tokenizer-1",
        ),
        case(
            "a tokenizer that is nothing",
            "tokenizer-2",
            "{}",
            "cp -n model/config.json model/model.safetensors tokenizer-2",
        ),
        case(
            "a tokenizer of another vocabulary",
            "tokenizer-3",
            r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":{"type":"WordLevel","vocab":{"[UNK]":999999999},"unk_token":"[UNK]"}}"#,
            "cp -n model/config.json model/model.safetensors tokenizer-3",
        ),
    ]
}

fn adapters(scene: &Scene) -> Vec<Case> {
    let with = |folder: &str| format!("evaluate --model model --adapter {folder} --data eval.csv");
    let config: Value = serde_json::from_str(&scene.read("done/adapter/adapter_config.json")).unwrap();
    let changed = |key: &str, value: Value| {
        let mut changed = config.clone();
        changed[key] = value;
        changed.to_string()
    };
    let copy = "for a in adapter-*; do cp -n done/adapter/adapter_model.safetensors $a; done";
    let mut cases: Vec<Case> = [
        ("adapter of rank zero", changed("r", json!(0))),
        ("adapter of a huge rank", changed("r", json!(u64::MAX))),
        ("adapter of another rank", changed("r", json!(3))),
        ("adapter of another kind", changed("peft_type", json!("PROMPT_TUNING"))),
        ("adapter with DoRA", changed("use_dora", json!(true))),
        ("adapter of other modules", changed("target_modules", json!(["q_proj"]))),
        ("adapter without settings", "{".to_owned()),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, (name, text))| {
        let folder = format!("adapter-{index}");
        Case::new(name, with(&folder)).file(format!("{folder}/adapter_config.json"), text).before(copy)
    })
    .collect();
    cases.extend([
        Case::new("adapter that is not there", with("nowhere")),
        Case::new("a model for an adapter", with("model")),
        Case::new("pickled adapter", with("pickled")).file("pickled/adapter_model.bin", "PK").before("cp done/adapter/adapter_config.json pickled"),
        Case::new("truncated adapter", with("short")).before("cp -r done/adapter short; truncate -s 5000 short/adapter_model.safetensors"),
        Case::new("adapter of another model", with("llama")).before(
            "cp -r done/adapter llama; sed 's/transformer\\.h\\./model.layersx./g' llama/adapter_model.safetensors > x; mv x llama/adapter_model.safetensors",
        ),
    ]);
    cases
}
