//! Vectors as AVX-512 registers.

#![allow(clippy::wildcard_imports, reason = "dozens of instructions")]

use std::arch::x86_64::*;

use super::{EXP2, LANES, Lanes, Vector};

/// The places of at most 16 values.
#[inline(always)]
fn first_places(values: &[f32]) -> __mmask16 {
    if values.len() >= LANES { !0 } else { (1 << values.len()) - 1 }
}

/// Named only in functions compiled for AVX-512F, which run only on a processor that has it: the one that comments below speak of.
impl Vector for __m512 {
    #[inline(always)]
    fn load(lanes: &Lanes) -> Self {
        // SAFETY: the processor has the instruction, and the reference is to 16 floats.
        unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, lanes: &mut Lanes) {
        // SAFETY: the processor has the instruction, and the reference is to 16 floats.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), self) }
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: the processor has the instruction, which touches registers alone.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn splat_pair(pair: &[f32; 2]) -> Self {
        // SAFETY: the processor has the instruction, and the reference is to two floats, which are read as one number of 8 bytes.
        unsafe { _mm512_castpd_ps(_mm512_set1_pd(pair.as_ptr().cast::<f64>().read_unaligned())) }
    }
    #[inline(always)]
    fn interleave(self, other: Self) -> [Self; 2] {
        // SAFETY: the processor has the instruction, which touches registers alone.
        unsafe { [_mm512_unpacklo_ps(self, other), _mm512_unpackhi_ps(self, other)] }
    }
    #[inline(always)]
    fn load_some(values: &[f32]) -> Self {
        // SAFETY: the processor has the instruction, which touches only the floats that its mask names: those of the slice.
        unsafe { _mm512_maskz_loadu_ps(first_places(values), values.as_ptr()) }
    }
    #[inline(always)]
    fn store_some(self, values: &mut [f32]) {
        // SAFETY: the processor has the instruction, which touches only the floats that its mask names: those of the slice.
        unsafe { _mm512_mask_storeu_ps(values.as_mut_ptr(), first_places(values), self) }
    }
    #[inline(always)]
    fn madd(self, b: Self, c: Self) -> Self {
        // SAFETY: the processor has the instruction, which touches registers alone.
        unsafe { _mm512_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the processor has the instruction, which touches registers alone.
        unsafe { _mm512_add_ps(self, other) }
    }
    #[inline(always)]
    fn subtract(self, other: Self) -> Self {
        // SAFETY: the processor has the instruction, which touches registers alone.
        unsafe { _mm512_sub_ps(self, other) }
    }
    #[inline(always)]
    fn multiply(self, other: Self) -> Self {
        // SAFETY: the processor has the instruction, which touches registers alone.
        unsafe { _mm512_mul_ps(self, other) }
    }
    #[inline(always)]
    fn divide(self, other: Self) -> Self {
        // SAFETY: the processor has the instruction, which touches registers alone.
        unsafe { _mm512_div_ps(self, other) }
    }
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        // SAFETY: the processor has the instruction, which touches registers alone.
        unsafe { _mm512_max_ps(self, other) }
    }
    #[inline(always)]
    fn exp(self) -> Self {
        // SAFETY: the processor has the instructions, which touch registers alone.
        unsafe {
            let x = _mm512_min_ps(_mm512_max_ps(self, Self::splat(-87.0)), Self::splat(88.0));
            let n = _mm512_roundscale_ps::<0>(x.multiply(Self::splat(std::f32::consts::LOG2_E)));
            let r = n.madd(Self::splat(-0.693_359_4), x);
            let r = n.madd(Self::splat(2.121_944_4e-4), r);
            let mut p = Self::splat(1.0 / 5040.0);
            for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
                p = p.madd(r, Self::splat(coefficient));
            }
            let kept = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self, Self::splat(-87.0));
            _mm512_maskz_scalef_ps(kept, p, n)
        }
    }
    #[inline(always)]
    fn exp2(self) -> Self {
        // SAFETY: the processor has the instructions, which touch registers alone.
        unsafe {
            let n = _mm512_roundscale_ps::<0>(self);
            let r = self.subtract(n);
            let mut p = Self::splat(EXP2[0]);
            for coefficient in &EXP2[1..] {
                p = p.madd(r, Self::splat(*coefficient));
            }
            _mm512_scalef_ps(p, n)
        }
    }
    #[inline(always)]
    fn total(self) -> f32 {
        // SAFETY: the processor has the instruction, which touches registers alone.
        unsafe { _mm512_reduce_add_ps(self) }
    }
    #[inline(always)]
    fn transpose(rows: &mut [Self; LANES]) {
        // SAFETY: the processor has the instructions, which touch registers alone.
        unsafe {
            // Quarters of four rows become four columns each.
            for rows in rows.as_chunks_mut::<4>().0 {
                let [a, b, c, d] = *rows;
                let (ab, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (cd, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                *rows = [
                    _mm512_shuffle_ps::<0x44>(ab, cd),
                    _mm512_shuffle_ps::<0xee>(ab, cd),
                    _mm512_shuffle_ps::<0x44>(ab_high, cd_high),
                    _mm512_shuffle_ps::<0xee>(ab_high, cd_high),
                ];
            }
            // Then quarters are gathered across rows.
            for j in 0..4 {
                let [a, b, c, d] = [rows[j], rows[4 + j], rows[8 + j], rows[12 + j]];
                let (ab, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (cd, cd_odd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                rows[j] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
                rows[8 + j] = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
                rows[4 + j] = _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd);
                rows[12 + j] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd);
            }
        }
    }
    #[inline(always)]
    fn fetch(lanes: &Lanes) {
        // SAFETY: the processor has the instruction, a hint that may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(lanes.as_ptr().cast()) }
    }
}
