//! The kernels as functions that check their arguments' sizes. Safety rests here: what is launched reads and writes inside the spans.

use crate::{
    DeviceError,
    device::{Argument, Device, Span},
};

use Argument::{At, Float, Int, Long};

/// Threads of a block where nothing asks for more.
pub(crate) const THREADS: usize = 128;

/// Row-major f32 with a distance between rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) at: Span,
    pub(crate) stride: usize,
}

impl Rows {
    /// Rows one after another.
    pub(crate) fn of(at: Span, stride: usize) -> Self {
        Self { at, stride }
    }

    /// From some row on.
    pub(crate) fn from(self, row: usize) -> Self {
        Self { at: self.at.floats_from(row * self.stride), ..self }
    }

    /// From some column on.
    pub(crate) fn columns(self, offset: usize) -> Self {
        Self { at: self.at.floats_from(offset), ..self }
    }

    /// Checks that there are `rows` rows of `width`.
    pub(crate) fn check(self, rows: usize, width: usize) -> Self {
        let floats = if rows == 0 { 0 } else { (rows - 1) * self.stride + width };
        self.at.holding(floats, 4);
        self
    }
}

pub(crate) fn int(value: usize) -> Argument {
    assert!(i32::try_from(value).is_ok(), "{value} does not fit 31 bits");
    Int(value as i32)
}

pub(crate) fn long(value: usize) -> Argument {
    Long(value as i64)
}

/// Attention's sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadSizes {
    pub(crate) heads: usize,
    pub(crate) shared: usize,
    pub(crate) dim: usize,
    pub(crate) window: Option<usize>,
}

impl HeadSizes {
    /// Width of a row of queries, keys and values.
    pub(crate) fn fused(&self) -> usize {
        (self.heads + 2 * self.shared) * self.dim
    }

    /// Width of the queries and keys.
    pub(crate) fn turned(&self) -> usize {
        (self.heads + self.shared) * self.dim
    }

    /// Width of the output.
    pub(crate) fn out(&self) -> usize {
        self.heads * self.dim
    }

    fn arguments(&self, fused: Span) -> [Argument; 7] {
        let window = self.window.map_or(i32::MAX, |window| window.min(i32::MAX as usize) as i32);
        let scale = 1.0 / (self.dim as f32).sqrt();
        [At(fused), long(self.fused()), int(self.heads), int(self.shared), int(self.dim), Int(window), Float(scale)]
    }

    /// The kernel for heads of this size.
    fn kernel(&self, names: [&'static str; 3]) -> &'static str {
        match self.dim {
            0..=64 => names[0],
            65..=128 => names[1],
            _ => names[2],
        }
    }
}

/// A device with the kernels as methods.
#[derive(Clone, Copy)]
pub(crate) struct Ops<'a>(pub(crate) &'a dyn Device);

pub(crate) type Done = Result<(), DeviceError>;

impl Ops<'_> {
    /// One thread an element.
    pub(crate) fn each(self, kernel: &'static str, count: usize, arguments: &[Argument]) -> Done {
        if count == 0 {
            return Ok(());
        }
        self.0.launch(kernel, [count.div_ceil(THREADS), 1, 1], THREADS, arguments)
    }

    /// Elements of a stored tensor in bf16.
    pub(crate) fn unpack_bf16(self, stored: Span, format: i32, (first, count): (usize, usize), out: Span) -> Done {
        let out = out.holding(count, 2);
        self.each("unpack", count, &[At(stored), Int(format), long(first), long(count), At(out), At(Span::NONE)])
    }

    /// Elements of a stored tensor in f32.
    pub(crate) fn unpack_f32(self, stored: Span, format: i32, (first, count): (usize, usize), out: Span) -> Done {
        let out = out.holding(count, 4);
        self.each("unpack", count, &[At(stored), Int(format), long(first), long(count), At(Span::NONE), At(out)])
    }

