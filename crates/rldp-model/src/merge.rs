//! Adds an adapter to its base model: `W + (lora_alpha / R) · B A` for every adapted map.

use std::{borrow::Cow, cell::Cell, collections::HashMap, path::Path};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, View};

use crate::{Adapter, ModelError, ModelFiles, StoredType};

/// Files beside the weights that make a directory a model; they are copied when they are there.
const COMPANIONS: [&str; 11] = [
    "model.safetensors.index.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];
const CONFIG: &str = "config.json";

/// Writes the merged model into `out`, an absent or empty directory.
///
/// ```no_run
/// # use std::path::Path;
/// use rldp_model::{ModelSource, merge, peft};
///
/// # fn main() -> Result<(), rldp_model::ModelError> {
/// let files = ModelSource::open(Path::new("model"))?;
/// let adapter = peft::load(Path::new("run/adapter"), &files.config)?;
/// merge(&files, &adapter, Path::new("merged"))?;
/// # Ok(())
/// # }
/// ```
///
/// Every tensor keeps its name, shape and shard. Changed ones are computed in f32 and rounded to the type they had; those of
/// a GGUF file become f16 unless they are plain floats. `config.json` comes last, so that a half-written directory is no model.
///
/// # Errors
/// When `out` is not empty, a file cannot be written, or a merged weight is too large for its type.
pub fn merge(files: &ModelFiles, adapter: &Adapter, out: &Path) -> Result<(), ModelError> {
    let refuse = |reason: String| ModelError::Source { path: out.to_owned(), reason };
    if out.exists() && (!out.is_dir() || fs_err::read_dir(out)?.next().is_some()) {
        return Err(refuse("is not an empty directory; choose another --out".into()));
    }
    fs_err::create_dir_all(out)?;
    let changes = Changes { files, adapter, overflow: Cell::new(false) };
    if let Some(embedded) = &files.embedded {
        write(changes.of_gguf()?, &out.join("model.safetensors"))?;
        changes.check()?;
        if let Ok(Some(tokenizer)) = &embedded.tokenizer {
            fs_err::write(out.join("tokenizer.json"), tokenizer)?;
        }
        if let Some(chat) = &embedded.chat {
            fs_err::write(out.join("chat_template.jinja"), &chat.template)?;
            let tokens = serde_json::json!({"bos_token": chat.bos, "eos_token": chat.eos});
            fs_err::write(out.join("tokenizer_config.json"), tokens.to_string())?;
        }
        copy_companions(files, out)?;
        fs_err::write(out.join(CONFIG), &embedded.config)?;
        return Ok(());
    }
    for (path, bytes) in files.weights.shards() {
        let name = path.and_then(Path::file_name).unwrap_or("model.safetensors".as_ref());
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| refuse(error.to_string()))?;
        write(changes.of_shard(&tensors), &out.join(name))?;
        changes.check()?;
    }
    copy_companions(files, out)?;
    if let Some(directory) = &files.directory {
        fs_err::copy(directory.join(CONFIG), out.join(CONFIG))?;
    }
    Ok(())
}

fn copy_companions(files: &ModelFiles, out: &Path) -> Result<(), ModelError> {
    let Some(directory) = &files.directory else { return Ok(()) };
    for name in COMPANIONS {
        // An index goes along with the shards it lists.
        let index = name.ends_with("index.json");
        let sharded = files.embedded.is_none() && !directory.join("model.safetensors").exists();
        if directory.join(name).exists() && (sharded || !index) {
            fs_err::copy(directory.join(name), out.join(name))?;
        }
    }
    Ok(())
}

fn write(tensors: Vec<(String, Tensor<'_>)>, path: &Path) -> Result<(), ModelError> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(tensors, Some(metadata), path)
        .map_err(|error| ModelError::Weights { path: path.to_owned(), reason: format!("cannot be written: {error}") })
}

/// What is merged.
struct Changes<'a> {
    files: &'a ModelFiles,
    adapter: &'a Adapter,
    /// Whether a weight did not fit its type.
    overflow: Cell<bool>,
}

/// A tensor to write; a changed one is computed when its turn comes, so that memory holds one at a time.
enum Tensor<'a> {
    Same(safetensors::tensor::TensorView<'a>),
    Made { changes: &'a Changes<'a>, name: String, shape: Vec<usize>, dtype: Dtype, pair: Option<usize> },
}

impl<'a> Changes<'a> {
    /// Pairs by the full name of the weight they change.
    fn pairs(&self) -> HashMap<String, usize> {
        let pairs = self.adapter.layout().pairs().iter().enumerate();
        pairs.map(|(index, pair)| (format!("{}.weight", pair.linear.name), index)).collect()
    }

