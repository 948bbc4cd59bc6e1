//! Matrix products in f32.
//!
//! A row of the result is summed in the same order whatever other rows are there, how many they are, and where among them it
//! stands: depth is divided by the depth alone, and within a part every row adds one product after another. What a unit's rows
//! become therefore depends on that unit alone, which no general library promises.

use super::{
    Level, level,
    vector::{LANES, Lanes, Portable, Vector},
};

/// Depth that is summed at once, at most: the rows of a tile stay in the first cache.
const DEEPEST: usize = 512;
/// Panels of the right operand that are laid out at once: they stay in the second cache while all rows pass them.
const PANELS: usize = 12;
/// Distance of rows of a tile: not a multiple of a page, whose rows would push each other out of the first cache.
const APART: usize = DEEPEST + LANES;
/// Rows of the left operand that are taken together where fewer are left than a tile has.
const FEW: usize = 4;

/// A read-only matrix: rows one after another, `stride` apart, or the transpose of that.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    stride: usize,
    transposed: bool,
}

impl<'a> View<'a> {
    /// Rows one after another, `stride` apart.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, stride, transposed: false }
    }

    /// The transpose.
    pub(crate) fn transposed(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// Part of a stored row.
    #[inline(always)]
    fn part(&self, row: usize, from: usize, to: usize) -> &'a [f32] {
        &self.data[row * self.stride..][from..to]
    }
}

/// A part of the right operand that is laid out at once, in panels N vectors wide.
#[derive(Clone, Copy)]
struct Part {
    from: usize,
    to: usize,
    first: usize,
    last: usize,
}

impl Part {
    /// Whether a panel of one vector holds its columns.
    #[inline(always)]
    fn narrow(&self) -> bool {
        self.last - self.first <= LANES
    }

    /// The panels.
    #[inline(always)]
    fn panels<const N: usize>(self) -> impl Iterator<Item = Self> {
        (self.first..self.last).step_by(N * LANES).map(move |first| Self {
            first,
            last: self.last.min(first + N * LANES),
            ..self
        })
    }

    /// Stored rows, and lines of each.
    #[inline(always)]
    fn lines(&self, transposed: bool) -> (usize, usize) {
        let (depth, width) = (self.to - self.from, self.last - self.first);
        if transposed { (width, depth.div_ceil(LANES)) } else { (depth, width.div_ceil(LANES)) }
    }

    /// Fetches some lines, counted row after row.
    #[inline(always)]
    fn fetch<V: Vector>(&self, view: &View, lines: std::ops::Range<usize>) {
        let (rows, of_row) = self.lines(view.transposed);
        let (top, left) = if view.transposed { (self.first, self.from) } else { (self.from, self.first) };
        let (mut row, mut line) = (lines.start / of_row, lines.start % of_row);
        for _ in lines {
            if row == rows {
                return;
            }
            if let Some(lanes) =
                view.data.get((top + row) * view.stride + left + line * LANES..).and_then(<[f32]>::first_chunk)
            {
                V::fetch(lanes);
            }
            line += 1;
            if line == of_row {
                (row, line) = (row + 1, 0);
            }
        }
    }
}

/// A vector that begins where a line of the caches does: others are read from two lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line(Lanes);

/// Buffers of the products, reused from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Some columns of the rows of a tile.
    left: Vec<[f32; APART]>,
    /// Part of some columns of the right operand, row by row.
    panel: Vec<Line>,
}

/// out (m, n) = x (m, k) · right (k, n), or += with `accumulate`; rows of x and of out are `stride`s apart.
///
/// # Panics
/// When a buffer is smaller than its shape says.
pub(crate) fn product(
    shape: (usize, usize, usize),
    x: (&[f32], usize),
    right: View,
    scratch: &mut Scratch,
    out: (&mut [f32], usize),
    accumulate: bool,
) {
    #[cfg(target_arch = "x86_64")]
    {
        type Shape = (usize, usize, usize);
        #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
        fn v4(s: Shape, x: (&[f32], usize), r: View, scratch: &mut Scratch, out: (&mut [f32], usize), add: bool) {
            product_body::<std::arch::x86_64::__m512, 12, 2>(s, x, r, scratch, out, add);
        }
        #[target_feature(enable = "avx2,fma")]
        fn v3(s: Shape, x: (&[f32], usize), r: View, scratch: &mut Scratch, out: (&mut [f32], usize), add: bool) {
            product_body::<Portable<true>, 6, 1>(s, x, r, scratch, out, add);
        }
        match level() {
            // SAFETY: `level` found these features on this processor.
            Level::V4 => return unsafe { v4(shape, x, right, scratch, out, accumulate) },
            // SAFETY: as above.
            Level::V3 => return unsafe { v3(shape, x, right, scratch, out, accumulate) },
            Level::Any => {}
        }
    }
    product_body::<Portable<false>, FEW, 1>(shape, x, right, scratch, out, accumulate);
}

