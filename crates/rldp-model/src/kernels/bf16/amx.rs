//! The tile unit.

use std::arch::{asm, x86_64::__cpuid_count};

use super::{SIDE, Tile};

/// Whether processor and operating system know tiles of bf16.
pub(super) fn exists() -> bool {
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
pub(super) fn permitted() -> bool {
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
pub(super) fn permitted() -> bool {
    false
}

#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Configures all eight tiles as 16 rows of 64 bytes.
///
/// # Safety
/// The processor has tiles and the process may use them.
pub(super) unsafe fn configure() {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    row_bytes[..8].fill(64);
    rows[..8].fill(SIDE as u8);
    let configuration = Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows };
    // SAFETY: by the contract; the configuration is a valid one of 64 bytes.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(readonly, nostack, preserves_flags));
    }
}

/// Gives the tiles back.
///
/// # Safety
/// The processor has tiles, and nothing in them is wanted.
pub(super) unsafe fn release() {
    // SAFETY: by the contract.
    unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
}

/// # Safety
/// The thread's tiles are configured, and out holds 32 rows of 32 floats.
pub(super) unsafe fn load_tiles(out: *const f32, stride: usize) {
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
pub(super) unsafe fn zero_tiles() {
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
pub(super) unsafe fn add_tiles(a: [&[Tile]; 2], b: [&[Tile]; 2], depth: usize, out: *mut f32, stride: usize) {
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