    fn of_shard(&'a self, tensors: &SafeTensors<'a>) -> Vec<(String, Tensor<'a>)> {
        let pairs: HashMap<&str, (String, usize)> = self
            .pairs()
            .into_iter()
            .filter_map(|(full, index)| Some((self.files.weights.stored_name(&full)?, (full, index))))
            .collect();
        let tensor = |(name, view): (String, safetensors::tensor::TensorView<'a>)| {
            let made = match pairs.get(name.as_str()) {
                None => Tensor::Same(view),
                Some((full, pair)) => Tensor::Made {
                    changes: self,
                    name: full.clone(),
                    shape: view.shape().to_vec(),
                    dtype: view.dtype(),
                    pair: Some(*pair),
                },
            };
            (name, made)
        };
        tensors.tensors().into_iter().map(tensor).collect()
    }

    fn of_gguf(&'a self) -> Result<Vec<(String, Tensor<'a>)>, ModelError> {
        let pairs = self.pairs();
        let tensor = |spec: crate::config::TensorSpec| {
            let dtype = match self.files.weights.tensor(&spec.name)?.dtype() {
                StoredType::F32 => Dtype::F32,
                StoredType::Bf16 => Dtype::BF16,
                StoredType::F16 | StoredType::Blocks(_) => Dtype::F16,
            };
            let pair = pairs.get(&spec.name).copied();
            let made = Tensor::Made { changes: self, name: spec.name.clone(), shape: spec.shape, dtype, pair };
            Ok((spec.name, made))
        };
        self.files.config.tensors().into_iter().map(tensor).collect()
    }

    /// The merged values in the order of the written tensor.
    fn values(&self, name: &str, pair: Option<usize>) -> Vec<f32> {
        let Ok(view) = self.files.weights.tensor(name) else { return Vec::new() };
        let mut values = view.to_f32_vec();
        if self.reversed(name) {
            values = transposed(&values, view.shape()[1]);
        }
        let Some(index) = pair else { return values };
        let (layout, a, b) = (self.adapter.layout(), self.adapter.a(index), self.adapter.b(index));
        let linear = &layout.pairs()[index].linear;
        let (rank, scaling, fan_in) = (layout.rank(), layout.scaling(), linear.in_features);
        let mut update = vec![0.0; fan_in];
        for (row, b) in b.chunks_exact(rank).enumerate() {
            update.fill(0.0);
            for (b, a) in b.iter().zip(a.chunks_exact(fan_in)) {
                update.iter_mut().zip(a).for_each(|(sum, a)| *sum += scaling * b * a);
            }
            for (column, update) in update.iter().enumerate() {
                let at = if linear.transposed { column * linear.out_features + row } else { row * fan_in + column };
                values[at] += update;
            }
        }
        values
    }

    /// Whether a map is stored the other way round than safetensors have it.
    fn reversed(&self, name: &str) -> bool {
        let linears = self.files.config.linears();
        let linear = linears.iter().find(|linear| name.strip_suffix(".weight") == Some(linear.name.as_str()));
        linear.is_some_and(|linear| linear.transposed && !self.files.weights.stores_transposed(linear))
    }

    fn check(&self) -> Result<(), ModelError> {
        if !self.overflow.get() {
            return Ok(());
        }
        let reason =
            "a merged weight is too large for the type it is stored in; merge into an f32 or bf16 copy of the base";
        Err(ModelError::Adapter { path: "merged weights".into(), reason: reason.into() })
    }
}

fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect()
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Same(view) => view.dtype(),
            Self::Made { dtype, .. } => *dtype,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Same(view) => view.shape(),
            Self::Made { shape, .. } => shape,
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Same(view) => Cow::Borrowed(view.data()),
            Self::Made { changes, name, dtype, pair, .. } => {
                let values = changes.values(name, *pair);
                let rounded: Vec<u8> = match dtype {
                    Dtype::F16 => values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
                    Dtype::BF16 => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
                    _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
                };
                let limit = if *dtype == Dtype::F16 { f32::from(f16::MAX) } else { f32::MAX };
                if values.iter().any(|x| !x.is_finite() || x.abs() > limit) {
                    changes.overflow.set(true);
                }
                Cow::Owned(rounded)
            }
        }
    }

    fn data_len(&self) -> usize {
        let size = if self.dtype() == Dtype::F32 { 4 } else { 2 };
        match self {
            Self::Same(view) => view.data().len(),
            Self::Made { shape, .. } => shape.iter().product::<usize>() * size,
        }
    }
}
