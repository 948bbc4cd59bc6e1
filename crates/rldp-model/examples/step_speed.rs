//! Tokens per second of a whole step (losses and per-unit gradients) of one model.
//!
//! `step_speed MODEL [--rank R] [--units B] [--tokens T] [--spread S] [--lengths FILE] [--repeats N]
//! [--micro M] [--limit MIB] [--precision f32|bf16]`, where MODEL is a Hugging
//! Face directory or `gpt2-small` or `llama-1b`, which make a model of that shape with random weights, of the latter in bf16,
//! in a temporary folder. Units have T ± S random tokens each, or as many as the
//! first B lines of FILE say.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{io::Write as _, path::Path, time::Instant};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rldp_model::{
    Adapter, AdapterLayout, Engine as _, LoraSettings, ModelConfig, ModelFiles, ModelSource, Sequence, UnitGradient,
    UnitInput, UnitSink, UnitSinks,
    cpu::{CpuEngine, CpuOptions, MemoryLimit, Precision},
};

const GPT2_SMALL: &str = r#"{"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768,
    "n_layer": 12, "n_head": 12, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}"#;

/// The shape of Llama 3.2 1B.
const LLAMA_1B: &str = r#"{"model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": true}"#;

struct Arguments {
    model: String,
    rank: usize,
    units: usize,
    tokens: usize,
    spread: usize,
    lengths: Option<Vec<usize>>,
    repeats: usize,
    micro: Option<usize>,
    /// Memory for the process, in MiB.
    limit: Option<usize>,
    precisions: Vec<Precision>,
}

fn arguments() -> Arguments {
    let mut words = std::env::args().skip(1);
    let model = words.next().expect("name a model directory, or gpt2-small");
    let mut found = Arguments {
        model,
        rank: 8,
        units: 16,
        tokens: 128,
        spread: 0,
        lengths: None,
        repeats: 5,
        micro: None,
        limit: None,
        precisions: vec![Precision::F32, Precision::Bf16],
    };
    while let Some(name) = words.next() {
        if name == "--precision" {
            found.precisions = match words.next().as_deref() {
                Some("f32") => vec![Precision::F32],
                Some("bf16") => vec![Precision::Bf16],
                _ => panic!("--precision takes f32 or bf16"),
            };
            continue;
        }
        if name == "--lengths" {
            let text = fs_err::read_to_string(words.next().expect("--lengths takes a file")).unwrap();
            found.lengths = Some(text.lines().map(|line| line.parse().unwrap()).collect());
            continue;
        }
        let value: usize = words.next().expect("every option takes a number").parse().unwrap();
        match name.as_str() {
            "--rank" => found.rank = value,
            "--units" => found.units = value,
            "--tokens" => found.tokens = value,
            "--spread" => found.spread = value,
            "--repeats" => found.repeats = value,
            "--micro" => found.micro = Some(value),
            "--limit" => found.limit = Some(value),
            other => panic!("unknown option {other}"),
        }
    }
    found
}

/// Writes a model of random weights, in f32 or in bf16.
fn write_random(directory: &Path, config: &str, wide: bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let tensors = ModelConfig::from_json(config).unwrap().tensors();
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for tensor in &tensors {
        let start = end;
        end += if wide { 4 } else { 2 } * tensor.shape.iter().product::<usize>();
        let entry = serde_json::json!({"dtype": if wide { "F32" } else { "BF16" }, "shape": tensor.shape, "data_offsets": [start, end]});
        header.insert(tensor.name.clone(), entry);
    }
    let mut text = serde_json::Value::Object(header).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(64) - text.len()));
    fs_err::write(directory.join("config.json"), config).unwrap();
    let mut file = std::io::BufWriter::new(fs_err::File::create(directory.join("model.safetensors")).unwrap());
    file.write_all(&(text.len() as u64).to_le_bytes()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    for tensor in &tensors {
        let gain = if (tensor.name.contains("ln_") || tensor.name.contains("norm")) && tensor.name.ends_with("weight") {
            1.0
        } else {
            0.0
        };
        for _ in 0..tensor.shape.iter().product::<usize>() {
            let value: f32 = gain + rng.random_range(-0.035..0.035);
            // The upper half of an f32 is a bf16.
            file.write_all(&value.to_le_bytes()[if wide { 0 } else { 2 }..]).unwrap();
        }
    }
}

/// Largest resident memory of this process so far, in MB.
fn peak_memory() -> f64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0 / 1e6
}

