//! Rounding to bf16 and moving words, on vector registers. Reached through `product`, which has checked the processor.

#![allow(clippy::wildcard_imports, reason = "dozens of instructions")]

use std::arch::x86_64::*;

use super::{
    DEPTH, SIDE, Tile,
    vectors::{first_lanes, load, store},
};

#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn round_32(values: &[f32; DEPTH]) -> __m512i {
    // SAFETY: 32 floats are two vectors; both types of the result are 64 bytes of plain numbers.
    unsafe {
        let (low, high) = (_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(SIDE)));
        std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn round_tail(values: &[f32]) -> __m512i {
    let (low, high) = (first_lanes(values.len()), first_lanes(values.len().saturating_sub(SIDE)));
    // SAFETY: only lanes inside the slice are loaded; both types of the result are 64 bytes of plain numbers.
    unsafe {
        let low = _mm512_maskz_loadu_ps(low, values.as_ptr());
        let high = _mm512_maskz_loadu_ps(high, values.as_ptr().wrapping_add(SIDE));
        std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
    }
}

/// Rounds values to nearest even, two in a word; the last words are filled with zeros up to a multiple of 16. Fetches what
/// lies `ahead` floats further on: strips are too short for the processor to see that their rows go on.
pub(super) fn round_strip(values: &[f32], words: &mut [u32], ahead: usize) {
    // SAFETY: `product` has checked the processor's features.
    unsafe { round_strip_vectors(values, words, ahead) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn round_strip_vectors(values: &[f32], words: &mut [u32], ahead: usize) {
    let (whole, tail) = values.as_chunks::<DEPTH>();
    let mut words = words.as_chunks_mut::<SIDE>().0.iter_mut();
    for (values, words) in whole.iter().zip(&mut words) {
        let next = values.as_ptr().wrapping_add(ahead);
        // SAFETY: fetching ahead is a hint and may name any address.
        #[allow(unused_unsafe, reason = "the oldest supported compiler asks for it")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(next.cast());
            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(SIDE).cast());
        }
        store(words, round_32(values));
    }
    if let (false, Some(words)) = (tail.is_empty(), words.next()) {
        store(words, round_tail(tail));
    }
}

/// The same into row `row` of consecutive tiles.
pub(super) fn round_row(values: &[f32], tiles: &mut [Tile], row: usize) {
    // SAFETY: as above.
    unsafe { round_row_vectors(values, tiles, row) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn round_row_vectors(values: &[f32], tiles: &mut [Tile], row: usize) {
    let (whole, tail) = values.as_chunks::<DEPTH>();
    for (values, tile) in whole.iter().zip(&mut *tiles) {
        store(&mut tile.0[row], round_32(values));
    }
    if let (false, Some(tile)) = (tail.is_empty(), tiles.get_mut(whole.len())) {
        store(&mut tile.0[row], round_tail(tail));
    }
}

/// Row `row` of every `deep`-th tile from the values of two consecutive rows of the operand.
pub(super) fn interleave(even: &[u32], odd: &[u32], tiles: &mut [Tile], deep: usize, row: usize) {
    // SAFETY: as above.
    unsafe { interleave_vectors(even, odd, tiles, deep, row) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn interleave_vectors(even: &[u32], odd: &[u32], tiles: &mut [Tile], deep: usize, row: usize) {
    let (even, odd) = (even.as_chunks::<{ SIDE / 2 }>().0, odd.as_chunks::<{ SIDE / 2 }>().0);
    for ((even, odd), panel) in even.iter().zip(odd).zip(tiles.chunks_mut(deep)) {
        // SAFETY: 8 words are 32 bytes.
        let [even, odd] = [even, odd].map(|words| unsafe { _mm256_loadu_si256(words.as_ptr().cast()) });
        let [even, odd] = [even, odd].map(|halves| _mm512_cvtepu16_epi32(halves));
        store(&mut panel[0].0[row], _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd)));
    }
}

/// Transposes 16 × 16 words: 16 strips from word `offset` on.
pub(super) fn transpose<const N: usize>(strips: &[[u32; N]; SIDE], offset: usize, out: &mut [[u32; SIDE]; SIDE]) {
    // SAFETY: as above.
    unsafe { transpose_vectors(strips, offset, out) }
}

#[target_feature(enable = "avx512f")]
fn transpose_vectors<const N: usize>(strips: &[[u32; N]; SIDE], offset: usize, out: &mut [[u32; SIDE]; SIDE]) {
    let mut rows = [_mm512_setzero_si512(); SIDE];
    for (row, strip) in rows.iter_mut().zip(strips) {
        *row = load(strip[offset..offset + SIDE].try_into().expect("16 words"));
    }
    // Quarters of four rows become four columns each.
    for rows in rows.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *rows;
        let (ab, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        *rows = [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ];
    }
    // Then quarters are gathered across rows.
    for j in 0..4 {
        let [a, b, c, d] = [rows[j], rows[4 + j], rows[8 + j], rows[12 + j]];
        let (ab, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        store(&mut out[j], _mm512_shuffle_i32x4::<0x88>(ab, cd));
        store(&mut out[8 + j], _mm512_shuffle_i32x4::<0xdd>(ab, cd));
        store(&mut out[4 + j], _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd));
        store(&mut out[12 + j], _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd));
    }
}
