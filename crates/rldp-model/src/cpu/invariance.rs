//! A unit's gradient and loss depend on that unit alone, to the bit: on every kernel, however the work is cut, whoever else is in
//! the batch. Proofs of sensitivity speak of what one unit adds, and take for granted that it moves nobody else.

use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;

use super::{CpuEngine, CpuOptions, worker::Worker};
use crate::{
    Adapter, AdapterLayout, Engine as _, LoraSettings, ModelConfig, ModelFiles, Sequence, UnitInput, Weights,
    kernels::{Level, at_level, bf16, level},
};

const FAMILIES: [&str; 6] = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma"];

/// Which kernels run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Path {
    level: Level,
    kernel: Option<bf16::Kernel>,
}

/// How the work is cut, and what is kept.
#[derive(Clone, Copy, Debug)]
struct Cut {
    micro: usize,
    threads: usize,
    recomputes: bool,
    keeps_tiles: bool,
}

const WHOLE: Cut = Cut { micro: 4096, threads: 1, recomputes: false, keeps_tiles: true };

/// A tiny model with an adapter, and units of one or several sequences.
struct Case {
    name: String,
    files: ModelFiles,
    adapter: Adapter,
    units: Vec<Vec<(Vec<u32>, usize)>>,
}

/// Bits of a unit's loss and gradient.
type Bits = (u64, Vec<u32>);

impl Case {
    fn random(family: &str, seed: u64, units: usize) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let text = config(family, rng);
        let config = ModelConfig::from_json(&text).unwrap();
        let dtype = [Dtype::F32, Dtype::F16, Dtype::BF16][rng.random_range(0..3)];
        let weights = Weights::from_bytes(weights(&config, dtype, rng)).unwrap();
        let rank = [1, 4, 8, 12, 20][rng.random_range(0..5)];
        let settings =
            LoraSettings { rank, lora_alpha: 2.0 * rank as f64, target_modules: Some(vec!["all-linear".into()]) };
        let mut layout = AdapterLayout::for_model(&config, &settings).unwrap();
        if rng.random_ratio(1, 4) {
            layout = layout.with_frozen_a();
        }
        let parameters = (0..layout.parameter_count()).map(|_| rng.random_range(-0.3..0.3)).collect();
        let vocab = config.vocab_size as u32;
        let mut sequence = || {
            let length = if rng.random_ratio(1, 6) { rng.random_range(0..3) } else { rng.random_range(3..45) };
            ((0..length).map(|_| rng.random_range(0..vocab)).collect(), rng.random_range(0..length / 2 + 1))
        };
        let units = (0..units).map(|unit| (0..[1, 3, 1, 2][unit % 4]).map(|_| sequence()).collect()).collect();
        Self {
            name: format!("{family}, seed {seed}, {dtype:?}, rank {rank}: {text}"),
            adapter: Adapter::from_parameters(layout, parameters),
            files: ModelFiles { config, weights, directory: None, embedded: None, left_out: Vec::new() },
            units,
        }
    }

    fn sequences(&self, unit: usize) -> Vec<Sequence<'_>> {
        let sequences = self.units[unit].iter();
        sequences.map(|(tokens, from)| Sequence { tokens, scored_from: *from, skipped: &[], weight: 0.07 }).collect()
    }

    fn engine(&self, path: Path, cut: Cut) -> CpuEngine {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(cut.threads).build().unwrap();
        let options = CpuOptions { micro_batch_tokens: Some(cut.micro), ..CpuOptions::default() };
        let mut engine = pool.install(|| CpuEngine::new(&self.files, options)).unwrap();
        engine.model.recomputes = cut.recomputes;
        engine.model.keeps_tiles = cut.keeps_tiles && path.kernel.is_some();
        engine.workers.iter_mut().for_each(|worker| *worker = Worker::new(path.kernel));
        engine
    }

    /// What some units get, in their order.
    fn gradients(&self, path: Path, cut: Cut, units: &[usize]) -> Vec<Bits> {
        let inputs: Vec<UnitInput> = units.iter().map(|unit| UnitInput { sequences: self.sequences(*unit) }).collect();
        let mut found = Vec::new();
        let mut engine = self.engine(path, cut);
        let mut run = || {
            engine.for_each_unit_gradient(&self.adapter, &inputs, &mut |_, unit| {
                found.push((unit.loss.to_bits(), unit.gradient.iter().map(|g| g.to_bits()).collect()));
            })
        };
        // A forced level holds for this thread, where a single worker runs.
        if cut.threads == 1 { at_level(path.level, run) } else { run() }.unwrap();
        found
    }

    fn losses(&self, path: Path, cut: Cut, units: &[usize]) -> Vec<u64> {
        let sequences: Vec<Sequence> = units.iter().flat_map(|unit| self.sequences(*unit)).collect();
        let mut engine = self.engine(path, cut);
        let losses = at_level(path.level, || engine.losses(Some(&self.adapter), &sequences)).unwrap();
        losses.iter().map(|loss| loss.nll.to_bits()).collect()
    }

    /// Holds every way to compute the same units against the whole batch at once; returns what that gave.
    fn check(&self, path: Path, rng: &mut ChaCha8Rng) -> Vec<Bits> {
        let all: Vec<usize> = (0..self.units.len()).collect();
        let expected = self.gradients(path, WHOLE, &all);
        let holds = |cut: Cut, units: &[usize]| {
            for (unit, (loss, gradient)) in units.iter().zip(self.gradients(path, cut, units)) {
                let differ = gradient.iter().zip(&expected[*unit].1).filter(|(x, y)| x != y).count();
                assert!(
                    differ == 0 && loss == expected[*unit].0,
                    "{differ} numbers of unit {unit} differ with {cut:?} on {path:?} among {units:?}; {}",
                    self.name
                );
            }
        };
        for unit in &all {
            holds(WHOLE, &[*unit]);
        }
        let less_one: Vec<usize> = all.iter().copied().filter(|unit| *unit != all.len() / 2).collect();
        holds(WHOLE, &less_one);
        let mut order = less_one;
        order.shuffle(rng);
        for micro in [1, 23, 64] {
            holds(Cut { micro, ..WHOLE }, &order);
        }
        holds(Cut { recomputes: true, keeps_tiles: false, micro: 100, ..WHOLE }, &order);
        if path.level == level() {
            holds(Cut { threads: 3, micro: 31, ..WHOLE }, &all);
        }
        let losses = self.losses(path, WHOLE, &all);
        let alone: Vec<u64> = all.iter().flat_map(|unit| self.losses(path, WHOLE, &[*unit])).collect();
        assert_eq!(losses, alone, "losses on {path:?}; {}", self.name);
        expected
    }
}

