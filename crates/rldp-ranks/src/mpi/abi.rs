//! The three binary interfaces under which MPI libraries exist, and their constants.
//!
//! MPI's C interface names handles and datatypes by macros, which differ between libraries. Open MPI's are addresses of its symbols;
//! MPICH's (also Intel's and Cray's) are fixed integers; the standard interface of MPI 5 has fixed small addresses.

use std::ffi::{c_int, c_void};

/// What a library calls the things that we use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constants<H> {
    pub(super) world: H,
    pub(super) byte: H,
    pub(super) uint64: H,
    pub(super) sum: H,
    pub(super) in_place: *mut c_void,
}

// SAFETY: a number that the library compares; nothing is read through it.
unsafe impl<H: Send> Send for Constants<H> {}

/// A handle as a library passes it: an address, or an int.
pub(super) trait Handle: Copy + Send + Default + 'static {}

impl Handle for usize {}
impl Handle for c_int {}

/// Which interface a library has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interface {
    OpenMpi,
    Mpich,
    Standard,
}

/// MPICH 3 and 4, Intel MPI, Cray MPICH: `mpi.h` defines them as integers, and their common binary interface keeps them.
pub(super) const MPICH: Constants<c_int> = Constants {
    world: 0x4400_0000,
    byte: 0x4c00_010d,
    uint64: 0x4c00_083e,
    sum: 0x5800_0003,
    in_place: usize::MAX as *mut c_void,
};

/// The standard interface of MPI 5.
pub(super) const STANDARD: Constants<usize> =
    Constants { world: 0x101, byte: 0x247, uint64: 0x259, sum: 0x21, in_place: std::ptr::dangling_mut::<c_void>() };

/// Open MPI: addresses of its symbols, looked up.
pub(super) fn open_mpi(address: impl Fn(&str) -> Option<usize>) -> Result<Constants<usize>, String> {
    let need = |name: &str| address(name).ok_or_else(|| format!("it has no {name}"));
    Ok(Constants {
        world: need("ompi_mpi_comm_world")?,
        byte: need("ompi_mpi_byte")?,
        uint64: need("ompi_mpi_uint64_t")?,
        sum: need("ompi_mpi_op_sum")?,
        in_place: std::ptr::dangling_mut::<c_void>(),
    })
}