/// The body for tiles of R rows and N vectors of columns, whose sums stay in registers.
#[inline(always)]
fn product_body<V: Vector, const R: usize, const N: usize>(
    (m, k, n): (usize, usize, usize),
    (x, x_stride): (&[f32], usize),
    right: View,
    scratch: &mut Scratch,
    (out, stride): (&mut [f32], usize),
    accumulate: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(stride >= n && (m - 1) * stride + n <= out.len(), "the output is smaller than ({m}, {n})");
    if k == 0 {
        let rows = if accumulate { 0 } else { m };
        return out.chunks_mut(stride).take(rows).for_each(|row| row[..n].fill(0.0));
    }
    let deep = k.div_ceil(k.div_ceil(DEEPEST));
    for from in (0..k).step_by(deep) {
        let to = k.min(from + deep);
        let Scratch { left, panel } = &mut *scratch;
        left.resize(R, [0.0; APART]);
        let width = PANELS * N * LANES;
        let part = |first: usize| Part { from, to, first, last: n.min(first + width) };
        for first in (0..n).step_by(width) {
            let now = part(first);
            // Memory is far: while this part is multiplied, the next one comes near.
            let next = Some(now.last).filter(|last| *last < n).map(|last| (right, part(last)));
            panel.resize((to - from) * N * PANELS, Line([0.0; LANES]));
            for (part, panel) in now.panels::<N>().zip(panel.chunks_exact_mut((to - from) * N)) {
                if part.narrow() {
                    pack_right::<V, 1>(right, part, &mut panel[..to - from]);
                } else {
                    pack_right::<V, N>(right, part, panel);
                }
            }
            multiply::<V, R, N>(
                m,
                (x, x_stride),
                left,
                (now, panel),
                next,
                (&mut out[first..], stride),
                accumulate || from > 0,
            );
        }
    }
}

/// The rows of every block: R each, then [`FEW`], then one.
#[inline(always)]
fn blocks<const R: usize>(rows: usize) -> [(std::ops::Range<usize>, usize); 3] {
    let (whole, some) = (rows / R * R, rows / R * R + rows % R / FEW * FEW);
    [(0..whole, R), (whole..some, FEW), (some..rows, 1)]
}

/// A part of the left operand.
struct Rows {
    first: usize,
    last: usize,
    from: usize,
    to: usize,
}

impl Rows {
    /// Fetches one of [`PANELS`] shares of the rows' lines.
    #[inline(always)]
    fn fetch<V: Vector>(&self, (x, stride): (&[f32], usize), share: usize) {
        for row in self.first..self.last {
            let lines = (self.to - self.from).div_ceil(LANES);
            for line in share * lines / PANELS..(share + 1) * lines / PANELS {
                if let Some(lanes) = x.get(row * stride + self.from + line * LANES..).and_then(<[f32]>::first_chunk) {
                    V::fetch(lanes);
                }
            }
        }
    }
}

/// Copies columns of some rows of the left operand to where all rows are equally far apart: the processor finds them from one address.
#[inline(always)]
fn copy_left((x, stride): (&[f32], usize), (from, to): (usize, usize), out: &mut [[f32; APART]]) {
    for (row, out) in out.iter_mut().enumerate() {
        out[..to - from].copy_from_slice(&x[row * stride..][from..to]);
    }
}

