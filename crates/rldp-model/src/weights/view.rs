//! A stored tensor and its elements in f32.

use std::ops::Range;

use half::{bf16, f16, slice::HalfFloatSliceExt};
use safetensors::Dtype;

use super::blocks::{BlockFormat, LONGEST};

#[cfg(target_endian = "big")]
compile_error!("safetensors are little-endian; big-endian machines are not supported");

/// Precision in which a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredType {
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// Brain float: the upper half of a single.
    Bf16,
    /// Blocks of small integers, as GGUF stores them.
    Blocks(BlockFormat),
}

impl StoredType {
    /// Elements of the smallest piece that can be read by itself: 1, or those of a block.
    pub fn piece(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Blocks(format) => format.values(),
        }
    }

    /// Bytes of such a piece.
    pub fn piece_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Blocks(format) => format.bytes(),
        }
    }

    pub(super) fn from_safetensors(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }
}

/// One tensor, row-major, in its stored precision.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    dtype: StoredType,
    shape: &'a [usize],
    bytes: &'a [u8],
    interleaved: Option<usize>,
}

impl<'a> TensorView<'a> {
    /// `bytes` are the elements of `shape`, which the header's check has established.
    pub(crate) fn new(dtype: StoredType, shape: &'a [usize], bytes: &'a [u8]) -> Self {
        debug_assert_eq!(bytes.len(), shape.iter().product::<usize>() / dtype.piece() * dtype.piece_bytes());
        Self { dtype, shape, bytes, interleaved: None }
    }

    /// The rows of each head of `head_dim` are stored as (D / 2, 2) and read as (2, D / 2): GGUF's Llama keeps the two
    /// features that a rotation turns next to each other, Hugging Face half a head apart.
    pub(crate) fn interleaved(self, head_dim: usize) -> Self {
        Self { interleaved: Some(head_dim), ..self }
    }

    /// Stored precision.
    pub fn dtype(&self) -> StoredType {
        self.dtype
    }

    /// Shape as stored.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// The stored bytes, little-endian; `None` when the rows are stored in another order than they are read.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        self.interleaved.is_none().then_some(self.bytes)
    }

    /// The stored bytes of row `row` along the first axis, in the order in which rows are read.
    ///
    /// # Panics
    /// When the row is outside the tensor, or rows are no whole number of blocks.
    pub fn row_bytes(&self, row: usize) -> &'a [u8] {
        let (width, piece) = (self.width(), self.dtype.piece());
        assert!(width.is_multiple_of(piece), "rows of {width} elements are no whole blocks of {piece}");
        let bytes = width / piece * self.dtype.piece_bytes();
        let stored = self.interleaved.map_or(row, |head_dim| interleaved_row(row, head_dim));
        &self.bytes[stored * bytes..][..bytes]
    }

    /// Bytes that the tensor takes as it is stored.
    pub fn stored_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.piece_bytes() * self.dtype.piece()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements in place, when they are stored as f32 on an aligned address.
    pub fn as_f32(&self) -> Option<&'a [f32]> {
        self.in_place(StoredType::F32)
    }

    /// The elements in place, when they are stored as f16 on an aligned address.
    pub fn as_f16(&self) -> Option<&'a [f16]> {
        self.in_place(StoredType::F16)
    }

    /// The elements in place, when they are stored as bf16 on an aligned address.
    pub fn as_bf16(&self) -> Option<&'a [bf16]> {
        self.in_place(StoredType::Bf16)
    }

    /// All elements in f32.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.range_to_f32(0, &mut out);
        out
    }

    /// Row `row` along the first axis, flattened, in f32.
    ///
    /// # Panics
    /// When `out` is not one row long or the row is outside the tensor.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.width(), "the output must be one row");
        self.range_to_f32(row * out.len(), out);
    }

    /// The elements from `start` on, as many as `out` holds, in f32.
    ///
    /// # Panics
    /// When the range is outside the tensor.
    pub fn range_to_f32(&self, start: usize, out: &mut [f32]) {
        let Some(head_dim) = self.interleaved else { return self.stored_range(start, out) };
        let width = self.width();
        let (mut at, mut out) = (start, out);
        while !out.is_empty() {
            let (row, column) = (at / width, at % width);
            let (part, rest) = out.split_at_mut((width - column).min(out.len()));
            self.stored_range(interleaved_row(row, head_dim) * width + column, part);
            at += part.len();
            out = rest;
        }
    }

    /// Elements of one row along the first axis.
    fn width(&self) -> usize {
        self.shape[1..].iter().product()
    }

    fn stored_range(&self, start: usize, out: &mut [f32]) {
        let end = start + out.len();
        let plain = |size: usize| &self.bytes[start * size..end * size];
        match self.dtype {
            StoredType::F32 => copy(plain(4), out),
            StoredType::F16 => widen(plain(2), out, f16::from_le_bytes),
            StoredType::Bf16 => widen(plain(2), out, bf16::from_le_bytes),
            StoredType::Blocks(format) => unpack(format, self.bytes, start..end, out),
        }
    }

    fn in_place<T: bytemuck::Pod>(&self, dtype: StoredType) -> Option<&'a [T]> {
        if self.dtype == dtype { bytemuck::try_cast_slice(self.bytes()?).ok() } else { None }
    }
}

/// Where row `row` of heads of `head_dim` rows is stored.
fn interleaved_row(row: usize, head_dim: usize) -> usize {
    let (head, feature) = (row / head_dim, row % head_dim);
    let (side, pair) = (feature / (head_dim / 2), feature % (head_dim / 2));
    head * head_dim + 2 * pair + side
}

fn copy(bytes: &[u8], out: &mut [f32]) {
    bytemuck::cast_slice_mut::<f32, u8>(out).copy_from_slice(bytes);
}

/// Whole blocks in place, and the wanted part of a block at either end.
fn unpack(format: BlockFormat, bytes: &[u8], range: Range<usize>, out: &mut [f32]) {
    let length = format.values();
    let (mut at, mut out) = (range.start, out);
    while at < range.end {
        let (index, from) = (at / length, at % length);
        let block = &bytes[index * format.bytes()..][..format.bytes()];
        let (part, rest) = out.split_at_mut((length - from).min(range.end - at));
        if part.len() == length {
            format.dequantize(block, part);
        } else {
            let mut whole = [0.0; LONGEST];
            format.dequantize(block, &mut whole);
            part.copy_from_slice(&whole[from..from + part.len()]);
        }
        at += part.len();
        out = rest;
    }
}

/// Vectorised where the bytes are aligned, element by element where an odd header length put them elsewhere.
fn widen<T>(bytes: &[u8], out: &mut [f32], read: impl Fn([u8; 2]) -> T)
where
    T: bytemuck::Pod + Into<f32>,
    [T]: HalfFloatSliceExt,
{
    if let Ok(halves) = bytemuck::try_cast_slice::<u8, T>(bytes) {
        halves.convert_to_f32_slice(out);
        return;
    }
    for (pair, out) in bytes.chunks_exact(2).zip(out) {
        *out = read([pair[0], pair[1]]).into();
    }
}
