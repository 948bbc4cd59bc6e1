//! The output head: cross-entropy over chunks of the vocabulary, without all logits at once.

use super::{Done, Pass};
use crate::{DeviceError, device::Span, ops::Rows, workspace::CHUNK};

impl Pass<'_> {
    /// NLL of every scored prediction, from `normed`, left on the device; with `differentiate`, the gradient of Σ weight · NLL with
    /// respect to the rows that predict goes to `dhidden`.
    ///
    /// One pass: Σ_v e^(logit_v − m) W_v is summed along with Σ_v e^(logit_v − m), and both are brought down whenever a chunk
    /// raises the running maximum m.
    pub(crate) fn cross_entropy(&self, differentiate: bool) -> Done {
        let (buffers, lists, ops) = (self.buffers, self.buffers.lists, self.ops());
        let (count, width, vocab) =
            (self.batch.scored.len(), self.model.config.hidden_size, self.model.config.vocab_size);
        if count == 0 {
            return Ok(());
        }
        ops.gather(buffers.normed, lists.scored, buffers.hidden, (count, width))?;
        ops.head_begin(buffers.known, count)?;
        for first in (0..vocab).step_by(CHUNK) {
            let chunk = CHUNK.min(vocab - first);
            let logits = Rows::of(buffers.logits, chunk);
            let matrix = self.model.head.range(first, chunk);
            self.product(count, Rows::of(buffers.hidden, width), matrix, true, logits, false)?;
            let so_far = (differentiate && first > 0).then_some(buffers.dhidden);
            let piece = (buffers.logits, chunk, first);
            ops.head_absorb(piece, lists.targets, buffers.known, so_far, (count, width))?;
            if differentiate {
                self.product(count, logits, matrix, false, Rows::of(buffers.dhidden, width), first > 0)?;
            }
        }
        let dhidden = differentiate.then_some(buffers.dhidden);
        let head = self.model.exact_head.stored();
        ops.head_finish(buffers.known, [lists.targets, lists.weights], head, (dhidden, buffers.nll), (count, width))
    }

    /// NLL of every scored prediction, from the device.
    pub(crate) fn read_nll(&self) -> Result<Vec<f32>, DeviceError> {
        self.read(self.buffers.nll, self.batch.scored.len())
    }

    /// Logits of the batch's rows from row `first` on, whole: (rows, V).
    pub(crate) fn all_logits(&self, first: usize) -> Result<Vec<f32>, DeviceError> {
        let (width, vocab) = (self.model.config.hidden_size, self.model.config.vocab_size);
        let rows = self.rows() - first;
        let normed = self.own(self.buffers.normed, width).from(first);
        let mut out = vec![0.0; rows * vocab];
        for start in (0..vocab).step_by(CHUNK) {
            let chunk = CHUNK.min(vocab - start);
            let logits = Rows::of(self.buffers.logits, chunk);
            self.product(rows, normed, self.model.head.range(start, chunk), true, logits, false)?;
            let found = self.read(self.buffers.logits, rows * chunk)?;
            for (out, found) in out.chunks_exact_mut(vocab).zip(found.chunks_exact(chunk)) {
                out[start..start + chunk].copy_from_slice(found);
            }
        }
        Ok(out)
    }

    fn read(&self, span: Span, count: usize) -> Result<Vec<f32>, DeviceError> {
        let mut values = vec![0.0_f32; count];
        self.device.download(span.part(0, 4 * count), bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }
}