    /// Embeddings of tokens.
    pub(crate) fn embed(
        self,
        (table, format): (Span, i32),
        learned: Option<(Span, i32)>,
        (tokens, positions): (Span, Span),
        out: Span,
        (rows, width): (usize, usize),
        scale: f32,
    ) -> Done {
        let (learned, learned_format) = learned.unwrap_or((Span::NONE, 0));
        let (tokens, positions) = (tokens.holding(rows, 4), positions.holding(rows, 4));
        let out = out.holding(rows * width, 4);
        let places = [At(table), Int(format), At(learned), Int(learned_format), At(tokens), At(positions), At(out)];
        self.each("embed", rows * width, &[&places[..], &[int(rows), int(width), Float(scale)]].concat())
    }

    /// Bias in every row, or added.
    pub(crate) fn put_bias(self, bias: Span, out: Rows, (rows, width): (usize, usize), accumulate: bool) -> Done {
        let (bias, out) = (bias.holding(width, 4), out.check(rows, width));
        let sizes = [int(rows), int(width), Int(i32::from(accumulate))];
        self.each("put_bias", rows * width, &[&[At(bias), At(out.at), long(out.stride)][..], &sizes].concat())
    }

    /// The norm of `parts` parts of each row.
    pub(crate) fn norm(
        self,
        x: Rows,
        (weight, bias, epsilon): (Span, Option<Span>, f32),
        raw: Option<Rows>,
        out: Rows,
        [means, inverses]: [Span; 2],
        (rows, parts, width): (usize, usize, usize),
    ) -> Done {
        if rows == 0 {
            return Ok(());
        }
        let (x, out) = (x.check(rows, parts * width), out.check(rows, parts * width));
        let raw = raw.map_or(Rows::of(Span::NONE, 0), |raw| raw.check(rows, parts * width));
        let statistics = [means, inverses].map(|span| At(span.holding(rows * parts, 4)));
        let bias = bias.map_or(Span::NONE, |bias| bias.holding(width, 4));
        let arguments = [
            &[At(x.at), long(x.stride), At(weight.holding(width, 4)), At(bias), Float(epsilon)][..],
            &[At(raw.at), long(raw.stride), At(out.at), long(out.stride)],
            &statistics,
            &[int(rows), int(parts), int(width)],
        ];
        self.0.launch("norm_forward", [(rows * parts).div_ceil(4), 1, 1], THREADS, &arguments.concat())
    }

    /// The norm's gradient.
    pub(crate) fn norm_backward(
        self,
        x: Rows,
        (weight, centred): (Span, bool),
        [means, inverses]: [Span; 2],
        dout: Rows,
        (dx, accumulate): (Rows, bool),
        (rows, parts, width): (usize, usize, usize),
    ) -> Done {
        let [x, dout, dx] = [x, dout, dx].map(|each| each.check(rows, parts * width));
        let statistics = [means, inverses].map(|span| At(span.holding(rows * parts, 4)));
        let arguments = [
            &[At(x.at), long(x.stride), At(weight.holding(width, 4)), Int(i32::from(centred))][..],
            &statistics,
            &[At(dout.at), long(dout.stride), At(dx.at), long(dx.stride), Int(i32::from(accumulate))],
            &[int(rows), int(parts), int(width)],
        ];
        self.0.launch("norm_backward", [(rows * parts).div_ceil(4), 1, 1], THREADS, &arguments.concat())
    }

    /// Turns heads to their positions, or back.
    pub(crate) fn rotate(
        self,
        heads: Rows,
        positions: Span,
        [cosines, sines]: [Span; 2],
        (rows, count, half): (usize, usize, usize),
        sign: f32,
    ) -> Done {
        let (heads, positions) = (heads.check(rows, count * 2 * half), positions.holding(rows, 4));
        let places = [At(heads.at), long(heads.stride), At(positions), At(cosines), At(sines)];
        let sizes = [int(rows), int(count), int(half), Float(sign)];
        self.each("rotate", rows * count * half, &[&places[..], &sizes].concat())
    }

