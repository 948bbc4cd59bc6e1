//! Block-quantised formats of GGML: how many values a block holds, and their values.
//!
//! A block stores small integers with a scale, and where the format is asymmetric an offset, in f16. The K formats group
//! eight or sixteen runs under one pair of f16 factors, with a small integer factor for each run.

use half::f16;

/// Values of the longest block.
pub(super) const LONGEST: usize = 256;

/// A block-quantised format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// 4 bits, symmetric, 32 values.
    Q4_0,
    /// 4 bits with an offset, 32 values.
    Q4_1,
    /// 5 bits, symmetric, 32 values.
    Q5_0,
    /// 5 bits with an offset, 32 values.
    Q5_1,
    /// 8 bits, symmetric, 32 values.
    Q8_0,
    /// 4 bits with an offset, 8 runs of 32 values.
    Q4K,
    /// 5 bits with an offset, 8 runs of 32 values.
    Q5K,
    /// 6 bits, symmetric, 16 runs of 16 values.
    Q6K,
}

impl BlockFormat {
    /// Values of one block, a power of two of at most 256.
    pub fn values(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => LONGEST,
        }
    }

    /// Bytes of one block.
    pub fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 4 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 4 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Q4K => 4 + 12 + 128,
            Self::Q5K => 4 + 12 + 32 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }

    /// The values of one block.
    ///
    /// # Panics
    /// When `block` is shorter than [`Self::bytes`] or `out` shorter than [`Self::values`].
    pub fn dequantize(self, block: &[u8], out: &mut [f32]) {
        match self {
            Self::Q4_0 => nibbles(half(block, 0), -8.0, 0.0, &block[2..18], [0; 4], out),
            Self::Q4_1 => nibbles(half(block, 0), 0.0, half(block, 2), &block[4..20], [0; 4], out),
            Self::Q5_0 => nibbles(half(block, 0), -16.0, 0.0, &block[6..22], fifth(block, 2), out),
            Self::Q5_1 => nibbles(half(block, 0), 0.0, half(block, 2), &block[8..24], fifth(block, 4), out),
            Self::Q8_0 => {
                let scale = half(block, 0);
                for (out, byte) in out[..32].iter_mut().zip(&block[2..34]) {
                    *out = scale * f32::from(byte.cast_signed());
                }
            }
            Self::Q4K => runs_of_32(block, &block[16..144], None, out),
            Self::Q5K => runs_of_32(block, &block[48..176], Some(&block[16..48]), out),
            Self::Q6K => runs_of_16(block, out),
        }
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The fifth bits of 32 values.
fn fifth(block: &[u8], at: usize) -> [u8; 4] {
    [block[at], block[at + 1], block[at + 2], block[at + 3]]
}

/// 32 values `scale · (q + shift) + offset`; q has its low bits in 16 bytes, lower halves first, and its fifth in `high`.
fn nibbles(scale: f32, shift: f32, offset: f32, low: &[u8], high: [u8; 4], out: &mut [f32]) {
    let high = u32::from_le_bytes(high);
    let (first, second) = out[..32].split_at_mut(16);
    for i in 0..16 {
        let fifth = |position: usize| ((high >> position & 1) << 4) as f32;
        first[i] = scale * (f32::from(low[i] & 15) + fifth(i) + shift) + offset;
        second[i] = scale * (f32::from(low[i] >> 4) + fifth(i + 16) + shift) + offset;
    }
}

/// Factor and offset of run `run` of eight, six bits each, out of twelve bytes.
fn factor_and_offset(packed: &[u8], run: usize) -> (f32, f32) {
    let (factor, offset) = if run < 4 {
        (packed[run] & 63, packed[run + 4] & 63)
    } else {
        let upper = |at: usize| packed[at] >> 6 << 4;
        (packed[run + 4] & 15 | upper(run - 4), packed[run + 4] >> 4 | upper(run))
    };
    (f32::from(factor), f32::from(offset))
}

/// Q4_K, and with the fifth bits in `high` Q5_K: bytes hold the low bits of run 2j in their lower halves and of run 2j + 1
/// in their upper ones; bit r of `high[i]` belongs to value i of run r.
fn runs_of_32(block: &[u8], low: &[u8], high: Option<&[u8]>, out: &mut [f32]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    for (run, out) in out[..LONGEST].chunks_exact_mut(32).enumerate() {
        let (factor, offset) = factor_and_offset(&block[4..16], run);
        let (factor, offset, shift) = (scale * factor, least * offset, 4 * (run % 2));
        let low = &low[run / 2 * 32..][..32];
        match high {
            None => {
                for (out, low) in out.iter_mut().zip(low) {
                    *out = factor * f32::from(low >> shift & 15) - offset;
                }
            }
            Some(high) => {
                for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
                    *out = factor * f32::from((low >> shift & 15) | (high >> run & 1) << 4) - offset;
                }
            }
        }
    }
}

/// Q6_K: two halves of 128 values, each of four rows of 32. Rows 0 and 1 have their low bits in the lower halves of two runs
/// of bytes, rows 2 and 3 in the upper halves; two high bits for each row share a byte.
fn runs_of_16(block: &[u8], out: &mut [f32]) {
    let scale = half(block, 208);
    for (part, out) in out[..LONGEST].chunks_exact_mut(128).enumerate() {
        let (low, high) = (&block[part * 64..][..64], &block[128 + part * 32..][..32]);
        let factors = &block[192 + part * 8..][..8];
        for (row, out) in out.chunks_exact_mut(32).enumerate() {
            let low = &low[row % 2 * 32..][..32];
            let (low_shift, high_shift) = (row / 2 * 4, row * 2);
            for (run, out) in out.chunks_exact_mut(16).enumerate() {
                let factor = scale * f32::from(factors[2 * row + run].cast_signed());
                let (low, high) = (&low[run * 16..][..16], &high[run * 16..][..16]);
                for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
                    let value = (low >> low_shift & 15) | (high >> high_shift & 3) << 4;
                    *out = factor * (f32::from(value) - 32.0);
                }
            }
        }
    }
}
