//! The base model on the device: matrices as they are stored where that is small, vectors in f32.

use std::borrow::Cow;

use rldp_model::{BlockFormat, Family, LinearSpec, ModelConfig, ModelFiles, StoredType, TensorView, Weights};

use crate::{
    DeviceError, GpuError, Precision,
    arena::{Arena, padded},
    device::{Device, Span},
    ops::Ops,
};

/// Bytes that are copied to the device at once when a tensor changes its type on the way.
const STAGED: usize = 32 << 20;

/// A matrix (rows, width) on the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub(crate) at: Span,
    pub(crate) format: StoredType,
    pub(crate) rows: usize,
    pub(crate) width: usize,
}

/// A frozen linear map.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) spec: LinearSpec,
    pub(crate) weight: Matrix,
    /// Whether it is stored as (in, out).
    pub(crate) transposed: bool,
    pub(crate) bias: Option<Span>,
}

/// Weight, and bias for LayerNorm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Span,
    pub(crate) bias: Option<Span>,
}

/// A block's maps in the order of the forward pass, and its norms.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) linears: Vec<Linear>,
    pub(crate) norms: [Norm; 2],
    pub(crate) head_norms: Option<[Norm; 2]>,
}

/// The model.
pub(crate) struct GpuModel {
    pub(crate) config: ModelConfig,
    pub(crate) blocks: Vec<Block>,
    pub(crate) final_norm: Norm,
    pub(crate) embedding: Matrix,
    pub(crate) learned: Option<Matrix>,
    /// The output head as products take it, and as it is stored.
    pub(crate) head: Matrix,
    pub(crate) exact_head: Matrix,
    pub(crate) precision: Precision,
    /// Owns what the spans point to.
    arena: Arena,
}

/// The kernels' number of a format.
pub(crate) fn format_number(format: StoredType) -> i32 {
    match format {
        StoredType::F32 => 0,
        StoredType::F16 => 1,
        StoredType::Bf16 => 2,
        StoredType::Blocks(BlockFormat::Q4_0) => 3,
        StoredType::Blocks(BlockFormat::Q4_1) => 4,
        StoredType::Blocks(BlockFormat::Q5_0) => 5,
        StoredType::Blocks(BlockFormat::Q5_1) => 6,
        StoredType::Blocks(BlockFormat::Q8_0) => 7,
        StoredType::Blocks(BlockFormat::Q4K) => 8,
        StoredType::Blocks(BlockFormat::Q5K) => 9,
        StoredType::Blocks(BlockFormat::Q6K) => 10,
    }
}

/// The type of a product's operand.
pub(crate) fn operand(precision: Precision) -> StoredType {
    if precision == Precision::Bf16 { StoredType::Bf16 } else { StoredType::F32 }
}

/// The type in which a matrix stays on the device: in bf16, what is stored in more bits or as many is rounded once.
fn kept(stored: StoredType, precision: Precision) -> StoredType {
    match (stored, precision) {
        (StoredType::F32 | StoredType::F16, Precision::Bf16) => StoredType::Bf16,
        _ => stored,
    }
}

impl Matrix {
    /// Bytes of some elements from a multiple of a block on.
    fn bytes(format: StoredType, elements: usize) -> usize {
        elements / format.piece() * format.piece_bytes()
    }

    /// Some of its rows.
    pub(crate) fn range(self, first: usize, rows: usize) -> Self {
        let bytes = |rows| Self::bytes(self.format, rows * self.width);
        Self { at: self.at.part(bytes(first), bytes(rows)), rows, ..self }
    }

    /// Its type's number and place, for kernels that read elements.
    pub(crate) fn stored(self) -> (Span, i32) {
        (self.at, format_number(self.format))
    }
}

/// The matrices by name, each with whether it may be rounded on the way to the device. Tables of embeddings are read as they are
/// stored, and of the head also the target's row, whose rounding would not average out.
fn matrices(config: &ModelConfig) -> Vec<(String, bool)> {
    let mut found = vec![(config.embedding_name().to_owned(), false)];
    found.extend(config.position_name().map(|name| (name.to_owned(), false)));
    found.extend(config.linears().iter().map(|linear| (format!("{}.weight", linear.name), true)));
    if !config.tie_word_embeddings {
        found.push((config.head_name().to_owned(), false));
    }
    found
}

impl GpuModel {
    /// Copies the model to the device, straight from the mapped files.
    pub(crate) fn new(device: &dyn Device, files: &ModelFiles, precision: Precision) -> Result<Self, GpuError> {
        let (config, weights) = (files.config.clone(), &files.weights);
        weights.check(&config)?;
        let needed = needed_bytes(&config, weights, precision)?;
        let stage = staged_bytes(&config, weights, precision)?;
        let staging = padded(stage);
        let free = device.memory()?.free;
        if free < needed + staging {
            let (name, what) = (device.name().to_owned(), "the model");
            return Err(DeviceError::TooLittleMemory { name, what, free, needed: needed + staging }.into());
        }
        let mut staged = Arena::new(device, staging)?;
        let stage = staged.take(stage);
        let mut loader = Loader { device, weights, precision, arena: Arena::new(device, needed)?, stage };
        let blocks = (0..config.layers).map(|layer| loader.block(&config, layer)).collect::<Result<_, _>>()?;
        let final_norm = loader.norm(&config, config.final_norm())?;
        let embedding = loader.matrix(config.embedding_name(), false)?;
        let learned = config.position_name().map(|name| loader.matrix(name, false)).transpose()?;
        let exact_head =
            if config.tie_word_embeddings { embedding } else { loader.matrix(config.head_name(), false)? };
        let rounds = kept(exact_head.format, precision) != exact_head.format;
        let head = if rounds { loader.matrix(config.head_name(), true)? } else { exact_head };
        let arena = loader.arena;
        Ok(Self { config, blocks, final_norm, embedding, learned, head, exact_head, precision, arena })
    }