/// Lays out a panel of the right operand, N vectors wide; columns beyond the last are zero.
#[inline(always)]
fn pack_right<V: Vector, const N: usize>(right: View, Part { from, to, first, last }: Part, out: &mut [Line]) {
    let (rows, _) = out.as_chunks_mut::<N>();
    if !right.transposed {
        for (row, out) in (from..to).zip(rows) {
            let part = right.part(row, first, last);
            for (vector, out) in out.iter_mut().enumerate() {
                let at = (vector * LANES).min(part.len());
                V::load_some(&part[at..(at + LANES).min(part.len())]).store(&mut out.0);
            }
        }
        return;
    }
    for (block, rows) in rows.chunks_mut(LANES).enumerate() {
        let at = from + block * LANES;
        for vector in 0..N {
            let mut square = [V::zero(); LANES];
            let column = first + vector * LANES;
            for (i, square) in square.iter_mut().enumerate().take(last.saturating_sub(column)) {
                *square = V::load_some(right.part(column + i, at, at + rows.len()));
            }
            V::transpose(&mut square);
            for (square, row) in square.into_iter().zip(&mut *rows) {
                square.store(&mut row[vector].0);
            }
        }
    }
}

/// Columns of the result, from the left operand's part and the panels of these columns. Rows of a tile pass all panels in turn.
#[inline(always)]
fn multiply<V: Vector, const R: usize, const N: usize>(
    m: usize,
    (x, x_stride): (&[f32], usize),
    left: &mut [[f32; APART]],
    (part, panels): (Part, &[Line]),
    next: Option<(View, Part)>,
    (out, stride): (&mut [f32], usize),
    accumulate: bool,
) {
    let a_row = next.map_or(0, |(view, part)| {
        let (rows, of_row) = part.lines(view.transposed);
        (rows * of_row).div_ceil(m)
    });
    for (rows, side) in blocks::<R>(m) {
        for row in rows.step_by(side) {
            copy_left((&x[row * x_stride..], x_stride), (part.from, part.to), &mut left[..side]);
            let after = Rows { first: row + side, last: m.min(row + side + R), from: part.from, to: part.to };
            for (turn, (now, panel)) in
                part.panels::<N>().zip(panels.chunks_exact((part.to - part.from) * N)).enumerate()
            {
                after.fetch::<V>((x, x_stride), turn);
                if let Some((view, next)) = &next {
                    let line = |turn: usize| row * a_row + side * a_row * turn / PANELS;
                    next.fetch::<V>(view, line(turn)..line(turn + 1));
                }
                let out = (&mut out[row * stride + now.first - part.first..], stride, now.last - now.first);
                if now.narrow() {
                    rows_of::<V, R, 1>(side, left, &panel[..part.to - part.from], out, accumulate);
                } else {
                    rows_of::<V, R, N>(side, left, panel, out, accumulate);
                }
            }
        }
    }
}

/// `side` rows of some columns of the result.
#[inline(always)]
fn rows_of<V: Vector, const R: usize, const N: usize>(
    side: usize,
    left: &[[f32; APART]],
    panel: &[Line],
    out: (&mut [f32], usize, usize),
    accumulate: bool,
) {
    let (panel, _) = panel.as_chunks::<N>();
    if side == R {
        tile::<V, R, N>(left, panel, out, accumulate);
    } else if side == FEW {
        tile::<V, FEW, N>(left, panel, out, accumulate);
    } else {
        tile::<V, 1, N>(left, panel, out, accumulate);
    }
}

/// R rows of some columns of the result.
#[inline(always)]
fn tile<V: Vector, const R: usize, const N: usize>(
    left: &[[f32; APART]],
    panel: &[[Line; N]],
    (out, stride, columns): (&mut [f32], usize, usize),
    accumulate: bool,
) {
    for row in out.chunks(stride).take(R) {
        for lanes in row.as_chunks().0.iter().take(N) {
            V::fetch(lanes);
        }
    }
    let mut sums = [[V::zero(); N]; R];
    let left: &[[f32; APART]; R] = left.first_chunk().expect("a tile has its rows");
    for (l, right) in panel.iter().enumerate().take(APART) {
        let mut columns = [V::zero(); N];
        for n in 0..N {
            columns[n] = V::load(&right[n].0);
        }
        for r in 0..R {
            let x = V::splat(left[r][l]);
            for n in 0..N {
                sums[r][n] = x.madd(columns[n], sums[r][n]);
            }
        }
    }
    for (row, sums) in out.chunks_mut(stride).zip(sums) {
        // Masked stores are slow on some processors, and only edges need them.
        if columns == N * LANES {
            for (out, sum) in row.as_chunks_mut().0.iter_mut().zip(sums) {
                (if accumulate { V::load(out).add(sum) } else { sum }).store(out);
            }
        } else {
            for (out, sum) in row[..columns].chunks_mut(LANES).zip(sums) {
                (if accumulate { V::load_some(out).add(sum) } else { sum }).store_some(out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
