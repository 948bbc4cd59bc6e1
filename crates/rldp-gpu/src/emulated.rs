//! The emulated device: the kernels as the host's C++ compiler makes them, a fiber a thread of the card.

use std::{
    ffi::{CString, c_char, c_int, c_uint, c_void},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    DeviceError,
    device::{Argument, Device, DeviceMemory, Region, Span},
};

unsafe extern "C" {
    fn rldp_emulate(
        name: *const c_char,
        grid: *const c_uint,
        threads: c_uint,
        count: usize,
        arguments: *mut *mut c_void,
        backwards: c_int,
    ) -> c_int;
}

/// What goes wrong, for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The device is lost at this launch, counted from 1.
    pub lost_at: Option<usize>,
    /// Allocations fail beyond this many bytes, although the device said that it had them.
    pub refuses_beyond: Option<usize>,
}

/// A device in the host's memory.
#[derive(Debug)]
pub struct Emulated {
    total: usize,
    used: Arc<AtomicUsize>,
    launches: AtomicUsize,
    faults: Faults,
    backwards: bool,
}

struct HostMemory {
    words: Vec<u64>,
    bytes: usize,
    used: Arc<AtomicUsize>,
}

impl Region for HostMemory {
    fn span(&self) -> Span {
        Span::new(self.words.as_ptr() as u64, self.bytes)
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Emulated {
    /// A device with `total` bytes of memory.
    pub fn new(total: usize) -> Self {
        Self { total, used: Arc::default(), launches: AtomicUsize::new(0), faults: Faults::default(), backwards: false }
    }

    /// The same with faults.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// The same with the threads of a block run in the opposite order: a kernel that lacks a barrier gives other numbers.
    #[must_use]
    pub fn backwards(self) -> Self {
        Self { backwards: true, ..self }
    }

    fn failed(&self, what: &'static str, reason: impl Into<String>) -> DeviceError {
        DeviceError::Failed { name: self.name().into(), what, reason: reason.into() }
    }
}

impl Device for Emulated {
    fn name(&self) -> &'static str {
        "the emulated card"
    }

    fn memory(&self) -> Result<DeviceMemory, DeviceError> {
        Ok(DeviceMemory { free: self.total - self.used.load(Ordering::Relaxed), total: self.total })
    }

    fn allocate(&self, bytes: usize) -> Result<Box<dyn Region>, DeviceError> {
        let room = self.faults.refuses_beyond.unwrap_or(self.total);
        if self.used.load(Ordering::Relaxed) + bytes > room {
            return Err(DeviceError::OutOfMemory { name: self.name().into(), bytes });
        }
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Ok(Box::new(HostMemory { words: vec![u64::MAX; bytes.div_ceil(8)], bytes, used: Arc::clone(&self.used) }))
    }

    fn upload(&self, to: Span, bytes: &[u8]) -> Result<(), DeviceError> {
        let to = to.part(0, bytes.len());
        // SAFETY: a span lies inside an allocation of `HostMemory`, which nothing else refers to.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.address() as *mut u8, bytes.len()) };
        Ok(())
    }

    fn download(&self, from: Span, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let from = from.part(0, bytes.len());
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(from.address() as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn copy(&self, from: Span, to: Span) -> Result<(), DeviceError> {
        let to = to.part(0, from.bytes());
        // SAFETY: as above; pieces of an arena do not overlap, and a copy of a piece onto itself is one too.
        unsafe { std::ptr::copy(from.address() as *const u8, to.address() as *mut u8, from.bytes()) };
        Ok(())
    }

    fn fill(&self, span: Span, byte: u8) -> Result<(), DeviceError> {
        // SAFETY: as above.
        unsafe { std::ptr::write_bytes(span.address() as *mut u8, byte, span.bytes()) };
        Ok(())
    }

    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        if self.faults.lost_at == Some(self.launches.fetch_add(1, Ordering::Relaxed) + 1) {
            return Err(self.failed("a kernel", "the device is lost"));
        }
        let grid = grid.map(|size| size as c_uint);
        let Ok(name) = CString::new(kernel) else { return Err(self.failed("a kernel", "a name with a zero")) };
        let mut values: Vec<u64> = arguments.iter().map(Argument::bits).collect();
        let mut places: Vec<*mut c_void> = values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let (threads, backwards) = (threads as c_uint, c_int::from(self.backwards));
        // SAFETY: the kernel reads as many arguments as are given, each of at most 8 bytes, little-endian; callers pass spans as
        // large as the kernel's sizes say.
        let code = unsafe {
            rldp_emulate(name.as_ptr(), grid.as_ptr(), threads, places.len(), places.as_mut_ptr(), backwards)
        };
        match code {
            0 => Ok(()),
            1 => Err(self.failed(kernel, "there is no such kernel")),
            2 => Err(self.failed(kernel, "it has another number of arguments")),
            _ => Err(self.failed(kernel, "its threads wait for each other for ever")),
        }
    }
}
