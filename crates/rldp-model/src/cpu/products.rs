//! Products with frozen matrices, in the chosen precision.
//!
//! The matrices stay in the mapped file. In f32, one stored in f16 or bf16 is widened a piece at a time. In bf16, a matrix is
//! rounded and laid out in tiles: of a model that is small enough, once for each orientation, and kept; of a larger one, a
//! piece at a time. Scratch fits the second-level cache, and its making is shared by all rows of a micro-batch.

use std::{ops::Range, sync::OnceLock};

use crate::{
    TensorView,
    kernels::{
        bf16,
        gemm::{self, View},
    },
};

/// Floats of the scratch buffer: 2 MiB.
const PIECE: usize = 512 * 1024;

/// A matrix laid out in tiles, as the right operand of the product with it and with its transpose; each when it is first
/// needed.
pub(crate) type KeptTiles = [OnceLock<bf16::Kept>; 2];

/// Some rows of a stored matrix (rows, width).
#[derive(Clone)]
pub(crate) struct Frozen<'a> {
    pub(crate) stored: TensorView<'a>,
    pub(crate) rows: Range<usize>,
    /// Whether the product is with the transpose.
    pub(crate) transposed: bool,
    /// Where the whole matrix is kept in tiles, if it may be.
    pub(crate) kept: Option<&'a KeptTiles>,
}

/// One core's means to multiply: the kernel, and buffers that are reused from product to product.
#[derive(Debug, Default)]
pub(crate) struct Products {
    kernel: Option<bf16::Kernel>,
    scratch: bf16::Scratch,
    wide: gemm::Scratch,
    piece: Vec<f32>,
}

impl Products {
    pub(crate) fn new(kernel: Option<bf16::Kernel>) -> Self {
        Self { kernel, ..Self::default() }
    }

    /// out = x · matrix, or · its transpose, for `rows` rows of x and out, `stride`s apart; adds to what is there with
    /// `accumulate`.
    pub(crate) fn put(
        &mut self,
        rows: usize,
        (x, x_stride): (&[f32], usize),
        matrix: &Frozen,
        (out, stride): (&mut [f32], usize),
        accumulate: bool,
    ) {
        let Frozen { stored, rows: used, transposed, kept } = matrix.clone();
        let width = stored.shape()[1];
        if let Some(kernel) = self.kernel {
            let (k, n) = if transposed { (width, used.len()) } else { (used.len(), width) };
            let matrix = kept_tiles(stored, &used, transposed, kept);
            bf16::product(kernel, (rows, k, n), (x, x_stride), matrix, &mut self.scratch, (out, stride), accumulate);
            return;
        }
        let Self { piece: scratch, wide, .. } = self;
        for_pieces(matrix, scratch, |first, count, piece| {
            if transposed {
                let weights = View::rows(piece, width).transposed();
                let out = (&mut out[first..], stride);
                gemm::product((rows, width, count), (x, x_stride), weights, wide, out, accumulate);
            } else {
                let (weights, x) = (View::rows(piece, width), (&x[first..], x_stride));
                gemm::product((rows, count, width), x, weights, wide, (out, stride), accumulate || first > 0);
            }
        });
    }
}

/// The right operand in bf16.
fn kept_tiles<'a>(
    stored: TensorView<'a>,
    used: &Range<usize>,
    transposed: bool,
    kept: Option<&'a KeptTiles>,
) -> bf16::Right<'a> {
    let Some(kept) = kept else { return bf16::Right::Stored(bf16::Matrix { stored, first: used.start, transposed }) };
    let (rows, width) = (stored.shape()[0], stored.shape()[1]);
    let matrix = kept[usize::from(transposed)].get_or_init(|| {
        let whole = bf16::Matrix { stored, first: 0, transposed };
        bf16::Kept::new(whole, if transposed { (width, rows) } else { (rows, width) })
    });
    let (row, column) = if transposed { (0, used.start) } else { (used.start, 0) };
    bf16::Right::Kept { matrix, row, column }
}

/// Calls `apply(first row of those used, rows, f32 values)`: at once when the matrix is f32, else piece by piece.
fn for_pieces(matrix: &Frozen, scratch: &mut Vec<f32>, mut apply: impl FnMut(usize, usize, &[f32])) {
    let Frozen { stored, rows, .. } = matrix;
    let width = stored.shape()[1];
    if let Some(values) = stored.as_f32() {
        return apply(0, rows.len(), &values[rows.start * width..rows.end * width]);
    }
    let at_once = (PIECE / width).max(1);
    scratch.resize(scratch.len().max(at_once.min(rows.len()) * width), 0.0);
    for first in (0..rows.len()).step_by(at_once) {
        let count = at_once.min(rows.len() - first);
        let piece = &mut scratch[..count * width];
        stored.range_to_f32((rows.start + first) * width, piece);
        apply(first, count, piece);
    }
}
