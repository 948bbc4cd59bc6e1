//! Matrix products of operands rounded to bf16, summed in f32: on the tile unit (AMX), or by AVX-512's pairwise products.
//!
//! Both operands are laid out in tiles of 1 KiB first. A tile of the left one holds 16 rows of 32 consecutive values; a tile
//! of the right one holds, for each of 16 pairs of consecutive rows, the pairs of 16 columns. Edges are filled with zeros.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod emulator;
mod pack;
mod right;
#[cfg(target_arch = "x86_64")]
mod rounding;
#[cfg(target_arch = "x86_64")]
mod unit;
#[cfg(target_arch = "x86_64")]
mod vectors;

use std::ops::Range;

pub(crate) use pack::{Left, Matrix};
pub(crate) use right::{Kept, Right};
#[cfg(target_arch = "x86_64")]
use unit::{Unit, fastest_on_this_processor};

/// Rows or columns of a tile of the result.
const SIDE: usize = 16;
/// Depth of a tile: 16 pairs.
const DEPTH: usize = 32;
/// Rows and columns of the result that are summed at once: two tiles by two.
const BLOCK: usize = 2 * SIDE;
/// Tiles of depth that are summed at once: two panels of the left operand, 32 KiB, stay in the first cache.
const DEEPEST: usize = 16;
/// Columns that are packed at once: 512 KiB of tiles stay in the second cache.
pub(crate) const WIDEST: usize = 512;

/// 16 × 16 pairs of bf16 values; the first value of a pair is the lower half.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Tile([[u32; SIDE]; SIDE]);

impl Tile {
    const ZERO: Self = Self([[0; SIDE]; SIDE]);
}

/// Instructions that multiply bf16 pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// AMX-BF16, on tile registers.
    Amx,
    /// AVX512-BF16, on vector registers.
    Avx512,
}

/// The fastest that this processor and operating system have.
#[cfg(target_arch = "x86_64")]
pub(crate) fn fastest() -> Option<Kernel> {
    static FASTEST: std::sync::OnceLock<Option<Kernel>> = std::sync::OnceLock::new();
    *FASTEST.get_or_init(fastest_on_this_processor)
}

/// The fastest that this processor and operating system have.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn fastest() -> Option<Kernel> {
    None
}

/// Whether this processor has the instructions of a kernel.
fn usable(kernel: Kernel) -> bool {
    #[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
    if kernel == Kernel::Amx && emulator::installed() {
        return true;
    }
    fastest().is_some_and(|best| best == kernel || best == Kernel::Amx)
}

/// Kernels of this processor, and the tile kernel in emulation where it is none of them; empty, with a word, where there are
/// none.
#[cfg(test)]
pub(crate) fn kernels() -> Vec<Kernel> {
    match fastest() {
        Some(Kernel::Amx) => vec![Kernel::Amx, Kernel::Avx512],
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        Some(Kernel::Avx512) if emulator::install() => vec![Kernel::Amx, Kernel::Avx512],
        Some(Kernel::Avx512) => vec![Kernel::Avx512],
        None => {
            eprintln!("skipped: this processor multiplies no bf16");
            Vec::new()
        }
    }
}

/// Buffers of the products, reused from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    left: Left,
    right: Vec<Tile>,
}

/// out (m, n) = x (m, k) · matrix (k, n), operands rounded to bf16; rows of x and of out are `stride`s apart. Adds to what is
/// there with `accumulate`.
///
/// # Panics
/// When a buffer is smaller than its shape says, or the processor lacks the kernel.
pub(crate) fn product(
    kernel: Kernel,
    (m, k, n): (usize, usize, usize),
    (x, x_stride): (&[f32], usize),
    matrix: Right,
    scratch: &mut Scratch,
    (out, stride): (&mut [f32], usize),
    accumulate: bool,
) {
    assert!(usable(kernel), "the processor lacks {kernel:?}");
    if m == 0 || n == 0 {
        return;
    }
    assert!(stride >= n && (m - 1) * stride + n <= out.len(), "the output is smaller than ({m}, {n})");
    if k == 0 {
        let rows = if accumulate { 0 } else { m };
        out.chunks_mut(stride).take(rows).for_each(|row| row[..n].fill(0.0));
        return;
    }
    let Scratch { left, right } = scratch;
    left.pack(x, x_stride, (m, k));
    let (depth, deep) = (k.div_ceil(DEPTH), matrix.part_depth((k, n)));
    let mut unit = Unit::new(kernel);
    for from in (0..depth).step_by(deep) {
        let tiles = from..(from + deep).min(depth);
        unit.set_accumulate(accumulate || from > 0);
        for first in (0..n).step_by(WIDEST) {
            let columns = first..(first + WIDEST).min(n);
            let right = matrix.tiles(k, &tiles, &columns, right);
            let pairs = (k - from * DEPTH).div_ceil(2).min(tiles.len() * DEPTH / 2);
            multiply(&unit, left, (&tiles, pairs), right, (m, columns.len()), (&mut out[first..], stride));
        }
    }
}

/// out (m, n) = the given tiles of depth of `left`, of which `pairs` pairs count, · `right`, or += as the unit is set.
fn multiply(
    unit: &Unit,
    left: &Left,
    (tiles, pairs): (&Range<usize>, usize),
    right: &[Tile],
    (m, n): (usize, usize),
    (out, stride): (&mut [f32], usize),
) {
    let deep = tiles.len();
    for row in (0..m).step_by(BLOCK) {
        let a = [0, 1].map(|i| left.panel(row / SIDE + i, tiles));
        for column in (0..n).step_by(BLOCK) {
            let b = [0, 1].map(|i| &right[(column / SIDE + i) * deep..][..deep]);
            let shape = ((m - row).min(BLOCK), (n - column).min(BLOCK));
            unit.block(a, b, pairs, shape, (&mut out[row * stride + column..], stride));
        }
    }
}

/// Blocks that [`hot`] multiplies.
const HOT: usize = 100;

/// Operations of [`hot`].
pub(crate) fn hot_flops() -> usize {
    HOT * 2 * BLOCK * BLOCK * DEEPEST * DEPTH
}

/// Multiplies the same block over and over, for a measure of the unit itself.
pub(crate) fn hot(kernel: Kernel) {
    assert!(usable(kernel), "the processor lacks {kernel:?}");
    let panels = vec![Tile::ZERO; 4 * DEEPEST];
    let panel = |i: usize| &panels[i * DEEPEST..][..DEEPEST];
    let mut out = [0.0; BLOCK * BLOCK];
    let unit = Unit::new(kernel);
    for _ in 0..HOT {
        let (a, b) = ([panel(0), panel(1)], [panel(2), panel(3)]);
        unit.block(a, b, DEEPEST * SIDE, (BLOCK, BLOCK), (&mut out, BLOCK));
    }
}

/// Stands for the unit where there is none.
#[cfg(not(target_arch = "x86_64"))]
struct Unit;

#[cfg(not(target_arch = "x86_64"))]
impl Unit {
    fn new(kernel: Kernel) -> Self {
        unreachable!("no processor of this kind has {kernel:?}")
    }

    fn set_accumulate(&mut self, _: bool) {}

    fn block(&self, _: [&[Tile]; 2], _: [&[Tile]; 2], _: usize, _: (usize, usize), _: (&mut [f32], usize)) {}
}

#[cfg(test)]
mod tests;