/// Sizes that fit no vector, tile or part of a product evenly.
fn config(family: &str, rng: &mut ChaCha8Rng) -> String {
    let kv_heads = rng.random_range(1..3);
    let (heads, dim) = (kv_heads * rng.random_range(1..3), [4, 8, 10, 16][rng.random_range(0..4)]);
    let vocab = [70, 333, 1100][rng.random_range(0..3)];
    let inner = rng.random_range(20..90);
    let tied = rng.random_ratio(1, 2);
    if family == "gpt2" {
        let size = heads * dim;
        return json!({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": vocab, "n_positions": 64,
            "n_embd": size, "n_inner": inner, "n_layer": 2, "n_head": heads, "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5, "tie_word_embeddings": tied})
        .to_string();
    }
    let hidden = if matches!(family, "qwen2" | "llama") { heads * dim } else { rng.random_range(10..60) };
    let architecture = match family {
        "llama" => "LlamaForCausalLM",
        "mistral" => "MistralForCausalLM",
        "qwen2" => "Qwen2ForCausalLM",
        "qwen3" => "Qwen3ForCausalLM",
        _ => "GemmaForCausalLM",
    };
    let activation = if family == "gemma" { "gelu_pytorch_tanh" } else { "silu" };
    let window = if family == "mistral" { json!(9) } else { json!(null) };
    json!({"model_type": family, "architectures": [architecture], "vocab_size": vocab, "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": 2, "num_attention_heads": heads, "head_dim": dim,
        "num_key_value_heads": kv_heads, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": activation, "sliding_window": window, "tie_word_embeddings": tied || family == "gemma"})
    .to_string()
}

/// A safetensors file of random weights.
fn weights(config: &ModelConfig, dtype: Dtype, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut stored = |count: usize| -> Vec<u8> {
        let values = (0..count).map(|_| rng.random_range(-0.4_f32..0.4));
        match dtype {
            Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Dtype::F16 => values.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
            _ => values.flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect(),
        }
    };
    let tensors: Vec<_> =
        config.tensors().into_iter().map(|spec| (spec.name, stored(spec.shape.iter().product()), spec.shape)).collect();
    let views = tensors
        .iter()
        .map(|(name, bytes, shape)| (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn in_f32_at_every_level() {
    let levels = match level() {
        Level::V4 => vec![Level::V4, Level::V3, Level::Any],
        Level::V3 => vec![Level::V3, Level::Any],
        Level::Any => vec![Level::Any],
    };
    for (seed, family) in FAMILIES.into_iter().cycle().take(12).enumerate() {
        let case = Case::random(family, seed as u64, 7);
        let rng = &mut ChaCha8Rng::seed_from_u64(seed as u64);
        let found: Vec<_> = levels.iter().map(|level| case.check(Path { level: *level, kernel: None }, rng)).collect();
        // Fused and unfused sums differ somewhere, or a level was not really taken.
        if let Some((plain, fused)) = found.split_last() {
            assert!(fused.iter().all(|fused| fused != plain), "a level that is another");
        }
    }
}

#[test]
fn in_bf16_with_every_kernel() {
    for kernel in bf16::kernels() {
        // Emulated tiles are slow.
        let (cases, units) = if kernel == bf16::Kernel::Amx { (3, 4) } else { (12, 7) };
        for (seed, family) in FAMILIES.into_iter().cycle().take(cases).enumerate() {
            let case = Case::random(family, 100 + seed as u64, units);
            let rng = &mut ChaCha8Rng::seed_from_u64(seed as u64);
            case.check(Path { level: level(), kernel: Some(kernel) }, rng);
        }
    }
}
