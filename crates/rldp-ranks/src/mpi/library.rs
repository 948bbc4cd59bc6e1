//! Finding and telling apart MPI libraries.

use std::ffi::c_void;

use libloading::{
    Library,
    os::unix::{Library as Unix, RTLD_GLOBAL, RTLD_NOW},
};

use super::abi::Interface;

/// A library that was opened.
pub(super) struct Found {
    /// The name it was opened by.
    pub(super) name: String,
    /// It is never closed: MPI libraries leave threads and handlers behind.
    pub(super) library: &'static Library,
    pub(super) interface: Interface,
}

impl Found {
    /// Address of a symbol.
    pub(super) fn address(&self, symbol: &str) -> Option<usize> {
        address(self.library, symbol)
    }
}

/// Opens the first of `names` that is an MPI library.
pub(super) fn find(names: &[String]) -> Option<Found> {
    names.iter().find_map(|name| {
        // Global, since Open MPI opens plugins that look its symbols up.
        // SAFETY: opening a library runs its initializers; MPI's have no preconditions.
        let library: Library = unsafe { Unix::open(Some(name), RTLD_NOW | RTLD_GLOBAL) }.ok()?.into();
        let interface = interface(&library, name)?;
        Some(Found { name: name.clone(), library: Box::leak(Box::new(library)), interface })
    })
}

fn interface(library: &Library, name: &str) -> Option<Interface> {
    if address(library, "ompi_mpi_comm_world").is_some() {
        return Some(Interface::OpenMpi);
    }
    address(library, "MPI_Ireduce")?;
    // MPICH 5 exports the query from both of its libraries; only the one of this name has the standard's handles.
    let standard = name.contains("mpi_abi") && address(library, "MPI_Abi_get_version").is_some();
    Some(if standard { Interface::Standard } else { Interface::Mpich })
}

fn address(library: &Library, symbol: &str) -> Option<usize> {
    // SAFETY: only the address is taken; nothing is called or read through it, and the library is never closed.
    let found = unsafe { library.get::<*const c_void>(symbol.as_bytes()).ok()?.try_as_raw_ptr() };
    found.map(|pointer| pointer as usize)
}
