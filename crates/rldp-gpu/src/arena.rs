//! One allocation, cut into pieces that are never given back singly.

use crate::{
    DeviceError,
    device::{Device, Region, Span},
};

/// Pieces begin at multiples of this: the widest that a kernel or a product reads at once, and more.
const ALIGNED: usize = 256;

/// Bytes that an arena spends on a piece of `bytes` bytes.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNED) + ALIGNED
}

/// Memory of a known size. Every piece is followed by a gap of its own, which nothing may write.
pub(crate) struct Arena {
    region: Box<dyn Region>,
    used: usize,
    gaps: Vec<Span>,
}

/// Byte of the gaps; as floats or halves it is no number, so what reads it shows.
const GAP: u8 = 0xff;

impl Arena {
    /// Room for pieces whose [`padded`] sizes add up to `bytes`.
    pub(crate) fn new(device: &dyn Device, bytes: usize) -> Result<Self, DeviceError> {
        let region = device.allocate(bytes.max(ALIGNED))?;
        device.fill(region.span(), GAP)?;
        Ok(Self { region, used: 0, gaps: Vec::new() })
    }

    /// A piece.
    ///
    /// # Panics
    /// When the arena was planned too small: a defect.
    pub(crate) fn take(&mut self, bytes: usize) -> Span {
        let size = padded(bytes);
        let whole = self.region.span();
        let found = whole.part(self.used, bytes);
        self.gaps.push(whole.part(self.used + bytes, size - bytes));
        self.used += size;
        found
    }

    /// A piece of f32 or i32.
    pub(crate) fn words(&mut self, count: usize) -> Span {
        self.take(4 * count)
    }

    /// Whether no gap was written.
    pub(crate) fn is_intact(&self, device: &dyn Device) -> Result<bool, DeviceError> {
        for gap in &self.gaps {
            let mut bytes = vec![0; gap.bytes()];
            device.download(*gap, &mut bytes)?;
            if bytes.iter().any(|byte| *byte != GAP) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
