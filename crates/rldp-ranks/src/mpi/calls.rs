//! The functions of an MPI library that we call, with their types.

use std::ffi::{c_char, c_int, c_void};

use libloading::Library;

use super::abi::Handle;

type Init = unsafe extern "C" fn(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int) -> c_int;
type OfGroup<H> = unsafe extern "C" fn(H, *mut c_int) -> c_int;
type Version = unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int;
type Abort<H> = unsafe extern "C" fn(H, c_int) -> c_int;
type Barrier<H> = unsafe extern "C" fn(H, *mut H) -> c_int;
type Broadcast<H> = unsafe extern "C" fn(*mut c_void, c_int, H, c_int, H, *mut H) -> c_int;
type Reduce<H> = unsafe extern "C" fn(*const c_void, *mut c_void, c_int, H, H, c_int, H, *mut H) -> c_int;
type Gather<H> = unsafe extern "C" fn(
    *const c_void,
    c_int,
    H,
    *mut c_void,
    *const c_int,
    *const c_int,
    H,
    c_int,
    H,
    *mut H,
) -> c_int;
type Scatter<H> = unsafe extern "C" fn(
    *const c_void,
    *const c_int,
    *const c_int,
    H,
    *mut c_void,
    c_int,
    H,
    c_int,
    H,
    *mut H,
) -> c_int;
type Test<H> = unsafe extern "C" fn(*mut H, *mut c_int, *mut c_void) -> c_int;
type Finalize = unsafe extern "C" fn() -> c_int;

/// The functions. They stay valid as long as the library, which is never closed.
#[derive(Clone, Copy)]
pub(super) struct Calls<H: Handle> {
    pub(super) init: Init,
    pub(super) rank: OfGroup<H>,
    pub(super) size: OfGroup<H>,
    pub(super) version: Version,
    pub(super) abort: Abort<H>,
    pub(super) barrier: Barrier<H>,
    pub(super) broadcast: Broadcast<H>,
    pub(super) reduce: Reduce<H>,
    pub(super) gather: Gather<H>,
    pub(super) scatter: Scatter<H>,
    pub(super) test: Test<H>,
    pub(super) finalize: Finalize,
}

impl<H: Handle> Calls<H> {
    /// Looks all of them up.
    pub(super) fn new(library: &Library) -> Result<Self, String> {
        // SAFETY: each name is looked up as the type that the MPI standard gives it, with handles as this library's interface has them.
        unsafe {
            Ok(Self {
                init: look_up(library, "MPI_Init_thread")?,
                rank: look_up(library, "MPI_Comm_rank")?,
                size: look_up(library, "MPI_Comm_size")?,
                version: look_up(library, "MPI_Get_library_version")?,
                abort: look_up(library, "MPI_Abort")?,
                barrier: look_up(library, "MPI_Ibarrier")?,
                broadcast: look_up(library, "MPI_Ibcast")?,
                reduce: look_up(library, "MPI_Ireduce")?,
                gather: look_up(library, "MPI_Igatherv")?,
                scatter: look_up(library, "MPI_Iscatterv")?,
                test: look_up(library, "MPI_Test")?,
                finalize: look_up(library, "MPI_Finalize")?,
            })
        }
    }
}

/// # Safety
/// `F` must be the type of the function.
unsafe fn look_up<F: Copy>(library: &Library, name: &str) -> Result<F, String> {
    // SAFETY: the caller names the type.
    unsafe { library.get::<F>(name.as_bytes()) }.map(|symbol| *symbol).map_err(|_| format!("it has no {name}"))
}
