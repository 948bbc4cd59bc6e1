//! How many rows a micro-batch has, and how many units' gradients are held: what fits the card's memory.

use crate::{
    DeviceError,
    device::Device,
    model::GpuModel,
    workspace::{Purpose, Sizes, bytes},
};

/// Rows of a micro-batch at most: more fill no card better.
const MOST_ROWS: usize = 32_768;
/// Rows with which products are near their best; with fewer, activations are rather made again.
const GOOD_ROWS: usize = 4096;
/// Rows of the smallest micro-batch.
const LEAST_ROWS: usize = 64;
/// Units whose gradients are held at most.
const MOST_SLOTS: usize = 1024;

/// What a step is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Rows of a micro-batch, where that is set.
    pub(crate) rows: Option<usize>,
    /// Tokens of the longest sequence, as far as it is known.
    pub(crate) longest: usize,
    /// R, P and K of the adapter; 0 without one.
    pub(crate) rank: usize,
    pub(crate) parameters: usize,
    pub(crate) pairs: usize,
    /// Bytes that the engine may take beside the model, if there is a limit.
    pub(crate) limit: Option<usize>,
}

/// Sizes for losses, or for gradients, from the fastest that fits.
///
/// # Errors
/// When the longest sequence does not fit.
pub(crate) fn plan(
    device: &dyn Device,
    model: &GpuModel,
    gradients: bool,
    wanted: Wanted,
) -> Result<Sizes, DeviceError> {
    let free = device.memory()?.free;
    // The driver's own needs and rounding of allocations.
    let budget = wanted.limit.unwrap_or(usize::MAX).min(free - free / 16);
    let least = wanted.longest.max(wanted.rows.unwrap_or(LEAST_ROWS).min(LEAST_ROWS));
    let most = wanted.rows.unwrap_or(MOST_ROWS).max(least);
    let unit = 4 * wanted.parameters.max(1);
    let slots = if gradients { (budget / 3 / unit).clamp(1, MOST_SLOTS).min(most.max(1)) } else { 0 };
    let sizes = |purpose, rows| Sizes {
        purpose,
        rows,
        rank: wanted.rank,
        parameters: wanted.parameters,
        pairs: wanted.pairs,
        slots,
    };
    let purposes: &[Purpose] = if gradients {
        &[Purpose::Gradients { recomputes: false }, Purpose::Gradients { recomputes: true }]
    } else {
        &[Purpose::Losses]
    };
    let last = purposes.len() - 1;
    for (place, purpose) in purposes.iter().enumerate() {
        let rows = most_rows(model, sizes(*purpose, most), budget);
        let enough = if place == last { least } else { least.max(GOOD_ROWS.min(most)) };
        if rows >= enough {
            return Ok(sizes(*purpose, rows));
        }
        if place == last && rows >= LEAST_ROWS {
            return Err(DeviceError::RecordTooLong {
                name: device.name().to_owned(),
                length: wanted.longest,
                most: rows,
            });
        }
    }
    let (name, what) = (device.name().to_owned(), "the smallest step");
    Err(DeviceError::TooLittleMemory { name, what, free, needed: bytes(model, &sizes(purposes[last], least)) })
}

/// Sizes for decoding one sequence of up to `rows` tokens.
pub(crate) fn for_decoding(
    device: &dyn Device,
    model: &GpuModel,
    rows: usize,
    rank: usize,
) -> Result<Sizes, DeviceError> {
    let sizes = Sizes { purpose: Purpose::Decoding, rows, rank, parameters: 0, pairs: 0, slots: 0 };
    let (free, needed) = (device.memory()?.free, bytes(model, &sizes));
    if needed > free {
        let (name, what) = (device.name().to_owned(), "a text of this length");
        return Err(DeviceError::TooLittleMemory { name, what, free, needed });
    }
    Ok(sizes)
}

/// Most rows, up to those of `sizes`, whose buffers fit into `budget`; they grow by about the same for each row.
fn most_rows(model: &GpuModel, sizes: Sizes, budget: usize) -> usize {
    let needed = |rows| bytes(model, &Sizes { rows, ..sizes });
    let (mut low, mut high) = (0, sizes.rows);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if needed(middle) <= budget {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}