    /// Attention of the tiles' rows; `capacity` is the number of rows of the buffers.
    pub(crate) fn attend(
        self,
        heads: HeadSizes,
        fused: Span,
        (tiles, count): (Span, usize),
        (out, lse, capacity): (Span, Span, usize),
    ) -> Done {
        let kernel = heads.kernel(["attend_64", "attend_128", "attend_256"]);
        let fused = fused.holding(capacity * heads.fused(), 4);
        let (out, lse) = (out.holding(capacity * heads.out(), 4), lse.holding(heads.heads * capacity, 4));
        let tiles = tiles.holding(3 * count, 4);
        let places = [At(tiles), At(out), long(heads.out()), At(lse), int(capacity)];
        self.0.launch(kernel, [count, heads.heads, 1], THREADS, &[&heads.arguments(fused)[..], &places].concat())
    }

    /// Gradients of queries, keys and values; `along` is scratch of the size of `lse`.
    pub(crate) fn attend_backward(
        self,
        heads: HeadSizes,
        fused: Span,
        (tiles, count): (Span, usize),
        [out, dout]: [Span; 2],
        [lse, along]: [Span; 2],
        (dfused, capacity): (Span, usize),
    ) -> Done {
        let [fused, dfused] = [fused, dfused].map(|span| span.holding(capacity * heads.fused(), 4));
        let [out, dout] = [out, dout].map(|span| At(span.holding(capacity * heads.out(), 4)));
        let [lse, along] = [lse, along].map(|span| At(span.holding(heads.heads * capacity, 4)));
        let (tiles, stride) = (At(tiles.holding(3 * count, 4)), long(heads.out()));
        let sizes = heads.arguments(fused);
        let last = [int(capacity), At(dfused)];
        let kernel = heads.kernel(["query_gradients_64", "query_gradients_128", "query_gradients_256"]);
        let arguments = [&sizes[..], &[tiles, out, dout, stride, lse, along], &last].concat();
        self.0.launch(kernel, [count, heads.heads, 1], THREADS, &arguments)?;
        let kernel = heads.kernel(["key_gradients_64", "key_gradients_128", "key_gradients_256"]);
        let arguments = [&sizes[..], &[tiles, dout, stride, lse, along], &last].concat();
        self.0.launch(kernel, [count, heads.shared, 1], THREADS, &arguments)
    }

    /// activation(gate) · up.
    pub(crate) fn activate(self, kind: i32, gate: Span, up: Option<Span>, out: Span, count: usize) -> Done {
        let up = up.map_or(Span::NONE, |up| up.holding(count, 4));
        let (gate, out) = (gate.holding(count, 4), out.holding(count, 4));
        self.each("activate", count, &[Int(kind), At(gate), At(up), At(out), long(count)])
    }

    /// The activation's gradients, and its output again.
    pub(crate) fn activate_backward(
        self,
        kind: i32,
        (gate, up): (Span, Option<Span>),
        dout: Span,
        (dgate, dup): (Span, Span),
        out: Span,
        count: usize,
    ) -> Done {
        let dup = if up.is_some() { dup.holding(count, 4) } else { Span::NONE };
        let up = up.map_or(Span::NONE, |up| up.holding(count, 4));
        let places = [gate, up, dout.holding(count, 4), dgate.holding(count, 4), dup, out.holding(count, 4)].map(At);
        self.each("activate_backward", count, &[&[Int(kind)][..], &places, &[long(count)]].concat())
    }

    /// inner (N, R) = scale · x (N, W) · factorᵀ.
    pub(crate) fn narrow(
        self,
        x: Rows,
        factor: Span,
        inner: Span,
        (rows, width, rank): (usize, usize, usize),
        scale: f32,
    ) -> Done {
        let (x, factor, inner) = (x.check(rows, width), factor.holding(rank * width, 4), inner.holding(rows * rank, 4));
        let arguments =
            [At(x.at), long(x.stride), At(factor), At(inner), int(rows), int(width), int(rank), Float(scale)];
        self.0.launch("narrow", [rows.div_ceil(32), rank.div_ceil(8), 1], THREADS, &arguments)
    }

