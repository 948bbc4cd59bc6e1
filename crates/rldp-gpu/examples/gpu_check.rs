//! Checks and measures the GPU engine on one device, without network, Rust or files of the tree but the goldens:
//!
//! `gpu_check goldens DIR | invariance | small | peak | speed SHAPE [--units B] [--tokens T | --lengths FILE] [--rank R] [--repeats N]
//! [--precision f32|bf16]`, each with `--device cuda[:N]|emulated`. `scripts/gpu_check.sh` runs all of it. SHAPE is `toy`, `gpt2-small`,
//! `smollm2-135m`, `llama-1b` or `mistral-7b`; weights are random.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{io::Write as _, path::Path, time::Instant};

use rldp_gpu::{Device, DeviceError, GpuEngine, GpuOptions, Precision, Product, open_card};
use rldp_model::{
    Adapter, AdapterLayout, Engine as _, LoraSettings, ModelConfig, ModelFiles, ModelSource, Sequence, SumRule,
    UnitInput,
};

#[path = "../../rldp-model/tests/common/mod.rs"]
mod common;

const SHAPES: [(&str, &str); 5] = [
    (
        "toy",
        r#"{"model_type": "llama", "vocab_size": 600, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "gpt2-small",
        r#"{"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}"#,
    ),
    (
        "smollm2-135m",
        r#"{"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0, "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "llama-1b",
        r#"{"model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "mistral-7b",
        r#"{"model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "sliding_window": null, "tie_word_embeddings": false}"#,
    ),
];

struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    fn value(&self, name: &str) -> Option<&str> {
        let place = self.words.iter().position(|word| word == name)?;
        self.words.get(place + 1).map(String::as_str)
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.value(name).map_or(default, |value| value.parse().unwrap())
    }

    fn device(&self) -> Result<Box<dyn Device>, DeviceError> {
        let name = self.value("--device").unwrap_or("cuda");
        #[cfg(emulated)]
        if name == "emulated" {
            return Ok(Box::new(rldp_gpu::Emulated::new(4 << 30)));
        }
        open_card(name.strip_prefix("cuda:").map_or(0, |index| index.parse().unwrap()))
    }

    fn precision(&self) -> Precision {
        if self.value("--precision") == Some("f32") { Precision::F32 } else { Precision::Bf16 }
    }

    fn engine(&self, files: &ModelFiles, options: GpuOptions) -> GpuEngine {
        GpuEngine::new(self.device().unwrap_or_else(|error| panic!("{error}")), files, options).unwrap()
    }
}

fn main() {
    let arguments = Arguments { words: std::env::args().skip(1).collect() };
    match arguments.words.first().map(String::as_str) {
        Some("goldens") => goldens(&arguments),
        Some("invariance") => invariance(&arguments),
        Some("small") => small(&arguments),
        Some("peak") => println!("product rate: {:.1} TFLOP/s", peak(&arguments) / 1e12),
        Some("speed") => speed(&arguments),
        _ => panic!("name one of goldens, invariance, small, peak, speed"),
    }
}

/// PyTorch's numbers of every family, in f32; `DIR` replaces the tree's folder.
fn goldens(arguments: &Arguments) {
    let directory = arguments.words.get(1).map(Path::new);
    common::check_all_in(directory, |files| arguments.engine(files, GpuOptions::default()));
    println!("goldens: all families agree with PyTorch");
}

