//! What can go wrong between ranks, in words for the person who started them.

use std::time::Duration;

/// Error of a group of ranks.
#[derive(Debug, thiserror::Error)]
pub enum RanksError {
    /// A launcher started several processes and no MPI library was found.
    #[error(
        "{launcher} started {size} processes, but no MPI library was found (tried {tried}); install the launcher's own (Open MPI 4 or 5, \
         or MPICH), or name it: RLDP_MPI=/path/to/libmpi.so"
    )]
    NoLibrary {
        /// The launcher, by what it set in the environment.
        launcher: String,
        /// Processes that it says it started.
        size: usize,
        /// Names that were tried.
        tried: String,
    },
    /// The library is not what it should be.
    #[error("the MPI library {library} cannot be used: {why}; name another by RLDP_MPI=/path/to/libmpi.so")]
    Library {
        /// Its name.
        library: String,
        /// What is missing or wrong.
        why: String,
    },
    /// The launcher and the library do not belong together.
    #[error(
        "{launcher} started {launched} processes, but {library} sees {seen}, so they would be separate runs; start with the launcher of \
         this library (mpirun of the same MPI, or srun --mpi=pmix), or name the launcher's library by RLDP_MPI"
    )]
    Apart {
        /// The launcher.
        launcher: String,
        /// Processes that it says it started.
        launched: usize,
        /// The library's version.
        library: String,
        /// Processes that the library sees.
        seen: usize,
    },
    /// A call failed.
    #[error("{call} failed with MPI's code {code}")]
    Call {
        /// The function.
        call: &'static str,
        /// What it returned.
        code: i32,
    },
    /// Somebody did not come.
    #[error(
        "rank {rank} waited {} s for the others while {doing}, and one of them did not answer: it hangs, was stopped, or is slower than \
         --rank-timeout allows; what was charged stays charged, `rldp train --resume` goes on",
        waited.as_secs()
    )]
    Silent {
        /// Who waited.
        rank: usize,
        /// How long.
        waited: Duration,
        /// For what.
        doing: &'static str,
    },
    /// Ranks do not agree on what must be the same.
    #[error(
        "{what} of rank {rank} is not that of rank 0 ({theirs} against {ours}); all ranks must run the same binary, model, files and settings"
    )]
    Differs {
        /// What differs.
        what: String,
        /// Whose.
        rank: usize,
        /// Rank 0's, or its digest.
        ours: String,
        /// The other's.
        theirs: String,
    },
    /// What came is no message of ours.
    #[error("a message between ranks cannot be read: {0}; all ranks must run the same binary")]
    Garbled(String),
    /// A rank reported an error and ended.
    #[error("rank {rank} failed: {why}")]
    Failed {
        /// Who.
        rank: usize,
        /// What it said.
        why: String,
    },
}