    /// Whether nothing wrote beside the model's tensors.
    pub(crate) fn is_intact(&self, device: &dyn Device) -> Result<bool, DeviceError> {
        self.arena.is_intact(device)
    }
}

/// Bytes through which matrices pass that change their type on the way.
fn staged_bytes(config: &ModelConfig, weights: &Weights, precision: Precision) -> Result<usize, GpuError> {
    let mut most = 0;
    for (name, _) in matrices(config) {
        let view = weights.tensor(&name)?;
        if kept(view.dtype(), precision) != view.dtype() {
            most = most.max(view.stored_bytes().min(STAGED.max(view.stored_bytes() / view.shape()[0])));
        }
    }
    Ok(most)
}

/// Bytes of all tensors on the device.
fn needed_bytes(config: &ModelConfig, weights: &Weights, precision: Precision) -> Result<usize, GpuError> {
    let mut bytes = 0;
    let mut count = |name: &str, rounds: bool| {
        let view = weights.tensor(name)?;
        let format = if rounds { kept(view.dtype(), precision) } else { view.dtype() };
        bytes += padded(Matrix::bytes(format, view.len()));
        Ok::<_, GpuError>(format != kept(view.dtype(), precision))
    };
    for (name, rounds) in matrices(config) {
        let again = count(&name, rounds)?;
        if again && name == config.head_name() {
            count(&name, true)?;
        }
    }
    let matrices = matrices(config);
    for tensor in config.tensors().iter().filter(|tensor| matrices.iter().all(|(name, _)| *name != tensor.name)) {
        bytes += padded(4 * tensor.shape.iter().product::<usize>());
    }
    Ok(bytes)
}

struct Loader<'a> {
    device: &'a dyn Device,
    weights: &'a Weights,
    precision: Precision,
    arena: Arena,
    stage: Span,
}

impl Loader<'_> {
    fn block(&mut self, config: &ModelConfig, layer: usize) -> Result<Block, GpuError> {
        let [first, second] = config.block_norms(layer);
        let norms = [self.norm(config, &first)?, self.norm(config, &second)?];
        let head_norms = match config.head_norms(layer) {
            Some([query, key]) => Some([self.norm(config, &query)?, self.norm(config, &key)?]),
            None => None,
        };
        let linears = config.block_linears(layer).into_iter().map(|spec| self.linear(spec));
        Ok(Block { linears: linears.collect::<Result<_, _>>()?, norms, head_norms })
    }

    fn linear(&mut self, spec: LinearSpec) -> Result<Linear, GpuError> {
        let bias = if spec.bias { Some(self.vector(&format!("{}.bias", spec.name), 0.0)?) } else { None };
        let weight = self.matrix(&format!("{}.weight", spec.name), true)?;
        Ok(Linear { weight, transposed: self.weights.stores_transposed(&spec), bias, spec })
    }

    fn norm(&mut self, config: &ModelConfig, module: &str) -> Result<Norm, GpuError> {
        let weight = self.vector(&format!("{module}.weight"), config.norm_offset())?;
        let centred = config.family == Family::Gpt2;
        let bias = if centred { Some(self.vector(&format!("{module}.bias"), 0.0)?) } else { None };
        Ok(Norm { weight, bias })
    }

    /// A vector in f32, `offset` added to it.
    fn vector(&mut self, name: &str, offset: f32) -> Result<Span, GpuError> {
        let mut values = self.weights.tensor(name)?.to_f32_vec();
        values.iter_mut().for_each(|value| *value += offset);
        let span = self.arena.words(values.len());
        self.device.upload(span, bytemuck::cast_slice(&values))?;
        Ok(span)
    }

    /// A matrix as it is stored, or as [`kept`] says when it may be rounded.
    fn matrix(&mut self, name: &str, rounds: bool) -> Result<Matrix, GpuError> {
        let weights = self.weights;
        let view = weights.tensor(name)?;
        let (rows, width) = (view.shape()[0], view.shape()[1]);
        let format = if rounds { kept(view.dtype(), self.precision) } else { view.dtype() };
        let at = self.arena.take(Matrix::bytes(format, view.len()));
        let matrix = Matrix { at, format, rows, width };
        let row_bytes = Matrix::bytes(view.dtype(), width);
        let at_once = (STAGED / row_bytes).clamp(1, rows);
        for first in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - first);
            let bytes = stored_rows(&view, first, count, row_bytes);
            let to = matrix.range(first, count).at;
            if format == view.dtype() {
                self.device.upload(to, &bytes)?;
            } else {
                let stage = self.stage.part(0, bytes.len());
                self.device.upload(stage, &bytes)?;
                let number = format_number(view.dtype());
                Ops(self.device).unpack_bf16(stage, number, (0, count * width), to)?;
            }
        }
        Ok(matrix)
    }
}

/// The bytes of some rows: in place, or gathered where the file has them in another order.
fn stored_rows<'a>(view: &TensorView<'a>, first: usize, count: usize, row_bytes: usize) -> Cow<'a, [u8]> {
    match view.bytes() {
        Some(bytes) => Cow::Borrowed(&bytes[first * row_bytes..(first + count) * row_bytes]),
        None => Cow::Owned((first..first + count).flat_map(|row| view.row_bytes(row)).copied().collect()),
    }
}
