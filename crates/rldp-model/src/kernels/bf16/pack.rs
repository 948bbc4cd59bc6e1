//! Rounding to bf16 and laying out in tiles.

use std::ops::Range;

use super::{BLOCK, DEEPEST, DEPTH, SIDE, Tile, WIDEST};
use crate::{StoredType, TensorView};

/// Values of a row that are rounded at once.
const STRIP: usize = if DEEPEST * DEPTH > WIDEST { DEEPEST * DEPTH } else { WIDEST };

/// Stored rows that are fetched ahead.
const ROWS_AHEAD: usize = 6;

/// Rows of a stored matrix, used as the right operand of a product.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    /// The whole stored matrix, two-dimensional.
    pub(crate) stored: TensorView<'a>,
    /// The first row that is used.
    pub(crate) first: usize,
    /// Whether a stored row is a column of the operand.
    pub(crate) transposed: bool,
}

impl Matrix<'_> {
    /// Rows of the operand that the whole stored matrix makes.
    pub(super) fn depth(&self) -> usize {
        self.stored.shape()[usize::from(self.transposed)]
    }
}

/// The left operand: panels of 16 rows, each of tiles along the depth; an even number of panels.
#[derive(Debug, Default)]
pub(crate) struct Left {
    tiles: Vec<Tile>,
    depth: usize,
}

impl Left {
    /// Lays out x (m, k), whose rows are `stride` apart.
    pub(super) fn pack(&mut self, x: &[f32], stride: usize, (m, k): (usize, usize)) {
        self.depth = k.div_ceil(DEPTH);
        let needed = m.next_multiple_of(BLOCK) / SIDE * self.depth;
        self.tiles.resize(needed, Tile::ZERO);
        // Rows beyond the last are zero.
        let full = m / SIDE * self.depth;
        self.tiles[full..].fill(Tile::ZERO);
        for (row, x) in x.chunks(stride).take(m).enumerate() {
            let panel = &mut self.tiles[row / SIDE * self.depth..][..self.depth];
            round_row(&x[..k], panel, row % SIDE);
        }
    }

    /// Part of the depth of panel `index`.
    pub(super) fn panel(&self, index: usize, tiles: &Range<usize>) -> &[Tile] {
        &self.tiles[index * self.depth..][tiles.clone()]
    }
}

/// Lays out columns of a matrix (k, n) over some tiles of its depth: panels of 16 columns, an even number of them.
pub(super) fn right(matrix: Matrix, k: usize, tiles: Range<usize>, columns: Range<usize>, out: &mut Vec<Tile>) {
    let deep = tiles.len();
    out.resize(columns.len().next_multiple_of(BLOCK) / SIDE * deep, Tile::ZERO);
    let depth = tiles.start * DEPTH..(tiles.end * DEPTH).min(k);
    if matrix.transposed {
        right_of_columns(matrix, depth, columns, deep, out);
    } else {
        right_of_rows(matrix, depth, columns, deep, out);
    }
}

/// Stored rows are columns of the operand: tiles are transposed.
fn right_of_columns(matrix: Matrix, depth: Range<usize>, columns: Range<usize>, deep: usize, out: &mut [Tile]) {
    let mut strips = [[0_u32; STRIP / 2]; SIDE];
    for (panel, tiles) in out.chunks_exact_mut(deep).enumerate() {
        for (i, strip) in strips.iter_mut().enumerate() {
            let column = columns.start + panel * SIDE + i;
            if column < columns.end {
                strip_of(matrix, column, depth.clone(), strip);
            } else {
                strip.fill(0);
            }
        }
        for (index, tile) in tiles.iter_mut().enumerate() {
            transpose(&strips, index * SIDE, &mut tile.0);
        }
    }
}

/// Stored rows are rows of the operand: pairs of rows are interleaved.
fn right_of_rows(matrix: Matrix, depth: Range<usize>, columns: Range<usize>, deep: usize, out: &mut [Tile]) {
    let (mut even, mut odd) = ([0_u32; STRIP / 2], [0_u32; STRIP / 2]);
    for pair in 0..deep * SIDE {
        for (strip, row) in [(&mut even, depth.start + 2 * pair), (&mut odd, depth.start + 2 * pair + 1)] {
            if row < depth.end {
                strip_of(matrix, row, columns.clone(), strip);
            } else {
                strip.fill(0);
            }
        }
        interleave(&even, &odd, &mut out[pair / SIDE..], deep, pair % SIDE);
    }
}

/// Values of a stored row in bf16, two in each word, and zeros up to the end of a tile.
fn strip_of(matrix: Matrix, row: usize, values: Range<usize>, strip: &mut [u32; STRIP / 2]) {
    let width = matrix.stored.shape()[1];
    let range = (matrix.first + row) * width + values.start..(matrix.first + row) * width + values.end;
    if let Some(stored) = matrix.stored.as_f32() {
        round_strip(&stored[range], strip, ROWS_AHEAD * width);
    } else if let (StoredType::Bf16, Some(stored)) = (matrix.stored.dtype(), matrix.stored.as_bf16()) {
        let length = range.len();
        let halves: &mut [u16] = bytemuck::cast_slice_mut(&mut strip[..]);
        halves[..length].copy_from_slice(bytemuck::cast_slice(&stored[range]));
        halves[length..length.next_multiple_of(BLOCK)].fill(0);
    } else {
        let mut wide = [0.0; STRIP];
        let wide = &mut wide[..range.len()];
        matrix.stored.range_to_f32(range.start, wide);
        round_strip(wide, strip, 0);
    }
}

#[cfg(target_arch = "x86_64")]
use super::rounding::{interleave, round_row, round_strip, transpose};

#[cfg(not(target_arch = "x86_64"))]
mod unused {
    //! No processor of this kind has a kernel, so that nothing is ever packed.
    use super::{SIDE, Tile};

    pub(super) fn round_strip(_: &[f32], _: &mut [u32], _: usize) {}
    pub(super) fn round_row(_: &[f32], _: &mut [Tile], _: usize) {}
    pub(super) fn interleave(_: &[u32], _: &[u32], _: &mut [Tile], _: usize, _: usize) {}
    pub(super) fn transpose<const N: usize>(_: &[[u32; N]; SIDE], _: usize, _: &mut [[u32; SIDE]; SIDE]) {}
}
#[cfg(not(target_arch = "x86_64"))]
use unused::{interleave, round_row, round_strip, transpose};
