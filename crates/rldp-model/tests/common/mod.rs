//! The goldens of `testdata/goldens` and the checks that every engine has to pass on them.
//!
//! An engine's test calls [`check_all`] with a function that makes the engine of a model.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test uses a part of it

use std::path::{Path, PathBuf};

use rldp_model::{Adapter, Engine, ModelFiles, ModelSource, Sequence, UnitInput, peft};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// Layout of `golden.safetensors` that this harness reads; the generator's `FORMAT`.
const FORMAT: &str = "1";
const REGENERATE: &str = "regenerate with: python crates/rldp-model/testdata/goldens/generate.py";

/// The cases, by directory.
pub const CASES: [&str; 12] = [
    "gpt2-tied",
    "gpt2-untied",
    "llama-untied",
    "llama-tied",
    "llama-multihead",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "rope-yarn",
    "rope-dynamic",
    "rope-long",
];

/// Largest ‖g − g*‖ / ‖g*‖ of one tensor's gradient of one sequence.
const GRADIENT_TOLERANCE: f64 = 1e-4;
/// Largest absolute difference of a logit, where none is large, and elsewhere.
const LOGIT_TOLERANCE: [f32; 2] = [2e-4, 1e-3];
/// Largest relative difference of a sum of NLL.
const LOSS_TOLERANCE: f64 = 1e-5;

/// One golden case: a model, an adapter, and what PyTorch computed.
pub struct Golden {
    /// Name of the case.
    pub name: String,
    /// The base model.
    pub files: ModelFiles,
    /// The adapter, B not zero.
    pub adapter: Adapter,
    /// Tokens of each sequence.
    pub tokens: Vec<Vec<u32>>,
    /// First scored position of each sequence.
    pub scored_from: Vec<usize>,
    /// Sum of NLL over scored tokens with the adapter.
    pub nll: Vec<f32>,
    /// The same without the adapter.
    pub base_nll: Vec<f32>,
    /// Logits of each sequence with the adapter, (T, V).
    pub logits: Vec<Vec<f32>>,
    /// Gradient of each sequence's mean NLL, flat (P) in the adapter's layout.
    pub gradients: Vec<Vec<f32>>,
}

impl Golden {
    /// Reads one case.
    pub fn load(name: &str) -> Self {
        Self::load_from(&directory(), name)
    }

    /// Reads one case of a copy of the goldens.
    pub fn load_from(goldens: &Path, name: &str) -> Self {
        let directory = goldens.join(name);
        let path = directory.join("golden.safetensors");
        let bytes = fs_err::read(&path).unwrap_or_else(|error| panic!("{error}; {REGENERATE}"));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap_or_else(|error| panic!("{error}; {REGENERATE}"));
        let format = metadata.metadata().as_ref().and_then(|map| map.get("format").cloned());
        assert_eq!(format.as_deref(), Some(FORMAT), "{} is stale; {REGENERATE}", path.display());
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let files = ModelSource::open(&directory).unwrap();
        let adapter = peft::load(&directory.join("adapter"), &files.config).unwrap();
        let scored_from: Vec<usize> = integers(&tensors, "scored_from").iter().map(|x| *x as usize).collect();
        let rows = 0..scored_from.len();
        Self {
            name: name.to_owned(),
            tokens: rows.clone().map(|i| integers(&tensors, &format!("tokens.{i}"))).collect(),
            nll: floats(&tensors, "nll"),
            base_nll: floats(&tensors, "base_nll"),
            logits: rows.clone().map(|i| floats(&tensors, &format!("logits.{i}"))).collect(),
            gradients: gradients(&tensors, &adapter, rows.len()),
            files,
            adapter,
            scored_from,
        }
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Sequence `i`; a weight of 1 / (scored tokens) gives the golden gradient.
    pub fn sequence(&self, i: usize, weight: f32) -> Sequence<'_> {
        Sequence { tokens: &self.tokens[i], scored_from: self.scored_from[i], skipped: &[], weight }
    }

    /// 1 / (scored tokens), or 1 where nothing is scored.
    pub fn mean_weight(&self, i: usize) -> f32 {
        1.0 / self.sequence(i, 1.0).scored_tokens().max(1) as f32
    }

