//! The passes over a micro-batch, written once for every device.

mod backward;
mod forward;
mod head;

use rldp_model::{Activation, LinearKind};

use crate::{
    DeviceError, Precision,
    adapter::CardAdapter,
    batch::Batch,
    device::{Device, Product, Span},
    model::{Block, GpuModel, Linear, Matrix, format_number, operand},
    ops::{HeadSizes, Ops, Rows},
    workspace::{Buffers, Lists, heads},
};

/// Everything that a pass shares.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) device: &'a dyn Device,
    pub(crate) model: &'a GpuModel,
    pub(crate) adapter: Option<&'a CardAdapter>,
    pub(crate) buffers: &'a Buffers,
    /// Rows of the buffers.
    pub(crate) capacity: usize,
    pub(crate) batch: &'a Batch,
}

type Done = Result<(), DeviceError>;

impl Pass<'_> {
    fn ops(&self) -> Ops<'_> {
        Ops(self.device)
    }

    fn heads(&self) -> HeadSizes {
        heads(self.model)
    }

    fn rows(&self) -> usize {
        self.batch.rows()
    }

    /// The batch's rows of a buffer of `width` columns.
    fn own(&self, buffer: Span, width: usize) -> Rows {
        Rows::of(buffer, width).from(self.batch.from)
    }

    /// The batch's rows of a buffer of `width` columns, as one piece.
    fn own_span(&self, buffer: Span, width: usize) -> Span {
        buffer.part(4 * self.batch.from * width, 4 * self.rows() * width)
    }

    /// Whether some sequence of the batch turns otherwise than short ones do, as scalings for long contexts have it.
    fn turns_by_length(&self) -> bool {
        let rope = self.model.config.rope.as_ref();
        rope.is_some_and(|rope| self.batch.lengths.iter().any(|(_, length)| rope.class(*length) != 0))
    }

    /// Copies cosines and sines of every row to the device, where they follow from the lengths of the batch's sequences.
    fn put_own_angles(&self) -> Done {
        let (Some(own), Some(rope), true) = (self.buffers.own_angles, &self.model.config.rope, self.turns_by_length())
        else {
            return Ok(());
        };
        let mut found: [Vec<f32>; 2] = [Vec::new(), Vec::new()];
        let mut positions = self.batch.positions.iter();
        for (count, length) in &self.batch.lengths {
            let rotation = rope.rotation(self.model.config.head_dim, *length);
            for position in positions.by_ref().take(*count) {
                for (sine, cosine) in rotation.at(*position as usize) {
                    found[0].push(cosine);
                    found[1].push(sine);
                }
            }
        }
        for (span, values) in own.iter().zip(&found) {
            self.device.upload(*span, bytemuck::cast_slice(values))?;
        }
        Ok(())
    }

    /// Copies the batch's lists to the device.
    pub(crate) fn put_lists(&self) -> Done {
        let Lists { tokens, positions, tiles, scored, targets, weights, places, unit_rows, unit_predictions, .. } =
            self.buffers.lists;
        let (batch, device) = (self.batch, self.device);
        for (span, list) in [
            (tokens, &batch.tokens),
            (positions, &batch.positions),
            (scored, &batch.scored),
            (targets, &batch.targets),
            (places, &batch.places),
        ] {
            device.upload(span, bytemuck::cast_slice(list))?;
        }
        for (span, list) in
            [(tiles, &batch.tiles), (unit_rows, &batch.unit_rows), (unit_predictions, &batch.unit_predictions)]
        {
            device.upload(span, bytemuck::cast_slice(list))?;
        }
        device.upload(weights, bytemuck::cast_slice(&batch.weights))?;
        self.put_own_angles()
    }

    /// out (m, n) = x · matrix, or · its transpose; in the model's precision.
    fn product(&self, rows: usize, x: Rows, matrix: Matrix, transposed: bool, out: Rows, accumulate: bool) -> Done {
        let Matrix { rows: stored, width, .. } = matrix;
        let (k, n) = if transposed { (width, stored) } else { (stored, width) };
        let (x, out) = (x.check(rows, k), out.check(rows, n));
        let w = self.operand(matrix)?;
        self.device.product(&Product {
            shape: [rows, n, k],
            x: x.at,
            x_stride: x.stride,
            w,
            transposed,
            out: out.at,
            out_stride: out.stride,
            accumulate,
            precision: self.model.precision,
            rounded: self.buffers.rounded,
        })
    }

    /// A matrix as a product takes it: in place, or unpacked into scratch.
    fn operand(&self, matrix: Matrix) -> Result<Span, DeviceError> {
        if matrix.format == operand(self.model.precision) {
            return Ok(matrix.at);
        }
        let (out, count, format) = (self.buffers.unpacked, matrix.rows * matrix.width, format_number(matrix.format));
        match self.model.precision {
            Precision::Bf16 => self.ops().unpack_bf16(matrix.at, format, (0, count), out)?,
            Precision::F32 => self.ops().unpack_f32(matrix.at, format, (0, count), out)?,
        }
        Ok(out)
    }

    /// Where a map of the attention writes in a fused row.
    fn fused_offset(&self, kind: LinearKind) -> Option<usize> {
        let HeadSizes { heads, shared, dim, .. } = self.heads();
        match kind {
            LinearKind::QueryKeyValue | LinearKind::Query => Some(0),
            LinearKind::Key => Some(heads * dim),
            LinearKind::Value => Some((heads + shared) * dim),
            _ => None,
        }
    }

    fn activation(&self) -> i32 {
        match self.model.config.activation {
            Activation::Silu => 0,
            Activation::GeluTanh => 1,
            Activation::Gelu => 2,
        }
    }

    fn scaling(&self) -> f32 {
        self.adapter.map_or(0.0, |adapter| adapter.layout.scaling())
    }

    fn rank(&self) -> usize {
        self.adapter.map_or(0, |adapter| adapter.layout.rank())
    }
}

/// The block's map of a kind with its index.
fn find(block: &Block, kind: LinearKind) -> Option<(usize, &Linear)> {
    block.linears.iter().enumerate().find(|(_, linear)| linear.spec.kind == kind)
}