/// Units alone, in a batch, and in other micro-batches: the same bits, and on the device the same sum.
fn invariance(arguments: &Arguments) {
    for (shape, lengths) in [("toy", [5, 100, 1, 64]), ("gpt2-small", [40, 127, 3, 90])] {
        if shape != "toy" && arguments.value("--device") == Some("emulated") {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let files = random_model(folder.path(), shape);
        let adapter = adapter(&files, 8);
        let texts = texts(files.config.vocab_size, &lengths);
        let units = units(&texts);
        for precision in [Precision::F32, Precision::Bf16] {
            let run = |rows, units: &[UnitInput]| {
                let options = GpuOptions { precision, micro_batch_tokens: Some(rows), ..GpuOptions::default() };
                gradients(&mut arguments.engine(&files, options), &adapter, units)
            };
            let together = run(1024, &units);
            assert!(together == run(130, &units), "{shape} in {precision:?}: other micro-batches, other bits");
            for (unit, together) in units.iter().zip(&together) {
                let alone = run(1024, std::slice::from_ref(unit));
                assert!(alone[0] == *together, "{shape} in {precision:?}: a unit alone has other bits");
            }
        }
        println!("invariance: {shape} is the same to the bit, alone and in any batch");
    }
}

/// One step of small shapes through every kernel, for a memory checker.
fn small(arguments: &Arguments) {
    let folder = tempfile::tempdir().unwrap();
    let files = random_model(folder.path(), "toy");
    let adapter = adapter(&files, 8);
    let texts = texts(files.config.vocab_size, &[40, 3, 70]);
    for precision in [Precision::F32, Precision::Bf16] {
        let options = GpuOptions { precision, micro_batch_tokens: Some(128), ..GpuOptions::default() };
        let mut engine = arguments.engine(&files, options);
        engine.summed(&adapter, &units(&texts), &rule(&adapter)).unwrap();
        assert!(engine.is_intact().unwrap(), "something was written beside a buffer");
    }
    println!("small: a step ran in f32 and in bf16");
}

/// Operations per second of a large product in bf16.
fn peak(arguments: &Arguments) -> f64 {
    let device = arguments.device().unwrap_or_else(|error| panic!("{error}"));
    let side = if arguments.value("--device") == Some("emulated") { 128 } else { 8192 };
    let [x, w, out, rounded] = [4, 2, 4, 2].map(|bytes| {
        let region = device.allocate(bytes * side * side).unwrap();
        device.fill(region.span(), 0).unwrap();
        region
    });
    let product = Product {
        shape: [side; 3],
        x: x.span(),
        x_stride: side,
        w: w.span(),
        transposed: true,
        out: out.span(),
        out_stride: side,
        accumulate: false,
        precision: Precision::Bf16,
        rounded: rounded.span(),
    };
    let wait = || device.download(out.span(), &mut [0; 4]).unwrap();
    device.product(&product).unwrap();
    wait();
    let repeats = if side > 1000 { 20 } else { 1 };
    let start = Instant::now();
    (0..repeats).for_each(|_| device.product(&product).unwrap());
    wait();
    (repeats * 2 * side * side * side) as f64 / start.elapsed().as_secs_f64()
}

/// Tokens per second of a private step, and of the passes alone.
fn speed(arguments: &Arguments) {
    let shape = arguments.words[1].as_str();
    let folder = tempfile::tempdir().unwrap();
    let files = random_model(folder.path(), shape);
    let adapter = adapter(&files, arguments.number("--rank", 8));
    let lengths = arguments.value("--lengths").map(|file| fs_err::read_to_string(file).unwrap());
    let lengths: Vec<usize> = match &lengths {
        Some(text) => text.lines().take(arguments.number("--units", 512)).map(|line| line.parse().unwrap()).collect(),
        None => vec![arguments.number("--tokens", 128); arguments.number("--units", 16)],
    };
    let texts = texts(files.config.vocab_size, &lengths);
    let (units, rule, tokens) = (units(&texts), rule(&adapter), lengths.iter().sum::<usize>());
    let before = arguments.device().unwrap().memory().unwrap().free;
    let mut engine = arguments.engine(&files, GpuOptions { precision: arguments.precision(), ..GpuOptions::default() });
    let mut step = |sums: bool| {
        let start = Instant::now();
        if sums {
            engine.summed(&adapter, &units, &rule).unwrap();
        } else {
            engine.discard_gradients(&adapter, &units).unwrap();
        }
        start.elapsed().as_secs_f64()
    };
    step(true);
    let repeats = arguments.number("--repeats", 5);
    let mut times: Vec<[f64; 2]> = (0..repeats).map(|_| [step(true), step(false)]).collect();
    times.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [private, passes] = times[times.len() / 2];
    let used = before.saturating_sub(engine.free_memory().unwrap());
    let work = 3 * 2 * tokens * multiplied(&files.config);
    let share = work as f64 / private / peak(arguments);
    println!(
        "speed {shape}: {} units, {tokens} tokens, rank {}: {:.0} tokens/s (slowest of {repeats}: {:.0}); passes without clip and sum {:.0}; \
         {:.0} % of the product rate; {:.2} GiB",
        units.len(),
        adapter.layout().rank(),
        tokens as f64 / private,
        tokens as f64 / times[times.len() - 1][0],
        tokens as f64 / passes,
        100.0 * share,
        used as f64 / (1_u64 << 30) as f64,
    );
}

/// Elements of all matrices that a token is multiplied with. Forward and backward that is two products each, of which the first
/// block's input needs no gradient; three stand for all.
fn multiplied(config: &ModelConfig) -> usize {
    let maps: usize = config.linears().iter().map(|linear| linear.in_features * linear.out_features).sum();
    (2 * (maps + config.vocab_size * config.hidden_size)).div_ceil(3)
}

/// Pair-wise clipping at 1 on a grid of 2^−32.
fn rule(adapter: &Adapter) -> SumRule {
    let pairs = adapter.layout().pairs();
    SumRule {
        pairs: pairs.iter().map(rldp_model::Pair::range).collect(),
        clip_norms: vec![1.0; pairs.len()],
        pair_wise: true,
        normalizes: false,
        stability: 0.01,
        joint_stability: 0.01,
        room: 1e-9,
        grid: vec![1.0 / 4_294_967_296.0; pairs.len()],
        statistic: None,
    }
}

fn gradients(engine: &mut GpuEngine, adapter: &Adapter, units: &[UnitInput]) -> Vec<Vec<u32>> {
    let mut found = Vec::new();
    let mut visit =
        |_: usize, unit: rldp_model::UnitGradient| found.push(unit.gradient.iter().map(|g| g.to_bits()).collect());
    engine.for_each_unit_gradient(adapter, units, &mut visit).unwrap();
    found
}

/// Numbers between −1 and 1 that look random.
fn noise(i: usize) -> f32 {
    let mixed = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn random_model(folder: &Path, shape: &str) -> ModelFiles {
    let (_, config) = SHAPES.iter().find(|(name, _)| *name == shape).unwrap_or_else(|| panic!("no shape {shape}"));
    let tensors = ModelConfig::from_json(config).unwrap().tensors();
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for spec in &tensors {
        let begin = end;
        end += 2 * spec.shape.iter().product::<usize>();
        let entry = serde_json::json!({"dtype": "BF16", "shape": spec.shape, "data_offsets": [begin, end]});
        header.insert(spec.name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let file = fs_err::File::create(folder.join("model.safetensors")).unwrap();
    let mut file = std::io::BufWriter::with_capacity(8 << 20, file);
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    // A stretch of random numbers, again and again: billions of them one by one would take minutes.
    let stretch: Vec<u8> = (0..1 << 20).flat_map(|i| half::bf16::from_f32(noise(i) * 0.03).to_le_bytes()).collect();
    for spec in &tensors {
        let count: usize = spec.shape.iter().product();
        if spec.shape.len() == 1 {
            let value = half::bf16::from_f32(if spec.name.ends_with("weight") { 1.0 } else { 0.0 });
            (0..count).for_each(|_| file.write_all(&value.to_le_bytes()).unwrap());
            continue;
        }
        let mut left = 2 * count;
        while left > 0 {
            let piece = left.min(stretch.len());
            file.write_all(&stretch[..piece]).unwrap();
            left -= piece;
        }
    }
    file.flush().unwrap();
    fs_err::write(folder.join("config.json"), config).unwrap();
    ModelSource::open(folder).unwrap()
}

fn adapter(files: &ModelFiles, rank: usize) -> Adapter {
    let settings = LoraSettings { rank, lora_alpha: 2.0 * rank as f64, target_modules: None };
    let layout = AdapterLayout::for_model(&files.config, &settings).unwrap();
    let parameters = (0..layout.parameter_count()).map(|i| noise(i + 77) * 0.02).collect();
    Adapter::from_parameters(layout, parameters)
}

fn texts(vocab: usize, lengths: &[usize]) -> Vec<Vec<u32>> {
    let text = |(i, length): (usize, &usize)| {
        (0..*length).map(|t| ((i * 101 + t) * 7919 % 1_000_003 % vocab) as u32).collect()
    };
    lengths.iter().enumerate().map(text).collect()
}

fn units(texts: &[Vec<u32>]) -> Vec<UnitInput<'_>> {
    let sequence = |tokens| Sequence {
        tokens,
        scored_from: 0,
        skipped: &[],
        weight: 1.0 / f32::from(u16::try_from(texts[0].len()).unwrap_or(1)),
    };
    texts.iter().map(|text| UnitInput { sequences: vec![sequence(text.as_slice())] }).collect()
}
