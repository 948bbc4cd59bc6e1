//! The right operand: laid out piece by piece when it is needed, or whole and kept.

use std::ops::Range;

use super::{BLOCK, DEEPEST, DEPTH, SIDE, Tile, WIDEST, pack, pack::Matrix};

/// A whole matrix (k, n) laid out in tiles: parts of the depth one after another, each of blocks of columns.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    k: usize,
    n: usize,
    tiles: Vec<Tile>,
}

/// The right operand (k, n) of a product.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// In the mapped file.
    Stored(Matrix<'a>),
    /// Rows from `row` and columns from `column` on of a matrix that was kept. Where they begin and end, parts of the depth
    /// and blocks of columns do: at multiples of 512, or at the end.
    Kept {
        /// The whole matrix.
        matrix: &'a Kept,
        /// First row.
        row: usize,
        /// First column.
        column: usize,
    },
}

/// Tiles of depth that are summed at once for an operand of `k` rows: parts of about the same depth when there are two.
pub(super) fn part_depth(k: usize) -> usize {
    let depth = k.div_ceil(DEPTH);
    if depth > 2 * DEEPEST { DEEPEST } else { depth.div_ceil(depth.div_ceil(DEEPEST).max(1)) }
}

impl Kept {
    /// Lays out a stored matrix (k, n).
    pub(crate) fn new(matrix: Matrix, (k, n): (usize, usize)) -> Self {
        let (mut tiles, mut block) = (Vec::new(), Vec::new());
        let depth = k.div_ceil(DEPTH);
        tiles.reserve_exact(depth * n.next_multiple_of(BLOCK) / SIDE);
        for from in (0..depth).step_by(part_depth(k).max(1)) {
            for first in (0..n).step_by(WIDEST) {
                let columns = first..(first + WIDEST).min(n);
                pack::right(matrix, k, from..(from + part_depth(k)).min(depth), columns, &mut block);
                tiles.extend_from_slice(&block);
            }
        }
        Self { k, n, tiles }
    }

    /// Tiles of part of the depth over a block of columns.
    fn block(&self, depth: &Range<usize>, columns: &Range<usize>) -> &[Tile] {
        let panels = self.n.next_multiple_of(BLOCK) / SIDE;
        let start = depth.start * panels + columns.start / SIDE * depth.len();
        &self.tiles[start..][..columns.len().next_multiple_of(BLOCK) / SIDE * depth.len()]
    }
}

impl Right<'_> {
    /// Tiles of depth that are summed at once.
    ///
    /// # Panics
    /// When a kept matrix has no part that begins and ends as wanted.
    pub(super) fn part_depth(&self, (k, n): (usize, usize)) -> usize {
        let (matrix, row, column) = match self {
            // As if the whole were kept: whether it is must change no bit.
            Self::Stored(matrix) => return part_depth(matrix.depth()),
            Self::Kept { matrix, row, column } => (matrix, row, column),
        };
        let part = part_depth(matrix.k);
        let fits = |at: usize, step: usize, end: usize| at == end || at.is_multiple_of(step);
        assert!(
            fits(*row, part * DEPTH, matrix.k)
                && fits(row + k, part * DEPTH, matrix.k)
                && fits(*column, WIDEST, matrix.n)
                && fits(column + n, WIDEST, matrix.n),
            "rows {row} + {k} and columns {column} + {n} are no whole blocks of ({}, {})",
            matrix.k,
            matrix.n
        );
        part
    }

    /// Tiles of some depth over some columns; `scratch` holds them if they are not kept.
    pub(super) fn tiles<'s>(
        &'s self,
        k: usize,
        depth: &Range<usize>,
        columns: &Range<usize>,
        scratch: &'s mut Vec<Tile>,
    ) -> &'s [Tile] {
        match self {
            Self::Stored(matrix) => {
                pack::right(*matrix, k, depth.clone(), columns.clone(), scratch);
                scratch
            }
            Self::Kept { matrix, row, column } => {
                let (down, along) = (row / DEPTH, *column);
                matrix.block(&(depth.start + down..depth.end + down), &(columns.start + along..columns.end + along))
            }
        }
    }
}
