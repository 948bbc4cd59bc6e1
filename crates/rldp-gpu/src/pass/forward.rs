//! The forward pass.

use rldp_model::LinearKind;

use super::{Done, Pass, find};
use crate::{
    device::Span,
    model::{Block, Linear, Norm},
    ops::Rows,
    workspace::Cache,
};

impl Pass<'_> {
    /// Runs all blocks and the last norm, whose output is left in `normed`.
    pub(crate) fn forward(&self) -> Done {
        let streams = &self.buffers.streams;
        self.embed(streams[0])?;
        for layer in 0..self.model.blocks.len() {
            self.block(layer, self.stream(layer), self.stream(layer + 1))?;
        }
        self.norm(&self.model.final_norm, self.stream(self.model.blocks.len()))
    }

    /// Where the input of a block lies.
    pub(super) fn stream(&self, layer: usize) -> Span {
        let streams = &self.buffers.streams;
        streams[if streams.len() > 2 { layer } else { layer % 2 }]
    }

    fn embed(&self, out: Span) -> Done {
        let (lists, width) = (self.buffers.lists, self.model.config.hidden_size);
        let learned = self.model.learned.map(crate::model::Matrix::stored);
        let out = self.own_span(out, width);
        let scale = self.model.config.embedding_scale();
        let table = self.model.embedding.stored();
        self.ops().embed(table, learned, (lists.tokens, lists.positions), out, (self.rows(), width), scale)
    }

    /// Block `layer` from `input` to `output`; leaves what the backward pass needs in the block's cache.
    pub(super) fn block(&self, layer: usize, input: Span, output: Span) -> Done {
        let (block, cache) = (&self.model.blocks[layer], &self.buffers.caches[layer]);
        let hidden = self.model.config.hidden_size;
        self.norm(&block.norms[0], input)?;
        self.attention_maps(layer, block, cache)?;
        self.attend(cache)?;
        self.device.copy(self.own_span(input, hidden), self.own_span(cache.middle, hidden))?;
        self.residual(layer, LinearKind::AttentionOutput, cache.attended, cache, cache.middle)?;
        self.norm(&block.norms[1], cache.middle)?;
        self.mlp_maps(layer, block, cache)?;
        self.device.copy(self.own_span(cache.middle, hidden), self.own_span(output, hidden))?;
        self.residual(layer, LinearKind::MlpDown, self.buffers.activated, cache, output)
    }

    /// The norm of a stream, into `normed`.
    pub(super) fn norm(&self, norm: &Norm, x: Span) -> Done {
        let width = self.model.config.hidden_size;
        let (x, out) = (self.own(x, width), self.own(self.buffers.normed, width));
        let epsilon = self.model.config.norm_epsilon;
        let statistics = self.buffers.statistics;
        self.ops().norm(x, (norm.weight, norm.bias, epsilon), None, out, statistics, (self.rows(), 1, width))
    }

    fn attention_maps(&self, layer: usize, block: &Block, cache: &Cache) -> Done {
        let (width, hidden) = (self.heads().fused(), self.model.config.hidden_size);
        let normed = self.own(self.buffers.normed, hidden);
        for (map, linear) in block.linears.iter().enumerate() {
            let Some(offset) = self.fused_offset(linear.spec.kind) else { continue };
            let out = self.own(cache.fused, width).columns(offset);
            self.linear((layer, map), linear, normed, cache, out, false)?;
        }
        self.head_norms(block, cache)?;
        self.turn(cache.fused, 1.0)
    }

    /// Norms of every query and key head, in place.
    fn head_norms(&self, block: &Block, cache: &Cache) -> Done {
        let Some(norms) = &block.head_norms else { return Ok(()) };
        let (heads, rows, epsilon) = (self.heads(), self.rows(), self.model.config.norm_epsilon);
        for (norm, (first, count)) in norms.iter().zip([(0, heads.heads), (heads.heads, heads.shared)]) {
            let fused = self.own(cache.fused, heads.fused()).columns(first * heads.dim);
            let raw = self.own(cache.raw, heads.turned()).columns(first * heads.dim);
            let statistics = self.head_statistics(cache, first);
            let sizes = (rows, count, heads.dim);
            self.ops().norm(fused, (norm.weight, norm.bias, epsilon), Some(raw), fused, statistics, sizes)?;
        }
        Ok(())
    }

    /// Means and inverses of heads from `first` on.
    pub(super) fn head_statistics(&self, cache: &Cache, first: usize) -> [Span; 2] {
        cache.head_statistics.map(|span| span.floats_from(first * self.capacity))
    }

    /// Turns queries and keys to their positions, or back.
    pub(super) fn turn(&self, fused: Span, sign: f32) -> Done {
        let (heads, half) = (self.heads(), self.model.config.head_dim / 2);
        if self.model.config.rope.is_none() {
            return Ok(());
        }
        let buffers = self.buffers;
        let (places, angles) = match buffers.own_angles {
            Some(own) if self.turns_by_length() => (buffers.lists.rows, own),
            _ => (buffers.lists.positions, buffers.angles),
        };
        let rows = self.own(fused, heads.fused());
        let sizes = (self.rows(), heads.heads + heads.shared, half);
        self.ops().rotate(rows, places, angles, sizes, sign)
    }

    fn attend(&self, cache: &Cache) -> Done {
        let tiles = (self.buffers.lists.tiles, self.batch.tiles.len());
        self.ops().attend(self.heads(), cache.fused, tiles, (cache.attended, cache.lse, self.capacity))
    }

    fn mlp_maps(&self, layer: usize, block: &Block, cache: &Cache) -> Done {
        let (wide, hidden) = (self.model.config.intermediate_size, self.model.config.hidden_size);
        let normed = self.own(self.buffers.normed, hidden);
        let gated = find(block, LinearKind::MlpGate).is_some();
        for (map, linear) in block.linears.iter().enumerate() {
            let out = match linear.spec.kind {
                LinearKind::MlpUp if gated => cache.up,
                LinearKind::MlpUp | LinearKind::MlpGate => cache.gate,
                _ => continue,
            };
            self.linear((layer, map), linear, normed, cache, self.own(out, wide), false)?;
        }
        let [gate, up, out] = [cache.gate, cache.up, self.buffers.activated].map(|span| self.own_span(span, wide));
        self.ops().activate(self.activation(), gate, gated.then_some(up), out, self.rows() * wide)
    }

    /// stream += map of the branch.
    fn residual(&self, layer: usize, kind: LinearKind, input: Span, cache: &Cache, stream: Span) -> Done {
        let Some((map, linear)) = find(&self.model.blocks[layer], kind) else { return Ok(()) };
        let (input, out) = (self.own(input, linear.spec.in_features), self.own(stream, linear.spec.out_features));
        self.linear((layer, map), linear, input, cache, out, true)
    }

    /// out = x Wᵀ + bias + (scaling · x Aᵀ) Bᵀ, or += with `accumulate`. Leaves scaling · x Aᵀ in the cache.
    fn linear(
        &self,
        (layer, map): (usize, usize),
        linear: &Linear,
        x: Rows,
        cache: &Cache,
        out: Rows,
        accumulate: bool,
    ) -> Done {
        let (fan_in, fan_out) = (linear.spec.in_features, linear.spec.out_features);
        let rows = self.rows();
        if let Some(bias) = linear.bias {
            self.ops().put_bias(bias, out, (rows, fan_out), accumulate)?;
        }
        let add = accumulate || linear.bias.is_some();
        self.product(rows, x, linear.weight, !linear.transposed, out, add)?;
        let Some(pair) = self.adapter.and_then(|adapter| adapter.pair(layer, map)) else { return Ok(()) };
        let rank = self.rank();
        let inner = self.own(cache.inner[map], rank).at;
        self.ops().narrow(x, pair.a, inner, (rows, fan_in, rank), self.scaling())?;
        self.ops().widen(inner, pair.b, out, (rows, fan_out, rank))
    }
}
