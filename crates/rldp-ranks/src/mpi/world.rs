//! All processes that a launcher started, as a group.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr::null_mut,
    time::Duration,
};

use libloading::Library;

use super::{
    abi::{Constants, Handle},
    calls::Calls,
    wait::Wait,
};
use crate::{Group, RanksError};

/// Only the thread that started MPI calls it.
const FUNNELED: c_int = 1;
/// Most bytes of the text that names a library; the standard's bound is 8192 in the largest.
const VERSION_BYTES: usize = 8192;
/// Room for a status, which no interface makes larger than 24 to 40 bytes.
const STATUS_WORDS: usize = 32;
/// Most items of one call, far below the 2^31 − 1 that its count can say.
const MOST_ITEMS: usize = 1 << 28;
/// Numbers that are added up at once: libraries keep as many beside, and what stays in a cache is added in half the time
/// (`docs/results/many.md`).
const SLICE: usize = 1 << 17;

/// MPI_COMM_WORLD, started.
pub(super) struct World<H: Handle> {
    calls: Calls<H>,
    constants: Constants<H>,
    rank: usize,
    size: usize,
    version: String,
    patience: Duration,
}

impl<H: Handle> World<H> {
    /// Starts MPI in this process, and checks the constants by a sum and a broadcast.
    pub(super) fn start(
        library: &'static Library,
        name: &str,
        constants: Constants<H>,
        patience: Duration,
    ) -> Result<Self, RanksError> {
        let wrong = |why: String| RanksError::Library { library: name.to_owned(), why };
        let calls = Calls::new(library).map_err(wrong)?;
        let mut provided = 0;
        // SAFETY: the standard allows no arguments; `provided` outlives the call.
        check("MPI_Init_thread", unsafe { (calls.init)(null_mut(), null_mut(), FUNNELED, &raw mut provided) })?;
        let (mut rank, mut size) = (0, 0);
        // SAFETY: MPI is started, and both outlive the calls.
        check("MPI_Comm_rank", unsafe { (calls.rank)(constants.world, &raw mut rank) })?;
        // SAFETY: as above.
        check("MPI_Comm_size", unsafe { (calls.size)(constants.world, &raw mut size) })?;
        let version = version(&calls)?;
        let mut world = Self { calls, constants, rank: rank as usize, size: size as usize, version, patience };
        world.try_out().map_err(wrong)?;
        Ok(world)
    }

    /// Constants of a library are taken from its interface's definition; here it shows whether they are right.
    fn try_out(&mut self) -> Result<(), String> {
        let mut values = [u64::MAX, self.rank as u64];
        self.reduce(&mut values).map_err(|error| error.to_string())?;
        let (size, ranks) = (self.size as u64, (0..self.size as u64).sum::<u64>());
        if self.rank == 0 && values != [u64::MAX.wrapping_mul(size), ranks] {
            return Err(format!(
                "a sum over {size} ranks came out as {values:?}, so its datatypes are not those that were expected"
            ));
        }
        let sent = b"rldp".to_vec();
        let came = self.broadcast(sent.clone()).map_err(|error| error.to_string())?;
        if came == sent { Ok(()) } else { Err("a broadcast did not bring what was sent".into()) }
    }

    /// Waits until a request is done.
    fn finish(&self, mut request: H, asleep: bool, doing: &'static str) -> Result<(), RanksError> {
        let wait = Wait::new();
        let mut status = [0_u64; STATUS_WORDS];
        loop {
            let mut done = 0;
            // SAFETY: the request was begun by a call of this library, and status has room for any interface's.
            let code = unsafe { (self.calls.test)(&raw mut request, &raw mut done, status.as_mut_ptr().cast()) };
            check("MPI_Test", code)?;
            if done != 0 {
                return Ok(());
            }
            if wait.elapsed() > self.patience {
                return Err(RanksError::Silent { rank: self.rank, waited: wait.elapsed(), doing });
            }
            wait.pause(asleep);
        }
    }

    /// Waits, without taking a core, until all ranks are here.
    fn meet(&self, doing: &'static str) -> Result<(), RanksError> {
        let mut request = H::default();
        // SAFETY: MPI is started; the request outlives the call.
        check("MPI_Ibarrier", unsafe { (self.calls.barrier)(self.constants.world, &raw mut request) })?;
        self.finish(request, true, doing)
    }

    fn broadcast_into(&self, bytes: &mut [u8], doing: &'static str) -> Result<(), RanksError> {
        for part in bytes.chunks_mut(MOST_ITEMS) {
            let mut request = H::default();
            let Constants { byte, world, .. } = self.constants;
            // SAFETY: `part` holds as many bytes as the count says and outlives the request, which is finished below.
            let code = unsafe {
                (self.calls.broadcast)(part.as_mut_ptr().cast(), part.len() as c_int, byte, 0, world, &raw mut request)
            };
            check("MPI_Ibcast", code)?;
            self.finish(request, false, doing)?;
        }
        Ok(())
    }

    /// Lengths of all ranks' bytes on rank 0, as a sum of vectors with one entry each.
    fn lengths(&mut self, mine: usize) -> Result<Vec<usize>, RanksError> {
        let mut lengths = vec![0_u64; self.size];
        lengths[self.rank] = mine as u64;
        self.reduce(&mut lengths)?;
        Ok(lengths.into_iter().map(|length| length as usize).collect())
    }

    /// Counts and places of parts of these lengths, one after another.
    fn places(lengths: &[usize]) -> Result<(Vec<c_int>, Vec<c_int>), RanksError> {
        let ends = lengths.iter().try_fold(0_usize, |end, length| end.checked_add(*length));
        if ends.is_none_or(|end| end > c_int::MAX as usize) {
            return Err(RanksError::Garbled(format!("parts of {lengths:?} bytes are more than one message can hold")));
        }
        let counts = lengths.iter().map(|length| *length as c_int).collect();
        let places = lengths.iter().scan(0, |end, length| {
            let place = *end;
            *end += *length as c_int;
            Some(place)
        });
        Ok((counts, places.collect()))
    }
}

