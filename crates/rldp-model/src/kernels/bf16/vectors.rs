//! Sums of products of pairs on vector registers.

#![allow(clippy::wildcard_imports, reason = "dozens of instructions")]

use std::arch::x86_64::*;

use super::{SIDE, Tile};

/// Rows of the result that are summed at once in vector registers: each value of the left operand is loaded for two
/// vectors of the right one, so that loading keeps pace with multiplying.
pub(super) const ROWS: usize = 8;

/// out (rows, columns), at most (8, 16 · PANELS), = or += rows `first`.. of the panel a · the panels b, over the first
/// `pairs` pairs of their depth.
///
/// # Safety
/// The processor has AVX512-BF16, and out holds `rows` rows of `columns` floats, `stride` apart.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn add_vectors<const PANELS: usize>(
    (a, first): (&[Tile], usize),
    b: [&[Tile]; PANELS],
    pairs: usize,
    (rows, columns): (usize, usize),
    (out, stride): (&mut [f32], usize),
    accumulate: bool,
) {
    // Rows of the output are far apart, and it takes as long to fetch them as to make the sums.
    for row in out.chunks(stride).take(ROWS) {
        // SAFETY: fetching is a hint and may name any address.
        #[allow(unused_unsafe, reason = "the oldest supported compiler asks for it")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(row.as_ptr().cast());
            _mm_prefetch::<_MM_HINT_T0>(row.as_ptr().wrapping_add(SIDE).cast());
        }
    }
    let mut sums = [[_mm512_setzero_ps(); PANELS]; ROWS];
    let whole = pairs / SIDE;
    for tile in 0..whole {
        add_pairs(&mut sums, (&a[tile], first), b.map(|panel| &panel[tile]), SIDE);
    }
    if !pairs.is_multiple_of(SIDE) {
        add_pairs(&mut sums, (&a[whole], first), b.map(|panel| &panel[whole]), pairs % SIDE);
    }
    // Every index is known to the compiler, or it keeps the sums in memory and copies them from there. Masked stores are
    // slow on some processors, and only edges need them.
    if (rows, columns) == (ROWS, PANELS * SIDE) {
        for row in 0..ROWS {
            for panel in 0..PANELS {
                let sum = sums[row][panel];
                // SAFETY: by the contract a row holds that many vectors.
                unsafe {
                    let out = out.as_mut_ptr().add(row * stride + panel * SIDE);
                    let sum = if accumulate { _mm512_add_ps(_mm512_loadu_ps(out), sum) } else { sum };
                    _mm512_storeu_ps(out, sum);
                }
            }
        }
        return;
    }
    for row in 0..ROWS {
        for panel in 0..PANELS {
            let (sum, wanted) = (sums[row][panel], first_lanes(columns.saturating_sub(panel * SIDE)));
            if row < rows {
                // SAFETY: by the contract the row holds the lanes that are wanted; no other is touched.
                unsafe {
                    let out = out.as_mut_ptr().wrapping_add(row * stride + panel * SIDE);
                    let sum = if accumulate { _mm512_add_ps(_mm512_maskz_loadu_ps(wanted, out), sum) } else { sum };
                    _mm512_mask_storeu_ps(out, wanted, sum);
                }
            }
        }
    }
}

/// Adds the first `pairs` products of pairs of a tile.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn add_pairs<const PANELS: usize>(
    sums: &mut [[__m512; PANELS]; ROWS],
    (a, first): (&Tile, usize),
    b: [&Tile; PANELS],
    pairs: usize,
) {
    let rows: &[[u32; SIDE]; ROWS] = a.0[first..first + ROWS].try_into().expect("eight rows");
    for pair in 0..pairs {
        let columns = b.map(|tile| as_pairs(load(&tile.0[pair])));
        for (sums, row) in sums.iter_mut().zip(rows) {
            let value = as_pairs(_mm512_set1_epi32(row[pair].cast_signed()));
            for (sum, columns) in sums.iter_mut().zip(columns) {
                *sum = _mm512_dpbf16_ps(*sum, value, columns);
            }
        }
    }
}

/// The first `count` lanes of 16, or all.
pub(super) fn first_lanes(count: usize) -> __mmask16 {
    if count < SIDE { (1 << count) - 1 } else { __mmask16::MAX }
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn load(words: &[u32; SIDE]) -> __m512i {
    // SAFETY: 16 words are 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn store(words: &mut [u32; SIDE], values: __m512i) {
    // SAFETY: 16 words are 64 bytes.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), values) };
}

#[inline]
fn as_pairs(words: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of plain numbers.
    unsafe { std::mem::transmute(words) }
}
