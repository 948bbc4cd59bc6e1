//! What the engine needs of a device. Two things are one: a CUDA card, and its emulation in tests.

use crate::{DeviceError, Precision};

/// A piece of a device's memory. Only an arena makes one, and the engine keeps arenas for as long as it
/// launches anything on their pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    address: u64,
    bytes: usize,
}

impl Span {
    /// Nothing: a null pointer for kernels.
    pub(crate) const NONE: Self = Self { address: 0, bytes: 0 };

    #[cfg(any(feature = "cuda", feature = "emulator"))]
    pub(crate) fn new(address: u64, bytes: usize) -> Self {
        Self { address, bytes }
    }

    /// Where it begins, as the device counts.
    pub fn address(self) -> u64 {
        self.address
    }

    /// Its size.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// `bytes` bytes from byte `first` on.
    ///
    /// # Panics
    /// When they lie outside.
    pub(crate) fn part(self, first: usize, bytes: usize) -> Self {
        assert!(first <= self.bytes && bytes <= self.bytes - first, "{bytes} bytes from {first} of {}", self.bytes);
        Self { address: self.address + first as u64, bytes }
    }

    /// All from float `first` on.
    pub(crate) fn floats_from(self, first: usize) -> Self {
        self.part(4 * first, self.bytes.saturating_sub(4 * first))
    }

    /// The same memory, checked to hold `count` values of `size` bytes.
    pub(crate) fn holding(self, count: usize, size: usize) -> Self {
        assert!(self.bytes >= count * size, "{count} values of {size} bytes in {} bytes", self.bytes);
        self
    }
}

/// Memory that is given back when this is dropped.
pub trait Region: Send {
    /// All of it.
    fn span(&self) -> Span;
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A pointer.
    At(Span),
    /// 32 bits.
    Int(i32),
    /// 64 bits.
    Long(i64),
    /// 32 bits.
    Float(f32),
    /// 64 bits.
    Double(f64),
}

impl Argument {
    /// The value in the low bytes of a word, as kernels read it from memory.
    #[cfg_attr(not(any(feature = "cuda", emulated)), expect(dead_code, reason = "this build has no device"))]
    pub(crate) fn bits(&self) -> u64 {
        match *self {
            Self::At(span) => span.address(),
            Self::Int(value) => u64::from(value.cast_unsigned()),
            Self::Long(value) => value.cast_unsigned(),
            Self::Float(value) => u64::from(value.to_bits()),
            Self::Double(value) => value.to_bits(),
        }
    }
}

/// Bytes of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// What nobody uses.
    pub free: usize,
    /// All of it.
    pub total: usize,
}

/// out (m, n) = x (m, k) · w, or += with `accumulate`. `w` is stored (n, k) when `transposed`, else (k, n), in the precision's type.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Rows, columns and depth.
    pub shape: [usize; 3],
    /// f32, rows `x_stride` floats apart.
    pub x: Span,
    /// See `x`.
    pub x_stride: usize,
    /// The matrix.
    pub w: Span,
    /// How it is stored.
    pub transposed: bool,
    /// f32, rows `out_stride` floats apart.
    pub out: Span,
    /// See `out`.
    pub out_stride: usize,
    /// Whether it is added to what is there.
    pub accumulate: bool,
    /// Type of the operands: f32, or bf16 with x rounded.
    pub precision: Precision,
    /// Room for x in bf16.
    pub rounded: Span,
}

/// A device. What is asked of it is done in the order in which it is asked for.
pub trait Device: Send {
    /// Its name, for people.
    fn name(&self) -> &str;

    /// Its memory now.
    fn memory(&self) -> Result<DeviceMemory, DeviceError>;

    /// New memory of any content.
    fn allocate(&self, bytes: usize) -> Result<Box<dyn Region>, DeviceError>;

    /// Copies to the device.
    fn upload(&self, to: Span, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies from the device, when all that was asked of it is done.
    fn download(&self, from: Span, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Copies within the device; `to` has the size of `from`.
    fn copy(&self, from: Span, to: Span) -> Result<(), DeviceError>;

    /// Sets every byte.
    fn fill(&self, span: Span, byte: u8) -> Result<(), DeviceError>;

    /// Runs a kernel of `cuda/kernels.cu` in blocks of `threads` threads.
    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument],
    ) -> Result<(), DeviceError>;

    /// A product with a matrix; each row's result is independent of the other rows, to the bit.
    fn product(&self, product: &Product) -> Result<(), DeviceError> {
        own_product(self, product)
    }
}

/// A product by the kernels of this crate.
pub(crate) fn own_product<D: Device + ?Sized>(device: &D, product: &Product) -> Result<(), DeviceError> {
    let Product { shape: [m, n, k], x, x_stride, w, transposed, out, out_stride, accumulate, precision, .. } = *product;
    let kernel = if precision == Precision::Bf16 { "product_bf16" } else { "product_f32" };
    let arguments = [
        Argument::At(x),
        Argument::Long(x_stride as i64),
        Argument::At(w),
        Argument::At(out),
        Argument::Long(out_stride as i64),
        Argument::Int(m as i32),
        Argument::Int(n as i32),
        Argument::Int(k as i32),
        Argument::Int(i32::from(transposed)),
        Argument::Int(i32::from(accumulate)),
    ];
    device.launch(kernel, [n.div_ceil(64), m.div_ceil(64), 1], 128, &arguments)
}
