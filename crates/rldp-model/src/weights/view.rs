//! A view of one stored tensor and its conversion to f32.

use half::{bf16, f16, slice::HalfFloatSliceExt};
use safetensors::Dtype;

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
}

impl StoredType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
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
}

impl<'a> TensorView<'a> {
    /// `bytes` are the elements of `shape`, which the header's check has established.
    pub(crate) fn new(dtype: StoredType, shape: &'a [usize], bytes: &'a [u8]) -> Self {
        debug_assert_eq!(bytes.len(), shape.iter().product::<usize>() * dtype.size());
        Self { dtype, shape, bytes }
    }

    /// Stored precision.
    pub fn dtype(&self) -> StoredType {
        self.dtype
    }

    /// Shape as stored.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// The stored bytes, little-endian.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
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
        let width: usize = self.shape[1..].iter().product();
        assert_eq!(out.len(), width, "the output must be one row");
        self.range_to_f32(row * width, out);
    }

    /// The elements from `start` on, as many as `out` holds, in f32.
    ///
    /// # Panics
    /// When the range is outside the tensor.
    pub fn range_to_f32(&self, start: usize, out: &mut [f32]) {
        let size = self.dtype.size();
        let bytes = &self.bytes[start * size..(start + out.len()) * size];
        match self.dtype {
            StoredType::F32 => copy(bytes, out),
            StoredType::F16 => widen(bytes, out, f16::from_le_bytes),
            StoredType::Bf16 => widen(bytes, out, bf16::from_le_bytes),
        }
    }

    fn in_place<T: bytemuck::Pod>(&self, dtype: StoredType) -> Option<&'a [T]> {
        if self.dtype == dtype { bytemuck::try_cast_slice(self.bytes).ok() } else { None }
    }
}

fn copy(bytes: &[u8], out: &mut [f32]) {
    bytemuck::cast_slice_mut::<f32, u8>(out).copy_from_slice(bytes);
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