    /// Weighted sum of golden gradients and of mean losses over the given sequences.
    fn unit(&self, parts: &[(usize, f32)]) -> (f64, Vec<f32>) {
        let mut gradient = vec![0.0; self.adapter.layout().parameter_count()];
        let mut loss = 0.0;
        for &(i, factor) in parts {
            loss += f64::from(factor * self.mean_weight(i)) * f64::from(self.nll[i]);
            for (sum, value) in gradient.iter_mut().zip(&self.gradients[i]) {
                *sum += factor * value;
            }
        }
        (loss, gradient)
    }
}

/// Runs every check on every case.
pub fn check_all<E: Engine>(make: impl FnMut(&ModelFiles) -> E) {
    check_all_in(None, make);
}

/// The same with a copy of the goldens, on a machine without this tree.
pub fn check_all_in<E: Engine>(goldens: Option<&Path>, mut make: impl FnMut(&ModelFiles) -> E) {
    for name in CASES {
        let golden = Golden::load_from(goldens.unwrap_or(&directory()), name);
        let mut engine = make(&golden.files);
        check_losses(&golden, &mut engine);
        check_logits(&golden, &mut engine);
        check_unit_gradients(&golden, &mut engine);
        check_skipped(&golden, &mut engine);
    }
}

/// Losses with and without the adapter.
pub fn check_losses(golden: &Golden, engine: &mut dyn Engine) {
    let sequences: Vec<Sequence> = (0..golden.len()).map(|i| golden.sequence(i, 1.0)).collect();
    for (adapter, expected) in [(Some(&golden.adapter), &golden.nll), (None, &golden.base_nll)] {
        let losses = engine.losses(adapter, &sequences).unwrap();
        assert_eq!(losses.len(), sequences.len(), "{}: one loss a sequence", golden.name);
        for (i, (loss, expected)) in losses.iter().zip(expected).enumerate() {
            assert_eq!(loss.tokens, sequences[i].scored_tokens(), "{}: scored tokens of sequence {i}", golden.name);
            assert_loss(loss.nll, f64::from(*expected), &format!("{}: loss of sequence {i}", golden.name));
        }
    }
}

/// Logits of every position with the adapter.
pub fn check_logits(golden: &Golden, engine: &mut dyn Engine) {
    for (i, expected) in golden.logits.iter().enumerate() {
        let logits = engine.logits(Some(&golden.adapter), &golden.tokens[i]).unwrap();
        assert_eq!(logits.len(), expected.len(), "{}: logits of sequence {i}", golden.name);
        let difference = logits.iter().zip(expected).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        let large = expected.iter().any(|logit| logit.abs() > 10.0);
        let tolerance = LOGIT_TOLERANCE[usize::from(large)];
        assert!(difference < tolerance, "{}: logits of sequence {i} differ by {difference}", golden.name);
    }
}

/// Gradients of one unit per sequence, of a unit of several weighted sequences, and of a unit of none.
pub fn check_unit_gradients(golden: &Golden, engine: &mut dyn Engine) {
    let mut units: Vec<Vec<(usize, f32)>> = (0..golden.len()).map(|i| vec![(i, 1.0)]).collect();
    units.insert(2, vec![(5, 0.25), (0, 1.0), (3, 2.0), (6, 0.5)]);
    units.push(Vec::new());
    let inputs: Vec<UnitInput> = units
        .iter()
        .map(|parts| UnitInput {
            sequences: parts.iter().map(|&(i, factor)| golden.sequence(i, factor * golden.mean_weight(i))).collect(),
        })
        .collect();
    let mut next = 0;
    engine
        .for_each_unit_gradient(&golden.adapter, &inputs, &mut |index, unit| {
            assert_eq!(index, next, "{}: units arrive in order", golden.name);
            next += 1;
            let (loss, gradient) = golden.unit(&units[index]);
            assert_loss(unit.loss, loss, &format!("{}: loss of unit {index}", golden.name));
            assert_gradient(golden, index, unit.gradient, &gradient);
        })
        .unwrap();
    assert_eq!(next, units.len(), "{}: every unit arrives", golden.name);
}

