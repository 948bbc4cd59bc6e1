//! Engines on the emulated device, and random tiny models of every family.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test uses a part of it

use std::path::Path;

use rldp_gpu::{Emulated, GpuEngine, GpuOptions, Precision};
use rldp_model::{
    Adapter, AdapterLayout, Engine, LoraSettings, ModelConfig, ModelFiles, ModelSource, Sequence, UnitInput,
};
use safetensors::{Dtype, tensor::TensorView};

/// Memory of the emulated device.
pub const MEMORY: usize = 1 << 30;

pub fn emulated(files: &ModelFiles, options: GpuOptions) -> GpuEngine {
    GpuEngine::new(Box::new(Emulated::new(MEMORY)), files, options).unwrap()
}

pub fn in_precision(precision: Precision) -> GpuOptions {
    GpuOptions { precision, micro_batch_tokens: Some(320), ..GpuOptions::default() }
}

/// A number between −1 and 1 that looks random.
pub fn noise(i: usize) -> f32 {
    let mixed = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995;
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Configurations that reach every kernel: heads of 64, 80, 128 and 256 features, groups of queries, windows, biases, norms of heads,
/// vocabularies of more than one chunk, depths that fill no tile.
pub const FAMILIES: [(&str, &str); 8] = [
    (
        "gpt2",
        r#"{"model_type": "gpt2", "vocab_size": 300, "n_embd": 80, "n_layer": 2, "n_head": 1, "n_inner": 100, "n_positions": 128,
        "activation_function": "gelu", "layer_norm_epsilon": 1e-5}"#,
    ),
    (
        "llama",
        r#"{"model_type": "llama", "vocab_size": 9001, "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": true, "attention_bias": true, "mlp_bias": true}"#,
    ),
    (
        "mistral",
        r#"{"model_type": "mistral", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 72, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "sliding_window": 37, "tie_word_embeddings": false}"#,
    ),
    (
        "qwen2",
        r#"{"model_type": "qwen2", "vocab_size": 300, "hidden_size": 48, "intermediate_size": 33, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "qwen3",
        r#"{"model_type": "qwen3", "vocab_size": 300, "hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128, "max_position_embeddings": 128, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "gemma",
        r#"{"model_type": "gemma", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 256, "max_position_embeddings": 128, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "hidden_activation": "gelu_pytorch_tanh"}"#,
    ),
    (
        "deep",
        r#"{"model_type": "llama", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 6,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "dynamic",
        r#"{"model_type": "llama", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 50, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}, "hidden_act": "silu",
        "tie_word_embeddings": true}"#,
    ),
];

/// A random model in a folder.
pub fn model(folder: &Path, config: &str, dtype: Dtype) -> ModelFiles {
    let mut next = 0;
    let parsed = ModelConfig::from_json(config).unwrap();
    let entries: Vec<(String, Vec<usize>, Vec<u8>)> = parsed
        .tensors()
        .into_iter()
        .map(|spec| {
            let norm = spec.shape.len() == 1 && spec.name.ends_with("weight") && parsed.norm_offset() == 0.0;
            let scale = if spec.shape.len() == 1 { 0.1 } else { 1.5 / (spec.shape[1] as f32).sqrt() };
            let values = (0..spec.shape.iter().product()).map(|_| {
                next += 1;
                noise(next) * scale + if norm { 1.0 } else { 0.0 }
            });
            let bytes = match dtype {
                Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
                Dtype::F16 => values.flat_map(|value| half::f16::from_f32(value).to_le_bytes()).collect(),
                _ => values.flat_map(|value| half::bf16::from_f32(value).to_le_bytes()).collect(),
            };
            (spec.name, spec.shape, bytes)
        })
        .collect();
    let views =
        entries.iter().map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    fs_err::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    fs_err::write(folder.join("config.json"), config).unwrap();
    ModelSource::open(folder).unwrap()
}

/// A random adapter whose B is not zero, on some maps or all.
pub fn adapter(files: &ModelFiles, rank: usize, targets: Option<&[&str]>) -> Adapter {
    let target_modules = targets.map(|names| names.iter().map(ToString::to_string).collect());
    let settings = LoraSettings { rank, lora_alpha: 2.0 * rank as f64, target_modules };
    let layout = AdapterLayout::for_model(&files.config, &settings).unwrap();
    let parameters = (0..layout.parameter_count()).map(|i| noise(i + 77) * 0.1).collect();
    Adapter::from_parameters(layout, parameters)
}

/// Token ids of texts of these lengths.
pub fn texts(vocab: usize, lengths: &[usize]) -> Vec<Vec<u32>> {
    let text =
        |(i, length): (usize, &usize)| (0..*length).map(|t| ((i * 101 + t) * 7919 % 10_007 % vocab) as u32).collect();
    lengths.iter().enumerate().map(text).collect()
}

pub fn sequence(tokens: &[u32]) -> Sequence<'_> {
    Sequence { tokens, scored_from: 0, skipped: &[], weight: 1.0 / tokens.len().max(1) as f32 }
}

/// One unit a text.
pub fn units(texts: &[Vec<u32>]) -> Vec<UnitInput<'_>> {
    texts.iter().map(|text| UnitInput { sequences: vec![sequence(text)] }).collect()
}

/// Loss and gradient of every unit, in order.
pub fn gradients(engine: &mut dyn Engine, adapter: &Adapter, units: &[UnitInput]) -> Vec<(f64, Vec<f32>)> {
    let mut found = Vec::new();
    engine
        .for_each_unit_gradient(adapter, units, &mut |index, unit| {
            assert_eq!(index, found.len(), "units come in order");
            found.push((unit.loss, unit.gradient.to_vec()));
        })
        .unwrap();
    found
}

/// The numbers' bits.
pub fn bits(found: &[(f64, Vec<f32>)]) -> Vec<(u64, Vec<u32>)> {
    found.iter().map(|(loss, values)| (loss.to_bits(), values.iter().map(|value| value.to_bits()).collect())).collect()
}
