//! MPI, opened at run time: no headers, nothing linked.

mod abi;
mod calls;
mod library;
mod wait;
mod world;

use std::{ffi::c_int, time::Duration};

use self::{
    abi::{Interface, MPICH, STANDARD, open_mpi},
    library::{Found, find},
    world::World,
};
use crate::{Group, Launch, RanksError};

/// Environment variable that names the library.
const NAMED: &str = "RLDP_MPI";

/// The group of a launched process.
///
/// # Errors
/// When there is no library, it is not one that we know, or it cannot be started.
pub(crate) fn open(launch: &Launch, patience: Duration) -> Result<Box<dyn Group>, RanksError> {
    let names = names(launch.mpich);
    let Some(found) = find(&names) else {
        let tried = names.join(", ");
        return Err(RanksError::NoLibrary { launcher: launch.launcher.into(), size: launch.size.unwrap_or(0), tried });
    };
    let Found { name, library, interface } = &found;
    let wrong = |why: String| RanksError::Library { library: name.clone(), why };
    Ok(match interface {
        Interface::OpenMpi => {
            let constants = open_mpi(|symbol| found.address(symbol)).map_err(wrong)?;
            Box::new(World::<usize>::start(library, name, constants, patience)?)
        }
        Interface::Standard => Box::new(World::<usize>::start(library, name, STANDARD, patience)?),
        Interface::Mpich => Box::new(World::<c_int>::start(library, name, MPICH, patience)?),
    })
}

/// The MPI library that a launched run would open here, by name, without starting it; `None` where there is none.
pub fn installed() -> Option<String> {
    find(&names(false)).map(|found| found.name)
}

/// Names under which libraries are found, the launcher's own first.
fn names(mpich: bool) -> Vec<String> {
    if let Some(named) = std::env::var(NAMED).ok().filter(|named| !named.is_empty()) {
        return vec![named];
    }
    let (open_mpi, others) =
        (["libmpi.so.40", "libmpi.so"], ["libmpich.so.12", "libmpi.so.12", "libmpi_abi.so.1", "libmpi_abi.so.0"]);
    let ordered: Vec<&str> = if mpich {
        others.iter().chain(&open_mpi).copied().collect()
    } else {
        open_mpi.iter().chain(&others).copied().collect()
    };
    ordered.into_iter().map(str::to_owned).collect()
}