    /// out (N, W) += inner (N, R) · wide.
    pub(crate) fn widen(self, inner: Span, wide: Span, out: Rows, (rows, width, rank): (usize, usize, usize)) -> Done {
        let (inner, wide, out) = (inner.holding(rows * rank, 4), wide.holding(rank * width, 4), out.check(rows, width));
        let arguments = [At(inner), At(wide), At(out.at), long(out.stride), int(rows), int(width), int(rank)];
        self.0.launch("widen", [width.div_ceil(THREADS), rows.div_ceil(16), 1], THREADS, &arguments)
    }

    /// Every unit's gradient += Σ wide ⊗ inner. `units` (count, 3) are checked by whoever uploads them.
    pub(crate) fn unit_outer(
        self,
        wide: Rows,
        (inner, rank): (Span, usize),
        (units, count): (Span, usize),
        (gradients, parameters): (Span, usize),
        (offset, width, columns_first): (usize, usize, bool),
    ) -> Done {
        assert!(offset + rank * width <= parameters, "a pair outside the adapter");
        let units = units.holding(3 * count, 4);
        let arguments = [
            &[At(wide.at), long(wide.stride), At(inner), int(rank), At(units), At(gradients)][..],
            &[long(parameters), long(offset), int(width), Int(i32::from(columns_first))],
        ];
        self.0.launch("unit_outer", [width.div_ceil(THREADS), count, rank.div_ceil(8)], THREADS, &arguments.concat())
    }

    /// Some rows of x, one after another.
    pub(crate) fn gather(self, x: Span, rows: Span, out: Span, (count, width): (usize, usize)) -> Done {
        let (rows, out) = (rows.holding(count, 4), out.holding(count * width, 4));
        self.each("gather", count * width, &[At(x), At(rows), At(out), int(count), int(width)])
    }

    /// Rows back in their places.
    pub(crate) fn scatter(self, dx: Span, places: Span, out: Span, (rows, width): (usize, usize)) -> Done {
        let (places, out) = (places.holding(rows, 4), out.holding(rows * width, 4));
        self.each("scatter", rows * width, &[At(dx), At(places), At(out), int(rows), int(width)])
    }

    /// Nothing is known of any row's logits.
    pub(crate) fn head_begin(self, known: Span, rows: usize) -> Done {
        self.each("head_begin", rows, &[At(known.holding(3 * rows, 4)), int(rows)])
    }

    /// Folds a chunk of logits into what is known.
    pub(crate) fn head_absorb(
        self,
        (logits, count, first): (Span, usize, usize),
        targets: Span,
        known: Span,
        dhidden: Option<Span>,
        (rows, width): (usize, usize),
    ) -> Done {
        let logits = logits.holding(rows * count, 4);
        let (targets, known) = (targets.holding(rows, 4), known.holding(3 * rows, 4));
        let dhidden = dhidden.map_or(Span::NONE, |span| span.holding(rows * width, 4));
        let arguments = [At(logits), int(count), int(first), At(targets), At(known), At(dhidden), int(width)];
        self.0.launch("head_absorb", [rows, 1, 1], THREADS, &arguments)
    }

    /// Losses, and what the logits' gradients are.
    pub(crate) fn head_finish(
        self,
        known: Span,
        [targets, weights]: [Span; 2],
        (head, format): (Span, i32),
        (dhidden, nll): (Option<Span>, Span),
        (rows, width): (usize, usize),
    ) -> Done {
        let dhidden = dhidden.map_or(Span::NONE, |span| span.holding(rows * width, 4));
        let [targets, weights, nll] = [targets, weights, nll].map(|span| At(span.holding(rows, 4)));
        let known = At(known.holding(3 * rows, 4));
        let arguments = [known, targets, weights, At(head), Int(format), At(dhidden), int(width), nll];
        self.0.launch("head_finish", [rows, 1, 1], THREADS, &arguments)
    }

    /// Units' losses += Σ weight · NLL.
    pub(crate) fn unit_losses(self, [nll, weights]: [Span; 2], (units, count): (Span, usize), losses: Span) -> Done {
        let units = units.holding(3 * count, 4);
        self.each("unit_losses", count, &[At(nll), At(weights), At(units), int(count), At(losses)])
    }
}
