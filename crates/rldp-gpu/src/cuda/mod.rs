//! CUDA cards, through the driver that is opened when one is asked for.
//!
//! cudarc panics where a library is missing, so each is asked for first. All work of a card goes to its default stream, in order.

mod blas;

use std::{
    collections::HashMap,
    ffi::{CString, c_void},
    io::Read as _,
    sync::{Mutex, PoisonError},
};

use cudarc::driver::{
    DriverError,
    result::{self, ctx, device, module, primary_ctx},
    sys,
};

use self::blas::Blas;
use crate::{
    DeviceError,
    cards::Card,
    device::{Argument, Device, DeviceMemory, Product, Region, Span, own_product},
};

/// The kernels in PTX for compute capability 8.0, which the driver compiles for any later card. Made by `cargo xtask kernels`.
const KERNELS: &[u8] = include_bytes!("../../cuda/kernels.ptx.gz");

/// Rows with which a library's products are tried.
const TRIED: usize = 512;

/// A card in use.
pub(crate) struct Cuda {
    name: String,
    context: Context,
    module: sys::CUmodule,
    functions: Mutex<HashMap<&'static str, sys::CUfunction>>,
    blas: Option<Blas>,
}

// SAFETY: the driver's handles may be used from any thread; each call makes the card's context the thread's own first.
unsafe impl Send for Cuda {}

/// A card's primary context.
struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was retained once. A failure leaves nothing to do.
        let _ = unsafe { primary_ctx::release(self.device) };
    }
}

/// What the driver lists.
pub(crate) fn cards() -> Result<Vec<Card>, DeviceError> {
    // SAFETY: opening the driver's library runs its initialisers, as every CUDA program does.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::NoDriver);
    }
    let fails = |error: DriverError| match error.0 {
        sys::CUresult::CUDA_ERROR_NO_DEVICE => DeviceError::NoSuchCard { asked: 0, found: 0 },
        _ => DeviceError::DriverFails { reason: reason(error) },
    };
    result::init().map_err(fails)?;
    let count = device::get_count().map_err(fails)?;
    (0..count).map(|index| card(index).map_err(fails)).collect()
}

fn card(index: i32) -> Result<Card, DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let handle = device::get(index)?;
    // SAFETY: the handle is the driver's own.
    let (memory, major, minor) = unsafe {
        (device::total_mem(handle)?, device::get_attribute(handle, MAJOR)?, device::get_attribute(handle, MINOR)?)
    };
    let capability = (major as u32, minor as u32);
    Ok(Card { index: index as usize, name: device::get_name(handle)?, memory, capability })
}

fn reason(error: DriverError) -> String {
    match error.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("error {:?}", error.0),
    }
}

impl Cuda {
    /// Opens a card, and compiles the kernels for it.
    pub(crate) fn new(card: &Card) -> Result<Self, DeviceError> {
        let name = format!("card {} ({})", card.index, card.name);
        let fails = |error: DriverError| DeviceError::DriverFails { reason: reason(error) };
        let device = device::get(card.index as i32).map_err(fails)?;
        // SAFETY: the handle is the driver's own.
        let context = Context { device, context: unsafe { primary_ctx::retain(device) }.map_err(fails)? };
        // SAFETY: the context was just retained.
        unsafe { ctx::set_current(context.context) }.map_err(fails)?;
        let module = load(&kernels()?)?;
        let blas =
            Blas::new().map_err(|reason| DeviceError::Failed { name: name.clone(), what: "cuBLASLt", reason })?;
        Ok(Self { name, context, module, functions: Mutex::default(), blas })
    }

    fn here(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is retained as long as `self` lives.
        unsafe { ctx::set_current(self.context.context) }.map_err(|error| self.failed("its context", error))
    }

    fn failed(&self, what: &'static str, error: DriverError) -> DeviceError {
        DeviceError::Failed { name: self.name.clone(), what, reason: reason(error) }
    }

    fn multiply(&self, blas: &Blas, product: &Product) -> Result<(), DeviceError> {
        let failed = |reason| DeviceError::Failed { name: self.name.clone(), what: "a product", reason };
        blas.product(product).map_err(failed)
    }

    /// Tries whether the library gives rows the same bits alone, in few and in many, with the product's own matrix, and remembers it.
    fn try_rows(&self, blas: &Blas, product: &Product) -> Result<bool, DeviceError> {
        let ([_, n, k], stride) = (product.shape, product.out_stride);
        // Numbers of bf16 whose sign and fraction look random.
        let number = |i: usize| {
            let mixed = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            (mixed as u16 & 0x81ff) | 0x3e00
        };
        let values: Vec<u16> = (0..TRIED * k).map(number).collect();
        let (x, out) = (self.allocate(2 * TRIED * k)?, self.allocate(4 * TRIED * stride)?);
        self.upload(x.span(), bytemuck::cast_slice(&values))?;
        let rows_of = |first: usize, rows: usize| -> Result<Vec<u32>, DeviceError> {
            let rounded = x.span().part(2 * first * k, 2 * rows * k);
            let part = Product { shape: [rows, n, k], rounded, out: out.span(), accumulate: false, ..*product };
            self.multiply(blas, &part)?;
            let mut found = vec![0_u32; rows * stride];
            self.download(out.span(), bytemuck::cast_slice_mut(&mut found))?;
            Ok(found.chunks_exact(stride).flat_map(|row| &row[..n]).copied().collect())
        };
        let whole = rows_of(0, TRIED)?;
        let mut independent = true;
        for (first, rows) in [(0, 1), (TRIED / 2, 1), (TRIED - 1, 1), (3, 17), (0, 130)] {
            independent &= rows_of(first, rows)? == whole[first * n..(first + rows) * n];
        }
        blas.judge(product, independent);
        Ok(independent)
    }

