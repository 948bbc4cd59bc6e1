//! Weights on disk: what is found, in which precision, and how damaged or unsafe files are refused.

#![allow(clippy::unwrap_used)] // helpers of tests

mod support;

use half::{bf16, f16};
use rldp_model::{ModelSource, StoredType, Weights};
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