/// A sequence with a gap counts as the whole, less what begins at the gap, and what begins behind it again.
pub fn check_skipped(golden: &Golden, engine: &mut dyn Engine) {
    for i in (0..golden.len()).filter(|i| golden.sequence(*i, 1.0).scored_tokens() >= 5) {
        let whole = golden.sequence(i, 0.5);
        let gap = whole.scored_from.max(1) + 1..whole.tokens.len() - 2;
        let from = |scored_from| Sequence { scored_from, ..whole };
        let gaps = [gap.clone()];
        let skipping = Sequence { skipped: &gaps, ..whole };
        assert_eq!(skipping.scored_tokens(), 3, "{}: scored tokens of sequence {i} with a gap", golden.name);
        let units = [whole, from(gap.start), from(gap.end), skipping].map(|one| UnitInput { sequences: vec![one] });
        let mut found = Vec::new();
        engine
            .for_each_unit_gradient(&golden.adapter, &units, &mut |_, unit| {
                found.push((unit.loss, unit.gradient.to_vec()));
            })
            .unwrap();
        let losses = engine.losses(Some(&golden.adapter), &[skipping]).unwrap();
        let expected = found[0].0 - found[1].0 + found[2].0;
        let what = format!("{}: loss of sequence {i} with a gap", golden.name);
        assert!((found[3].0 - expected).abs() <= 1e-5 * found[0].0, "{what}: {} for {expected}", found[3].0);
        assert!((0.5 * losses[0].nll - expected).abs() <= 1e-5 * found[0].0 && losses[0].tokens == 3, "{what}");
        let sum: Vec<f32> = (0..found[0].1.len()).map(|p| found[0].1[p] - found[1].1[p] + found[2].1[p]).collect();
        let error = relative_error(&found[3].1, &sum);
        assert!(error < 1e-4, "{what}: gradients differ by {error:e}");
    }
}

/// Relative error of each pair's A and B on its own.
fn assert_gradient(golden: &Golden, unit: usize, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{}: gradient of unit {unit}", golden.name);
    for pair in golden.adapter.layout().pairs() {
        for (half, range) in [("A", pair.a.clone()), ("B", pair.b.clone())] {
            let error = relative_error(&found[range.clone()], &expected[range]);
            assert!(
                error < GRADIENT_TOLERANCE,
                "{}: unit {unit}, {half} of {}: relative error {error:e}",
                golden.name,
                pair.linear.name
            );
        }
    }
}

fn assert_loss(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= LOSS_TOLERANCE * expected.abs(), "{what} is {found}, golden {expected}");
}

/// ‖x − y‖ / ‖y‖; where y is zero, x must be exactly zero.
pub fn relative_error(x: &[f32], y: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut x.iter().zip(y).map(|(x, y)| f64::from(*x) - f64::from(*y)));
    if difference == 0.0 { 0.0 } else { difference / norm(&mut y.iter().map(|y| f64::from(*y))) }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rldp-model/testdata/goldens")
}

/// Collects the per-tensor gradients (N, …) into one flat vector a sequence.
fn gradients(tensors: &SafeTensors, adapter: &Adapter, sequences: usize) -> Vec<Vec<f32>> {
    let mut flat = vec![vec![0.0; adapter.layout().parameter_count()]; sequences];
    for pair in adapter.layout().pairs() {
        let (a, b) = peft::tensor_names(pair);
        for (name, range) in [(a, &pair.a), (b, &pair.b)] {
            let all = floats(tensors, &name);
            assert_eq!(all.len(), sequences * range.len(), "{name}; {REGENERATE}");
            for (flat, gradient) in flat.iter_mut().zip(all.chunks_exact(range.len())) {
                flat[range.clone()].copy_from_slice(gradient);
            }
        }
    }
    flat
}

fn tensor<'a>(tensors: &'a SafeTensors, name: &str, dtype: Dtype) -> TensorView<'a> {
    let view = tensors.tensor(name).unwrap_or_else(|error| panic!("{error}; {REGENERATE}"));
    assert_eq!(view.dtype(), dtype, "{name}; {REGENERATE}");
    view
}

fn floats(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let view = tensor(tensors, name, Dtype::F32);
    view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn integers(tensors: &SafeTensors, name: &str) -> Vec<u32> {
    let view = tensor(tensors, name, Dtype::I64);
    view.data().chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as u32).collect()
}