/// Processor time of all threads so far, in seconds; Linux counts it in hundredths.
fn processor_seconds() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() {
    let arguments = arguments();
    let folder = tempfile::tempdir().unwrap();
    let made = match arguments.model.as_str() {
        "gpt2-small" => Some((GPT2_SMALL, true)),
        "llama-1b" => Some((LLAMA_1B, false)),
        _ => None,
    };
    if let Some((config, wide)) = made {
        write_random(folder.path(), config, wide);
    }
    let files = ModelSource::open(if made.is_some() { folder.path() } else { Path::new(&arguments.model) }).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let settings = LoraSettings { rank: arguments.rank, lora_alpha: 16.0, target_modules: None };
    let layout = AdapterLayout::for_model(&files.config, &settings).unwrap();
    let parameters = (0..layout.parameter_count()).map(|_| rng.random_range(-0.02..0.02)).collect();
    let adapter = Adapter::from_parameters(layout, parameters);
    let texts: Vec<Vec<u32>> = (0..arguments.units)
        .map(|unit| {
            let drawn = rng.random_range(arguments.tokens - arguments.spread..=arguments.tokens + arguments.spread);
            let length = arguments.lengths.as_ref().map_or(drawn, |lengths| lengths[unit]);
            (0..length).map(|_| rng.random_range(0..files.config.vocab_size as u32)).collect()
        })
        .collect();
    let units: Vec<UnitInput> = texts
        .iter()
        .map(|tokens| UnitInput { sequences: vec![Sequence { tokens, scored_from: 0, skipped: &[], weight: 0.01 }] })
        .collect();
    let tokens: usize = texts.iter().map(Vec::len).sum();
    let memory_limit = arguments.limit.map(|mib| MemoryLimit {
        bytes: mib << 20,
        adapter_parameters: adapter.layout().parameter_count(),
        past_bytes: 0,
        longest: texts.iter().map(Vec::len).max().unwrap_or(0),
    });
    let options = |precision| CpuOptions { micro_batch_tokens: arguments.micro, memory_limit, precision };
    let mut runs: Vec<Run> =
        arguments.precisions.iter().map(|precision| Run::new(&files, options(*precision))).collect();
    // In turns, so that what else the machine does troubles all alike. The first turn also reads the file.
    for turn in 0..=arguments.repeats {
        for run in &mut runs {
            let (start, used) = (Instant::now(), processor_seconds());
            run.engine.unit_gradients(&adapter, &units, &Sums(adapter.layout().parameter_count())).unwrap();
            if turn > 0 {
                run.seconds.push(start.elapsed().as_secs_f64());
                run.processor.push(processor_seconds() - used);
            }
        }
    }
    for run in &mut runs {
        report(run.precision, units.len(), tokens, &mut run.seconds, &mut run.processor);
    }
}

/// Adds up the units of each worker, of P numbers.
struct Sums(usize);

impl UnitSinks for Sums {
    fn fork(&self) -> Box<dyn UnitSink + '_> {
        Box::new(Sum(vec![0.0; self.0]))
    }
}

struct Sum(Vec<f32>);

impl UnitSink for Sum {
    fn add(&mut self, _unit: usize, unit: UnitGradient) {
        self.0.iter_mut().zip(unit.gradient).for_each(|(sum, g)| *sum += g);
    }
}

/// One precision's engine and times.
struct Run {
    precision: Precision,
    engine: CpuEngine,
    seconds: Vec<f64>,
    processor: Vec<f64>,
}

impl Run {
    fn new(files: &ModelFiles, options: CpuOptions) -> Self {
        let engine = CpuEngine::new(files, options).unwrap();
        Self { precision: options.precision, engine, seconds: Vec::new(), processor: Vec::new() }
    }
}

fn report(precision: Precision, units: usize, tokens: usize, seconds: &mut [f64], processor: &mut [f64]) {
    seconds.sort_by(f64::total_cmp);
    processor.sort_by(f64::total_cmp);
    let (median, used) = (seconds[seconds.len() / 2], processor[processor.len() / 2]);
    println!(
        "{}: {tokens} tokens in {median:.3} s ({:.3} to {:.3}), {:.0} tokens/s, {:.2} records/s; processor time {used:.3} s ({:.3} to {:.3}), \
         {:.0} tokens/s on two free cores; peak memory {:.0} MB",
        precision.description(),
        seconds[0],
        seconds[seconds.len() - 1],
        tokens as f64 / median,
        units as f64 / median,
        processor[0],
        processor[processor.len() - 1],
        2.0 * tokens as f64 / used,
        peak_memory()
    );
}
