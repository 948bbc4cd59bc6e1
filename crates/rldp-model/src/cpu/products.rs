//! Products with frozen matrices, in the chosen precision.
//!
//! The matrices stay in the mapped file. In f32, one stored in f16 or bf16 is widened a piece at a time; in bf16, a piece of
//! any stored precision is rounded and laid out in tiles. Either scratch fits the second-level cache, so that the base
//! model is never copied as a whole, and the work is shared by all rows of a micro-batch.

use std::ops::Range;

use super::Precision;
use crate::{
    TensorView,
    kernels::{
        bf16,
        gemm::{View, matmul},
    },
};

/// Floats of the scratch buffer: 2 MiB.
const PIECE: usize = 512 * 1024;

/// Some rows of a stored matrix (rows, width).
#[derive(Clone)]
pub(crate) struct Frozen<'a> {
    pub(crate) stored: TensorView<'a>,
    pub(crate) rows: Range<usize>,
    /// Whether the product is with the transpose.
    pub(crate) transposed: bool,
}

/// One core's means to multiply: the kernel, and buffers that are reused from product to product.
#[derive(Debug, Default)]
pub(crate) struct Products {
    kernel: Option<bf16::Kernel>,
    scratch: bf16::Scratch,
    piece: Vec<f32>,
}

impl Products {
    pub(crate) fn new(precision: Precision) -> Self {
        let kernel = if precision == Precision::Bf16 { bf16::fastest() } else { None };
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
        let Frozen { stored, rows: used, transposed } = matrix.clone();
        let width = stored.shape()[1];
        if let Some(kernel) = self.kernel {
            let (k, n) = if transposed { (width, used.len()) } else { (used.len(), width) };
            let matrix = bf16::Matrix { stored, first: used.start, transposed };
            bf16::product(kernel, (rows, k, n), (x, x_stride), matrix, &mut self.scratch, (out, stride), accumulate);
            return;
        }
        for_pieces(matrix, &mut self.piece, |first, count, piece| {
            if transposed {
                let (x, weights) = (View::rows(x, x_stride), View::rows(piece, width).transposed());
                matmul((rows, width, count), x, weights, &mut out[first..], stride, accumulate);
            } else {
                let (x, weights) = (View::rows(&x[first..], x_stride), View::rows(piece, width));
                matmul((rows, count, width), x, weights, out, stride, accumulate || first > 0);
            }
        });
    }
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
