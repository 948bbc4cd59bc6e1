//! One core's work: a micro-batch forward, and backward when gradients are wanted.

use super::{
    backward::{BackwardScratch, Gradients, UnitRows},
    batch::Batch,
    forward::{BlockCache, Pass},
    head::{HeadScratch, all_logits, cross_entropy},
    products::Products,
};
use crate::kernels::{
    bf16,
    norm::{self, RowStatistics},
};

/// What a forward pass leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// Its last stream alone.
    Nothing,
    /// Every block's input, and the last block's activations.
    Inputs,
    /// Every block's activations.
    All,
}

/// Buffers of one core, reused from micro-batch to micro-batch and step to step.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    products: Products,
    caches: Vec<BlockCache>,
    /// Inputs of the blocks (N, C), when activations are made again.
    inputs: Vec<Vec<f32>>,
    stream: Vec<f32>,
    normed: Vec<f32>,
    statistics: Vec<RowStatistics>,
    head: HeadScratch,
    backward: BackwardScratch,
    dnormed: Vec<f32>,
    dstream: Vec<f32>,
    /// Gradients of a micro-batch's units, reused from step to step.
    pub(crate) unit_gradients: Vec<f32>,
}

impl Worker {
    pub(crate) fn new(kernel: Option<bf16::Kernel>) -> Self {
        Self { products: Products::new(kernel), ..Self::default() }
    }

    /// The stream after the last block, and its norm.
    fn forward(&mut self, pass: &Pass, keep: Keep) {
        let layers = pass.model.blocks.len();
        let all = keep == Keep::All;
        self.caches.resize_with(if all { layers } else { 1 }, BlockCache::default);
        self.inputs.resize_with(if keep == Keep::Inputs { layers } else { 0 }, Vec::new);
        pass.embed(&mut self.stream);
        for layer in 0..layers {
            if let Some(input) = self.inputs.get_mut(layer) {
                input.clone_from(&self.stream);
            }
            let cache = &mut self.caches[if all { layer } else { 0 }];
            std::mem::swap(&mut cache.input, &mut self.stream);
            pass.block(layer, &mut self.products, cache, &mut self.backward.made, &mut self.stream);
        }
        pass.norm(&pass.model.final_norm, &self.stream, &mut self.normed, &mut self.statistics);
    }

    /// Logits of every row (N, V).
    pub(crate) fn logits(&mut self, pass: &Pass) -> Vec<f32> {
        if pass.batch.rows() == 0 {
            return Vec::new();
        }
        self.forward(pass, Keep::Nothing);
        all_logits(pass.model, &mut self.products, &self.normed)
    }

    /// NLL of every scored prediction of the batch.
    pub(crate) fn losses(&mut self, pass: &Pass) -> Vec<f32> {
        // Sequences without tokens may be all there are.
        if pass.batch.rows() == 0 {
            return Vec::new();
        }
        self.forward(pass, Keep::Nothing);
        self.gather(pass.batch, pass.model.config.hidden_size);
        cross_entropy(pass.model, &mut self.products, &pass.batch.scored, &mut self.head, false)
    }

    /// NLL of every scored prediction; puts each unit's gradients in `values` (slots, P).
    pub(crate) fn gradients(
        &mut self,
        pass: &Pass,
        units: &[UnitRows],
        parameters: usize,
        values: &mut [f32],
    ) -> Vec<f32> {
        let again = pass.model.recomputes;
        self.forward(pass, if again { Keep::Inputs } else { Keep::All });
        let width = pass.model.config.hidden_size;
        self.gather(pass.batch, width);
        let nll = cross_entropy(pass.model, &mut self.products, &pass.batch.scored, &mut self.head, true);
        let mut gradients = Gradients { units, parameters, values };
        let Self { dnormed, dstream, .. } = self;
        for buffer in [&mut *dnormed, &mut *dstream] {
            buffer.clear();
            buffer.resize(pass.batch.rows() * width, 0.0);
        }
        for (scored, row) in pass.batch.scored.iter().zip(self.head.dhidden.chunks_exact(width)) {
            dnormed[scored.row * width..][..width].copy_from_slice(row);
        }
        let last = &pass.model.final_norm;
        norm::backward(&self.stream, &last.weight, last.bias.is_some(), &self.statistics, dnormed, dstream);
        let layers = pass.model.blocks.len();
        let lowest = pass.pairs.iter().position(|maps| maps.iter().any(Option::is_some)).unwrap_or(0);
        for layer in (lowest..layers).rev() {
            let at_bottom = layer == lowest;
            // The last block's activations are still there.
            if again && layer + 1 < layers {
                std::mem::swap(&mut self.caches[0].input, &mut self.inputs[layer]);
                let made = &mut self.backward.made;
                pass.block(layer, &mut self.products, &mut self.caches[0], made, &mut self.stream);
            }
            pass.block_backward(
                layer,
                &self.caches[if again { 0 } else { layer }],
                dstream,
                &mut self.products,
                &mut self.backward,
                &mut gradients,
                at_bottom,
            );
        }
        nll
    }

    /// Copies the rows that predict scored tokens to the head.
    fn gather(&mut self, batch: &Batch, width: usize) {
        self.head.hidden.clear();
        for scored in &batch.scored {
            self.head.hidden.extend_from_slice(&self.normed[scored.row * width..][..width]);
        }
    }
}
