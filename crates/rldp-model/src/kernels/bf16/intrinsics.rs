//! The instructions behind the bf16 products; all that is unsafe about them is here.
//!
//! Every function below is reached through `product`, which has established that the processor has AVX512-BF16 (the tile
//! unit is used on processors that have both).

#![allow(clippy::wildcard_imports, reason = "dozens of instructions")]

use std::{
    arch::{asm, x86_64::*},
    marker::PhantomData,
};

use super::{BLOCK, DEPTH, Kernel, SIDE, Tile};

/// The fastest kernel of this processor; asks the operating system for the tile registers on the way.
pub(super) fn fastest_on_this_processor() -> Option<Kernel> {
    let vectors = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16");
    match vectors {
        true if tiles_exist() && tiles_permitted() => Some(Kernel::Amx),
        true => Some(Kernel::Avx512),
        false => None,
    }
}

/// Whether processor and operating system know tiles of bf16.
fn tiles_exist() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const TILE_STATE: u64 = 0b11 << 17;
    // SAFETY: every processor of this kind has the instruction.
    #[allow(unused_unsafe, reason = "the oldest supported compiler asks for it")]
    let leaf = |leaf: u32| unsafe { __cpuid_count(leaf, 0) };
    if leaf(0).eax < 7 || leaf(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let features = leaf(7).edx;
    let (low, high): (u32, u32);
    // SAFETY: OSXSAVE says that user code may read the mask of enabled states.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    let enabled = u64::from(high) << 32 | u64::from(low);
    features & AMX_BF16 != 0 && features & AMX_TILE != 0 && enabled & TILE_STATE == TILE_STATE
}

/// Linux saves tile registers only for processes that ask for them.
#[cfg(target_os = "linux")]
fn tiles_permitted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let result: isize;
    // SAFETY: the call takes two numbers, touches no memory of ours, and only widens what is saved for this process.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn tiles_permitted() -> bool {
    false
}

/// The running thread's use of a kernel; holds the thread's tile configuration.
pub(super) struct Unit {
    kernel: Kernel,
    accumulate: bool,
    /// The configuration belongs to the thread.
    thread: PhantomData<*const ()>,
}

#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Unit {
    /// Configures all eight tiles as 16 rows of 64 bytes. `product` has checked that the processor has the kernel.
    pub(super) fn new(kernel: Kernel) -> Self {
        if kernel == Kernel::Amx {
            let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
            row_bytes[..8].fill(64);
            rows[..8].fill(SIDE as u8);
            let configuration = Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows };
            // SAFETY: the processor has tiles and the process may use them; the configuration is a valid one of 64 bytes.
            unsafe {
                asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(readonly, nostack, preserves_flags));
            }
        }
        Self { kernel, accumulate: true, thread: PhantomData }
    }

    /// Whether blocks are added to what is there, or replace it.
    pub(super) fn set_accumulate(&mut self, accumulate: bool) {
        self.accumulate = accumulate;
    }

    /// out (32, 32) = or += a · b, with two panels of each operand, one above or beside the other; rows of out are `stride`
    /// floats apart.
    pub(super) fn block(&self, a: [&[Tile]; 2], b: [&[Tile]; 2], out: &mut [f32], stride: usize) {
        let depth = a[0].len();
        assert!(depth > 0 && a[1].len() == depth && b.iter().all(|b| b.len() == depth), "panels of different depth");
        assert!(stride >= BLOCK && out.len() >= (BLOCK - 1) * stride + BLOCK, "the block does not fit the output");
        match self.kernel {
            // SAFETY: the tiles are configured for this thread, and the assertions bound every address.
            Kernel::Amx => unsafe {
                if self.accumulate {
                    load_tiles(out.as_ptr(), stride);
                } else {
                    zero_tiles();
                }
                add_tiles(a, b, depth, out.as_mut_ptr(), stride);
            },
            Kernel::Avx512 => {
                for row in (0..BLOCK).step_by(ROWS) {
                    let out = &mut out[row * stride..];
                    // SAFETY: `product` has checked the processor's features.
                    unsafe { add_vectors(a[row / SIDE], row % SIDE, b, out, stride, self.accumulate) };
                }
            }
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if self.kernel == Kernel::Amx {
            // SAFETY: the processor has tiles; nothing is kept in them.
            unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
        }
    }
}

/// # Safety
/// The thread's tiles are configured, and out holds 32 rows of 32 floats.
unsafe fn load_tiles(out: *const f32, stride: usize) {
    // SAFETY: by the contract all rows are inside the buffer.
    unsafe {
        asm!(
            "tileloadd tmm0, [{c0} + {stride}]",
            "tileloadd tmm1, [{c0} + {stride} + 64]",
            "tileloadd tmm2, [{c1} + {stride}]",
            "tileloadd tmm3, [{c1} + {stride} + 64]",
            c0 = in(reg) out,
            c1 = in(reg) out.add(SIDE * stride),
            stride = in(reg) 4 * stride,
            options(readonly, nostack, preserves_flags),
        );
    }
}

