//! Weights on disk: what is found, in which precision, and how damaged or unsafe files are refused.

#![allow(clippy::unwrap_used)] // helpers of tests

mod support;

use half::{bf16, f16};
use rldp_model::{
    ModelSource, StoredType, Weights,
    cpu::{CpuEngine, CpuOptions},
};
use safetensors::Dtype;
use serde_json::json;
use support::{bytes, copy_of, edit_json, entries, write};
use tempfile::TempDir;

/// The error of opening a tampered copy of a golden model.
fn refusal(model: &TempDir) -> String {
    ModelSource::open(model.path()).unwrap_err().to_string()
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn all_three_precisions_convert_exactly() {
    let values = [1.5f32, -0.25, 3.0, 0.0, -65504.0, 2f32.powi(-14)];
    let file = bytes(&[
        ("f32".into(), Dtype::F32, vec![2, 3], values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        ("f16".into(), Dtype::F16, vec![2, 3], values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()),
        (
            "bf16".into(),
            Dtype::BF16,
            vec![2, 3],
            values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        ),
    ]);
    // A leading space in the header moves the data to odd addresses, where slices cannot be borrowed in place.
    let header = u64::from_le_bytes(file[..8].try_into().unwrap());
    let moved = [&(header + 1).to_le_bytes()[..], b" ", &file[8..]].concat();
    for file in [file, moved] {
        let weights = Weights::from_bytes(file).unwrap();
        for (name, dtype) in [("f32", StoredType::F32), ("f16", StoredType::F16), ("bf16", StoredType::Bf16)] {
            let view = weights.tensor(name).unwrap();
            assert_eq!((view.dtype(), view.shape(), view.len()), (dtype, &[2, 3][..], 6));
            let expected: Vec<f32> = match dtype {
                StoredType::Bf16 => values.iter().map(|x| bf16::from_f32(*x).to_f32()).collect(),
                _ => values.to_vec(),
            };
            assert_eq!(view.to_f32_vec(), expected, "{name}");
            let mut row = [0.0; 3];
            view.row_to_f32(1, &mut row);
            assert_eq!(row, expected[3..], "{name}");
        }
    }
}

#[test]
fn tensors_are_borrowed_in_place_in_their_own_type_only() {
    let model = copy_of("llama-tied");
    let weights = ModelSource::open(model.path()).unwrap().weights;
    let view = weights.tensor("model.embed_tokens.weight").unwrap();
    assert_eq!(view.as_f16().unwrap().len(), 64 * 24);
    assert!(view.as_f32().is_none() && view.as_bf16().is_none());
    assert_eq!(view.as_f16().unwrap()[5].to_f32(), view.to_f32_vec()[5]);
}

#[test]
fn embedded_bytes_are_borrowed_in_place_wherever_they_lie() {
    let file = fs_err::read(support::golden("llama-tied").join("model.safetensors")).unwrap();
    let expected = Weights::from_bytes(file.clone()).unwrap().tensor("model.norm.weight").unwrap().to_f32_vec();
    for offset in 0..8 {
        // Leaked, as bytes in the binary are static; of the eight offsets one at most is aligned.
        let moved: &'static [u8] = [&vec![0; offset][..], &file].concat().leak();
        let weights = Weights::from_bytes(&moved[offset..]).unwrap();
        let view = weights.tensor("model.norm.weight").unwrap();
        assert_eq!(view.to_f32_vec(), expected);
        assert!(view.as_f16().is_some(), "offset {offset}");
    }
}

#[test]
fn truncated_and_damaged_files_are_refused() {
    let model = copy_of("llama-tied");
    let path = model.path().join("model.safetensors");
    let whole = fs_err::read(&path).unwrap();
    for length in [0, 7, 8, 100, whole.len() - 1] {
        fs_err::write(&path, &whole[..length]).unwrap();
        assert_says(&refusal(&model), &["model.safetensors", &format!("has {length} bytes"), "truncated or damaged"]);
    }
    let mut broken = whole.clone();
    broken[8] = b'!';
    fs_err::write(&path, &broken).unwrap();
    assert_says(&refusal(&model), &["not a valid safetensors file"]);
    fs_err::write(&path, [u64::MAX.to_le_bytes().to_vec(), vec![b'{'; 64]].concat()).unwrap();
    assert_says(&refusal(&model), &["not a valid safetensors file"]);
    fs_err::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n").unwrap();
    assert_says(&refusal(&model), &["Git LFS pointer", "git lfs pull"]);
}

#[test]
fn missing_misshapen_and_unreadable_tensors_are_named() {
    let model = copy_of("llama-tied");
    let path = model.path().join("model.safetensors");
    let original = entries(&path);
    let position = original.iter().position(|entry| entry.0 == "model.layers.1.mlp.up_proj.weight").unwrap();

    let mut tampered = original.clone();
    tampered[position].2.reverse();
    write(&path, &tampered);
    assert_says(&refusal(&model), &["`model.layers.1.mlp.up_proj.weight`", "stored as [24, 32]", "needs [32, 24]"]);

    tampered[position].2.reverse();
    tampered[position].1 = Dtype::I16;
    write(&path, &tampered);
    assert_says(&refusal(&model), &["`model.layers.1.mlp.up_proj.weight`", "I16", "supported: F32, F16, BF16"]);

    tampered.remove(position);
    write(&path, &tampered);
    assert_says(&refusal(&model), &["no tensor `model.layers.1.mlp.up_proj.weight`"]);
}

#[test]
fn a_head_that_is_tied_and_stored_must_be_the_embedding() {
    let model = copy_of("llama-tied");
    let path = model.path().join("model.safetensors");
    let mut all = entries(&path);
    let mut head = all.iter().find(|entry| entry.0 == "model.embed_tokens.weight").unwrap().clone();
    head.0 = "lm_head.weight".into();
    all.push(head);
    write(&path, &all);
    ModelSource::open(model.path()).unwrap();
    all.last_mut().unwrap().3[0] ^= 1;
    write(&path, &all);
    assert_says(&refusal(&model), &["ties the output head", "tie_word_embeddings"]);
}

/// Renames a tensor in a copy of a golden model.
fn renamed(case: &str, from: &str, to: &str) -> TempDir {
    let model = copy_of(case);
    let path = model.path().join("model.safetensors");
    let mut all = entries(&path);
    all.iter_mut().find(|entry| entry.0 == from).unwrap().0 = to.into();
    write(&path, &all);
    model
}

#[test]
fn a_tied_head_that_is_stored_alone_is_the_embedding() {
    let cases = [
        ("llama-tied", "model.embed_tokens.weight"),
        ("gemma", "model.embed_tokens.weight"),
        ("gpt2-tied", "wte.weight"),
    ];
    for (case, embedding) in cases {
        let expected = ModelSource::open(&support::golden(case)).unwrap();
        let found = ModelSource::open(renamed(case, embedding, "lm_head.weight").path()).unwrap();
        let name = found.config.embedding_name();
        assert_eq!(
            found.weights.tensor(name).unwrap().bytes(),
            expected.weights.tensor(name).unwrap().bytes(),
            "{case}"
        );
        assert!(CpuEngine::new(&found, CpuOptions::default()).is_ok());
    }
    // Without the tie, nobody can say that one stands for the other.
    let untied = renamed("llama-untied", "model.embed_tokens.weight", "embed.weight");
    assert_says(&refusal(&untied), &["no tensor `model.embed_tokens.weight`"]);
}

#[test]
fn stored_tensors_without_a_place_are_refused_or_named() {
    let with = |name: &str| {
        let model = copy_of("llama-tied");
        let path = model.path().join("model.safetensors");
        let mut all = entries(&path);
        all.push((name.into(), Dtype::F32, vec![2], vec![0; 8]));
        write(&path, &all);
        ModelSource::open(model.path()).map(|files| files.left_out).map_err(|error| error.to_string())
    };
    let refused = [
        ("model.layers.0.self_attn.q_proj.bias", "`attention_bias`"),
        ("model.layers.1.self_attn.q_norm.weight", "config.json is of another model"),
        ("model.layers.2.mlp.up_proj.weight", "config.json has 2 layers"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "--adapter"),
        ("model.layers.0.self_attn.q_proj.lora_A.default.weight", "merge"),
        ("lm_head.bias", "left out"),
    ];
    for (name, hint) in refused {
        assert_says(&with(name).unwrap_err(), &[&format!("tensor `{name}` is stored"), "left out", hint]);
    }
    assert_eq!(with("v_head.summary.weight").unwrap(), ["v_head.summary.weight"]);
    assert!(with("model.layers.0.self_attn.rotary_emb.inv_freq").unwrap().is_empty());
}

#[test]
fn a_single_file_goes_before_an_index_that_was_left_behind() {
    let model = copy_of("llama-tied");
    let path = model.path().join("model.safetensors");
    let mut old = entries(&path);
    old.iter_mut().for_each(|entry| entry.3.fill(0));
    write(&model.path().join("model-00001-of-00001.safetensors"), &old);
    let map: serde_json::Map<_, _> =
        old.iter().map(|entry| (entry.0.clone(), json!("model-00001-of-00001.safetensors"))).collect();
    fs_err::write(model.path().join("model.safetensors.index.json"), json!({"weight_map": map}).to_string()).unwrap();
    let weights = ModelSource::open(model.path()).unwrap().weights;
    assert_eq!(weights.files(), [path]);
}

#[test]
fn generation_config_says_where_text_ends() {
    let model = copy_of("llama-tied");
    let ends = |text: Option<serde_json::Value>| {
        let path = model.path().join("generation_config.json");
        match text {
            Some(text) => fs_err::write(&path, text.to_string()).unwrap(),
            None => fs_err::remove_file(&path).unwrap_or_default(),
        }
        ModelSource::open(model.path()).map(|files| files.config.eos_token_ids).map_err(|error| error.to_string())
    };
    assert_eq!(ends(None).unwrap(), [2]);
    assert_eq!(ends(Some(json!({"eos_token_id": [7, 2, 9]}))).unwrap(), [7, 2, 9]);
    assert_eq!(ends(Some(json!({"eos_token_id": 7}))).unwrap(), [7]);
    assert_eq!(ends(Some(json!({"eos_token_id": [7, 4096]}))).unwrap(), [7]);
    assert_eq!(ends(Some(json!({"temperature": 0.6}))).unwrap(), [2]);
    assert_says(
        &ends(Some(json!({"eos_token_id": "</s>"}))).unwrap_err(),
        &["generation_config.json", "`eos_token_id`"],
    );
}

#[test]
fn an_untied_head_that_is_absent_is_not_invented() {
    let model = copy_of("llama-tied");
    edit_json(&model.path().join("config.json"), |config| config["tie_word_embeddings"] = json!(false));
    assert_says(&refusal(&model), &["no tensor `lm_head.weight`", "set `tie_word_embeddings` to true"]);
}

#[test]
fn shards_stay_in_their_directory_and_must_all_be_there() {
    let model = copy_of("mistral");
    let index = model.path().join("model.safetensors.index.json");
    for escape in ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", "a\\b"] {
        let model = copy_of("mistral");
        let index = model.path().join("model.safetensors.index.json");
        edit_json(&index, |index| index["weight_map"]["lm_head.weight"] = json!(escape));
        assert_says(&refusal(&model), &["not a plain file name"]);
    }
    fs_err::remove_file(model.path().join("model-00002-of-00004.safetensors")).unwrap();
    assert_says(&refusal(&model), &["`model-00002-of-00004.safetensors` is listed but absent", "incomplete"]);
    fs_err::copy(
        model.path().join("model-00001-of-00004.safetensors"),
        model.path().join("model-00002-of-00004.safetensors"),
    )
    .unwrap();
    assert_says(&refusal(&model), &["stored in another shard as well"]);
    fs_err::write(&index, "{}").unwrap();
    assert_says(&refusal(&model), &["not a valid index of shards", "weight_map"]);
}

#[test]
fn pickles_are_refused_with_the_way_to_convert() {
    let model = copy_of("llama-tied");
    fs_err::rename(model.path().join("model.safetensors"), model.path().join("pytorch_model.bin")).unwrap();
    assert_says(&refusal(&model), &["pytorch_model.bin", "pickle", "save_pretrained"]);
}

#[test]
fn what_is_not_a_model_directory_is_explained() {
    let model = copy_of("llama-tied");
    let folder = model.path();
    let open = |path: &std::path::Path| ModelSource::open(path).unwrap_err().to_string();
    assert_says(&open(&folder.join("config.json")), &["not a directory"]);
    assert_says(&open(&folder.join("model.gguf")), &["model.gguf", "failed to open"]);
    assert_says(&open(&folder.join("nowhere")), &["no such directory"]);
    assert_says(
        &open("HuggingFaceTB/SmolLM2-135M".as_ref()),
        &["no such directory", "hf download HuggingFaceTB/SmolLM2-135M --local-dir DIR"],
    );
    assert_says(&open(&folder.join("adapter")), &["this is an adapter"]);
    fs_err::remove_file(folder.join("model.safetensors")).unwrap();
    assert_says(&open(folder), &["no `model.safetensors`"]);
    fs_err::write(folder.join("config.json"), "{\"model_type\": \"bert\"}").unwrap();
    assert_says(&open(folder), &["config.json: `model_type` of `bert`", "gpt2, llama, mistral"]);
    fs_err::remove_file(folder.join("config.json")).unwrap();
    assert_says(&open(folder), &["no `config.json`"]);
}
