//! The group: what a run asks of several processes.

use crate::RanksError;

/// Processes that take part in one run. Rank 0 leads: it alone holds ledger, sampler, noise, controller and run folder.
///
/// Every call is made by all ranks, in the same order. What goes over the wire is private: parts of sums without noise, and, where
/// records are dealt, tokens. All ranks and what lies between them are inside the trust boundary (PRIVACY.md).
pub trait Group: Send {
    /// This process, from 0.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn size(&self) -> usize;

    /// What connects them, with its version, in words.
    fn describe(&self) -> String;

    /// Rank 0's bytes, on all ranks. What others pass is ignored.
    ///
    /// # Errors
    /// When a rank does not come in time, or the library fails.
    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, RanksError>;

    /// Each rank's bytes in order of ranks, on rank 0; empty elsewhere.
    ///
    /// # Errors
    /// As [`Self::broadcast`].
    fn gather(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, RanksError>;

    /// Part r of rank 0's parts, on rank r. What others pass is ignored.
    ///
    /// # Errors
    /// As [`Self::broadcast`].
    fn scatter(&mut self, parts: Vec<Vec<u8>>) -> Result<Vec<u8>, RanksError>;

    /// Adds up all ranks' values, wrapping, into those of rank 0; what is left in the others' is unspecified. Wrapping sums have no
    /// order, so the result is the same bits for any number of ranks.
    ///
    /// # Errors
    /// As [`Self::broadcast`].
    fn reduce(&mut self, values: &mut [u64]) -> Result<(), RanksError>;

    /// Ends all ranks at once with an exit code. Used when one of them cannot go on.
    fn abort(&mut self, code: i32) -> !;

    /// Whether this rank leads.
    fn leads(&self) -> bool {
        self.rank() == 0
    }
}

/// One process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Group for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn describe(&self) -> String {
        "one process".into()
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, RanksError> {
        Ok(bytes)
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, RanksError> {
        Ok(vec![bytes])
    }

    fn scatter(&mut self, parts: Vec<Vec<u8>>) -> Result<Vec<u8>, RanksError> {
        parts.into_iter().next().ok_or_else(|| RanksError::Garbled("nothing was dealt to rank 0".into()))
    }

    fn reduce(&mut self, _: &mut [u64]) -> Result<(), RanksError> {
        Ok(())
    }

    fn abort(&mut self, code: i32) -> ! {
        std::process::exit(code)
    }
}