/// # Safety
/// The thread's tiles are configured.
unsafe fn zero_tiles() {
    // SAFETY: by the contract.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nomem, nostack, preserves_flags),
        );
    }
}

/// Adds to tiles 0 to 3, and stores them.
///
/// # Safety
/// The thread's tiles are configured, every panel has `depth` > 0 tiles, and out holds 32 rows of 32 floats.
unsafe fn add_tiles(a: [&[Tile]; 2], b: [&[Tile]; 2], depth: usize, out: *mut f32, stride: usize) {
    // SAFETY: by the contract all rows are inside their buffers: 16 rows of 64 bytes for a tile, `stride` floats apart for
    // the output's. No other code uses tile registers, so that none needs to be declared as changed.
    unsafe {
        asm!(
            "2:",
            "tileloadd tmm4, [{a0} + {row}]",
            "tileloadd tmm6, [{b0} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b1} + {row}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1} + {row}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 1024",
            "add {a1}, 1024",
            "add {b0}, 1024",
            "add {b1}, 1024",
            "dec {depth}",
            "jnz 2b",
            "tilestored [{c0} + {stride}], tmm0",
            "tilestored [{c0} + {stride} + 64], tmm1",
            "tilestored [{c1} + {stride}], tmm2",
            "tilestored [{c1} + {stride} + 64], tmm3",
            a0 = inout(reg) a[0].as_ptr() => _,
            a1 = inout(reg) a[1].as_ptr() => _,
            b0 = inout(reg) b[0].as_ptr() => _,
            b1 = inout(reg) b[1].as_ptr() => _,
            depth = inout(reg) depth => _,
            c0 = in(reg) out,
            c1 = in(reg) out.add(SIDE * stride),
            stride = in(reg) 4 * stride,
            row = in(reg) 64_usize,
            options(nostack),
        );
    }
}

/// Rows of the result that are summed at once in vector registers: each value of the left operand is loaded for two
/// vectors of the right one, so that loading keeps pace with multiplying.
const ROWS: usize = 8;

/// out (8, 32) = or += rows `first`.. of the panel a · both panels b.
#[target_feature(enable = "avx512f,avx512bf16")]
fn add_vectors(a: &[Tile], first: usize, b: [&[Tile]; 2], out: &mut [f32], stride: usize, accumulate: bool) {
    // Rows of the output are far apart, and it takes as long to fetch them as to make the sums.
    for row in out.chunks(stride).take(ROWS) {
        // SAFETY: fetching is a hint and may name any address.
        #[allow(unused_unsafe, reason = "the oldest supported compiler asks for it")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(row.as_ptr().cast());
            _mm_prefetch::<_MM_HINT_T0>(row.as_ptr().wrapping_add(SIDE).cast());
        }
    }
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for (a, (left, right)) in a.iter().zip(b[0].iter().zip(b[1])) {
        let rows: &[[u32; SIDE]; ROWS] = a.0[first..first + ROWS].try_into().expect("eight rows");
        for pair in 0..SIDE {
            let columns = [as_pairs(load(&left.0[pair])), as_pairs(load(&right.0[pair]))];
            for (sums, row) in sums.iter_mut().zip(rows) {
                let value = as_pairs(_mm512_set1_epi32(row[pair].cast_signed()));
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_dpbf16_ps(*sum, value, columns);
                }
            }
        }
    }
    // Every index is known to the compiler, or it keeps the sums in memory and copies them from there.
    for row in 0..ROWS {
        let out: &mut [f32; BLOCK] = out[row * stride..].first_chunk_mut().expect("the output holds the block");
        for half in 0..2 {
            let sum = sums[row][half];
            // SAFETY: 16 floats are a vector, and a row of the block is two.
            unsafe {
                let out = out.as_mut_ptr().add(half * SIDE);
                let sum = if accumulate { _mm512_add_ps(_mm512_loadu_ps(out), sum) } else { sum };
                _mm512_storeu_ps(out, sum);
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(words: &[u32; SIDE]) -> __m512i {
    // SAFETY: 16 words are 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(words: &mut [u32; SIDE], values: __m512i) {
    // SAFETY: 16 words are 64 bytes.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), values) };
}

#[inline]
fn as_pairs(words: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of plain numbers.
    unsafe { std::mem::transmute(words) }
}

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
    let mut padded = [0.0; DEPTH];
    padded[..values.len()].copy_from_slice(values);
    round_32(&padded)
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
