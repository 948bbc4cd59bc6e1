//! GGUF files against the `gguf` package, transformers, and hostile headers.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rldp_model::{
    BlockFormat, Engine as _, ModelFiles, ModelSource, StoredType,
    cpu::{CpuEngine, CpuOptions, Precision},
    gguf,
};
use safetensors::{SafeTensors, tensor::TensorView};

const FORMATS: [(&str, BlockFormat); 8] = [
    ("Q4_0", BlockFormat::Q4_0),
    ("Q4_1", BlockFormat::Q4_1),
    ("Q5_0", BlockFormat::Q5_0),
    ("Q5_1", BlockFormat::Q5_1),
    ("Q8_0", BlockFormat::Q8_0),
    ("Q4_K", BlockFormat::Q4K),
    ("Q5_K", BlockFormat::Q5K),
    ("Q6_K", BlockFormat::Q6K),
];
const MODELS: [&str; 3] = ["llama", "qwen2", "gpt2"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/gguf").join(name)
}

fn open(name: &str) -> ModelFiles {
    ModelSource::open(&fixture(&format!("{name}.gguf"))).unwrap()
}

fn floats(view: &TensorView) -> Vec<f32> {
    view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn blocks_hold_what_the_gguf_package_reads_in_them() {
    let bytes = fs_err::read(fixture("blocks.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (name, format) in FORMATS {
        let (blocks, values) = (format!("{name}.blocks"), format!("{name}.values"));
        let (blocks, values) = (tensors.tensor(&blocks).unwrap(), floats(&tensors.tensor(&values).unwrap()));
        assert_eq!(blocks.shape()[1], format.bytes(), "{name}");
        let mut out = vec![0.0; format.values()];
        let pairs = blocks.data().chunks_exact(format.bytes()).zip(values.chunks_exact(format.values()));
        for (index, (block, values)) in pairs.enumerate() {
            format.dequantize(block, &mut out);
            let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (found, expected) in out.iter().zip(values) {
                assert!((found - expected).abs() <= 1e-6 * largest, "{name}, block {index}: {found} for {expected}");
            }
        }
    }
}

/// Logits of transformers, which unpacks the same file to f32.
#[test]
fn models_compute_what_transformers_computes() {
    for name in MODELS {
        let bytes = fs_err::read(fixture(&format!("{name}.safetensors"))).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let ids = tensors.tensor("tokens").unwrap().data().chunks_exact(8);
        let tokens: Vec<u32> = ids.map(|id| i64::from_le_bytes(id.try_into().unwrap()) as u32).collect();
        let expected = floats(&tensors.tensor("logits").unwrap());
        let scale = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Bf16, 0.05)] {
            let mut engine = CpuEngine::new(&open(name), CpuOptions { precision, ..CpuOptions::default() }).unwrap();
            let found = engine.logits(None, &tokens).unwrap();
            assert_eq!(found.len(), expected.len(), "{name}");
            let error = found.iter().zip(&expected).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(error <= tolerance * scale, "{name} in {precision:?}: logits differ by {error} of {scale}");
        }
    }
}

#[test]
fn weights_stay_quantised_and_any_part_of_a_row_can_be_read() {
    let files = open("llama");
    let query = files.weights.tensor("model.layers.0.self_attn.q_proj.weight").unwrap();
    assert_eq!(query.dtype(), StoredType::Blocks(BlockFormat::Q4K));
    assert!(query.bytes().is_none(), "its rows are read in another order");
    let whole = query.to_f32_vec();
    for (start, length) in [(0, 1), (255, 2), (300, 33), (511, 1), (1000, 700), (256 * 255, 256)] {
        let mut part = vec![0.0; length];
        query.range_to_f32(start, &mut part);
        assert_eq!(part, whole[start..start + length], "{length} from {start}");
    }
}

#[test]
fn a_tokenizer_comes_with_the_file() {
    for name in MODELS {
        let json = open(name).embedded.unwrap().tokenizer.unwrap().unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["model"]["type"], "BPE", "{name}");
        let chat = open(name).embedded.unwrap().chat;
        let eos = chat.map(|chat| chat.eos);
        assert_eq!(eos.as_deref(), (name != "llama").then_some("<|endoftext|>"), "{name}");
    }
}

fn refusal(bytes: Vec<u8>) -> String {
    gguf::from_bytes(bytes).unwrap_err().to_string()
}

#[test]
fn bad_files_are_refused_with_the_reason() {
    let whole = fs_err::read(fixture("gpt2.gguf")).unwrap();
    let mut version = whole.clone();
    version[4] = 1;
    assert!(refusal(version).contains("GGUF version 1 is not supported"));
    let mut many = whole.clone();
    many[8..16].fill(255);
    assert!(refusal(many).contains("the header promises 18446744073709551615 items"));
    assert!(refusal(whole[..whole.len() - 1].to_vec()).contains("does not lie inside the file"));
    let cut = refusal(whole[..1000].to_vec());
    assert!(cut.contains("where") && cut.contains("bytes are left"), "{cut}");
    assert!(refusal(b"PK\x03\x04".to_vec()).contains("does not begin with `GGUF`"));
    let at = whole.windows(9).position(|window| window == b"attn_qkv.").unwrap();
    let mut renamed = whole;
    renamed[at..at + 8].copy_from_slice(b"attn_zzz");
    assert!(refusal(renamed).contains("tensor `blk.0.attn_zzz."));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever a header says, reading it ends without a panic.
    #[test]
    fn damaged_headers_do_no_harm(changes in prop::collection::vec((0_usize..30_000, any::<u8>()), 1..20), cut in 0_usize..400_000) {
        let mut bytes = fs_err::read(fixture("gpt2.gguf")).unwrap();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(cut.max(24));
        let _ = gguf::from_bytes(bytes);
    }
}