    fn function(&self, kernel: &'static str) -> Result<sys::CUfunction, DeviceError> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(kernel) {
            return Ok(*function);
        }
        let name = CString::new(kernel).unwrap_or_default();
        // SAFETY: the module is loaded as long as `self` lives.
        let found = unsafe { module::get_function(self.module, name) }.map_err(|error| self.failed(kernel, error))?;
        functions.insert(kernel, found);
        Ok(found)
    }
}

/// The kernels' text, with the zero that the driver expects.
fn kernels() -> Result<Vec<u8>, DeviceError> {
    let mut text = Vec::new();
    let unpacked = flate2::read::GzDecoder::new(KERNELS).read_to_end(&mut text);
    unpacked.map_err(|error| DeviceError::Kernels { reason: error.to_string() })?;
    text.push(0);
    Ok(text)
}

fn load(kernels: &[u8]) -> Result<sys::CUmodule, DeviceError> {
    // SAFETY: the text ends in a zero, and the driver copies what it needs.
    let loaded = unsafe { module::load_data(kernels.as_ptr().cast()) };
    loaded.map_err(|error| DeviceError::Kernels { reason: reason(error) })
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.here().is_ok() {
            self.blas = None;
            // SAFETY: no kernel of it runs: memory was freed before, which waits for them. A failure leaves nothing to do.
            let _ = unsafe { module::unload(self.module) };
        }
    }
}

struct CardMemory {
    span: Span,
    context: sys::CUcontext,
}

// SAFETY: as of `Cuda`.
unsafe impl Send for CardMemory {}

impl Region for CardMemory {
    fn span(&self) -> Span {
        self.span
    }
}

impl Drop for CardMemory {
    fn drop(&mut self) {
        // SAFETY: the engine drops memory before the card, so the context lives; the address was allocated once.
        unsafe {
            if ctx::set_current(self.context).is_ok() {
                let _ = result::free_sync(self.span.address());
            }
        }
    }
}

impl Device for Cuda {
    fn name(&self) -> &str {
        &self.name
    }

    fn memory(&self) -> Result<DeviceMemory, DeviceError> {
        self.here()?;
        let (free, total) = result::mem_get_info().map_err(|error| self.failed("its memory", error))?;
        Ok(DeviceMemory { free, total })
    }

    fn allocate(&self, bytes: usize) -> Result<Box<dyn Region>, DeviceError> {
        self.here()?;
        // SAFETY: arenas fill what they allocate.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::OutOfMemory { name: self.name.clone(), bytes },
            _ => self.failed("an allocation", error),
        })?;
        Ok(Box::new(CardMemory { span: Span::new(address, bytes), context: self.context.context }))
    }

    fn upload(&self, to: Span, bytes: &[u8]) -> Result<(), DeviceError> {
        self.here()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let to = to.part(0, bytes.len());
        // SAFETY: the span is as large, and the copy is done when the call returns.
        unsafe { result::memcpy_htod_sync(to.address(), bytes) }.map_err(|error| self.failed("a copy to it", error))
    }

    fn download(&self, from: Span, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.here()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let from = from.part(0, bytes.len());
        // SAFETY: as above.
        unsafe { result::memcpy_dtoh_sync(bytes, from.address()) }.map_err(|error| self.failed("a copy from it", error))
    }

    fn copy(&self, from: Span, to: Span) -> Result<(), DeviceError> {
        self.here()?;
        if from.bytes() == 0 {
            return Ok(());
        }
        let to = to.part(0, from.bytes());
        // SAFETY: pieces of arenas, which do not overlap.
        let copied =
            unsafe { result::memcpy_dtod_async(to.address(), from.address(), from.bytes(), std::ptr::null_mut()) };
        copied.map_err(|error| self.failed("a copy", error))
    }

    fn fill(&self, span: Span, byte: u8) -> Result<(), DeviceError> {
        self.here()?;
        if span.bytes() == 0 {
            return Ok(());
        }
        // SAFETY: a span lies inside an allocation.
        let filled = unsafe { result::memset_d8_async(span.address(), byte, span.bytes(), std::ptr::null_mut()) };
        filled.map_err(|error| self.failed("a fill", error))
    }

    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        self.here()?;
        let function = self.function(kernel)?;
        let mut values: Vec<u64> = arguments.iter().map(Argument::bits).collect();
        let mut places: Vec<*mut c_void> = values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let [x, y, z] = grid.map(|size| size as u32);
        // SAFETY: the driver reads as many arguments as the kernel has, each of at most 8 bytes, little-endian; callers pass spans as
        // large as the kernel's sizes say.
        let launched = unsafe {
            result::launch_kernel(function, (x, y, z), (threads as u32, 1, 1), 0, std::ptr::null_mut(), &mut places)
        };
        launched.map_err(|error| self.failed(kernel, error))
    }

    fn product(&self, product: &Product) -> Result<(), DeviceError> {
        let Some(blas) = self.blas.as_ref().filter(|_| Blas::takes(product)) else { return own_product(self, product) };
        let independent = match blas.verdict(product) {
            Some(known) => known,
            None => self.try_rows(blas, product)?,
        };
        if !independent {
            return own_product(self, product);
        }
        let [m, _, k] = product.shape;
        let arguments = [
            Argument::At(product.x),
            Argument::Long(product.x_stride as i64),
            Argument::At(product.rounded.holding(m * k, 2)),
            Argument::Long(m as i64),
            Argument::Long(k as i64),
        ];
        self.launch("round_rows", [(m * k).div_ceil(128), 1, 1], 128, &arguments)?;
        self.multiply(blas, product)
    }
}