impl<H: Handle> Group for World<H> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn describe(&self) -> String {
        self.version.clone()
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, RanksError> {
        const DOING: &str = "handing out the next task";
        self.meet(DOING)?;
        let mut length = (bytes.len() as u64).to_le_bytes();
        self.broadcast_into(&mut length, DOING)?;
        let mut bytes = if self.leads() { bytes } else { vec![0; u64::from_le_bytes(length) as usize] };
        self.broadcast_into(&mut bytes, DOING)?;
        Ok(bytes)
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, RanksError> {
        let lengths = self.lengths(bytes.len())?;
        let (counts, places) = if self.leads() { Self::places(&lengths)? } else { (Vec::new(), Vec::new()) };
        let mut all = vec![0_u8; if self.leads() { lengths.iter().sum() } else { 0 }];
        let mut request = H::default();
        let Constants { byte, world, .. } = self.constants;
        // SAFETY: on rank 0 `all` has room for all counts at their places; elsewhere what is received is not looked at. All outlive the
        // request.
        let code = unsafe {
            let (to, counts, places) = (all.as_mut_ptr().cast(), counts.as_ptr(), places.as_ptr());
            let (from, count) = (bytes.as_ptr().cast(), bytes.len() as c_int);
            (self.calls.gather)(from, count, byte, to, counts, places, byte, 0, world, &raw mut request)
        };
        check("MPI_Igatherv", code)?;
        self.finish(request, false, "collecting results")?;
        let mut rest = &all[..];
        let parts = if self.leads() { &lengths[..] } else { &[] };
        Ok(parts
            .iter()
            .map(|length| {
                let (part, after) = rest.split_at(*length);
                rest = after;
                part.to_vec()
            })
            .collect())
    }

    fn scatter(&mut self, parts: Vec<Vec<u8>>) -> Result<Vec<u8>, RanksError> {
        let lengths: Vec<u8> = parts.iter().flat_map(|part| (part.len() as u64).to_le_bytes()).collect();
        let lengths = self.broadcast(lengths)?;
        let lengths: Vec<usize> = lengths.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b) as usize).collect();
        let Some(&mine) = lengths.get(self.rank) else {
            return Err(RanksError::Garbled(format!("{} parts were dealt to {} ranks", lengths.len(), self.size)));
        };
        let (counts, places) = Self::places(&lengths)?;
        let (all, mut part) = (if self.leads() { parts.concat() } else { Vec::new() }, vec![0_u8; mine]);
        let mut request = H::default();
        let Constants { byte, world, .. } = self.constants;
        // SAFETY: on rank 0 `all` holds all counts at their places; `part` has room for this rank's. All outlive the request.
        let code = unsafe {
            let (from, counts, places) = (all.as_ptr().cast(), counts.as_ptr(), places.as_ptr());
            let (to, count) = (part.as_mut_ptr().cast(), mine as c_int);
            (self.calls.scatter)(from, counts, places, byte, to, count, byte, 0, world, &raw mut request)
        };
        check("MPI_Iscatterv", code)?;
        self.finish(request, false, "dealing records")?;
        Ok(part)
    }

    fn reduce(&mut self, values: &mut [u64]) -> Result<(), RanksError> {
        const DOING: &str = "adding up sums";
        self.meet(DOING)?;
        for part in values.chunks_mut(SLICE) {
            let mut request = H::default();
            let Constants { uint64, sum, world, in_place, .. } = self.constants;
            let values: *mut c_void = part.as_mut_ptr().cast();
            let (from, to) =
                if self.rank == 0 { (in_place.cast_const(), values) } else { (values.cast_const(), null_mut()) };
            // SAFETY: `part` holds as many numbers as the count says and outlives the request. In place is what the standard allows on
            // the rank that receives; elsewhere nothing is received.
            let code =
                unsafe { (self.calls.reduce)(from, to, part.len() as c_int, uint64, sum, 0, world, &raw mut request) };
            check("MPI_Ireduce", code)?;
            self.finish(request, false, DOING)?;
        }
        Ok(())
    }

    fn abort(&mut self, code: i32) -> ! {
        // SAFETY: MPI is started. The call ends all processes of the job, this one among them.
        unsafe { (self.calls.abort)(self.constants.world, code) };
        std::process::exit(code)
    }
}

impl<H: Handle> Drop for World<H> {
    /// Leaves MPI. Where ranks are dropped at different times the first wait here, so a rank that fails must abort instead.
    fn drop(&mut self) {
        // SAFETY: MPI is started and no request is open.
        unsafe { (self.calls.finalize)() };
    }
}

fn check(call: &'static str, code: c_int) -> Result<(), RanksError> {
    if code == 0 { Ok(()) } else { Err(RanksError::Call { call, code }) }
}

/// The first line of what the library says of itself.
fn version<H: Handle>(calls: &Calls<H>) -> Result<String, RanksError> {
    let mut text = vec![0_u8; VERSION_BYTES + 1];
    let mut length: c_int = 0;
    // SAFETY: no library's text is longer than the bound of its interface, which is at most VERSION_BYTES.
    check("MPI_Get_library_version", unsafe { (calls.version)(text.as_mut_ptr().cast::<c_char>(), &raw mut length) })?;
    let text = CStr::from_bytes_until_nul(&text).map(CStr::to_string_lossy).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().replace('\t', " ");
    Ok(line.split(',').next().unwrap_or_default().trim().to_owned())
}
