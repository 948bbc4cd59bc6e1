//! The backward pass: gradients of the stream, and per-unit gradients of every adapter.

use rldp_model::LinearKind;

use super::{Done, Pass, find};
use crate::{
    device::Span,
    model::{Block, Linear, Norm},
    ops::Rows,
    workspace::{Backward, Cache},
};

/// One of the maps that share an input, and d(its output).
#[derive(Clone, Copy)]
struct Branch<'a> {
    map: usize,
    linear: &'a Linear,
    dy: Rows,
}

impl Pass<'_> {
    /// After [`Pass::forward`] and [`Pass::cross_entropy`]: adds every unit's gradient to its slot.
    pub(crate) fn backward(&self, back: &Backward, recomputes: bool) -> Done {
        let (rows, width) = (self.rows(), self.model.config.hidden_size);
        let Some(adapter) = self.adapter else { return Ok(()) };
        let lists = self.buffers.lists;
        self.ops().scatter(self.buffers.dhidden, lists.places, back.input, (rows, width))?;
        let layers = self.model.blocks.len();
        self.norm_backward(&self.model.final_norm, self.stream(layers), back.input, (back.dstream, false))?;
        let lowest = adapter.places.iter().position(|maps| maps.iter().any(Option::is_some)).unwrap_or(0);
        for layer in (lowest..layers).rev() {
            // The last block's activations are still there.
            if recomputes && layer + 1 < layers {
                self.block(layer, self.stream(layer), self.stream(layer + 1))?;
            }
            let (block, cache) = (&self.model.blocks[layer], &self.buffers.caches[layer]);
            self.mlp_backward(layer, block, cache, back)?;
            self.attention_backward(layer, block, cache, back, layer == lowest)?;
        }
        let units = (lists.unit_predictions, self.batch.unit_predictions.len());
        self.ops().unit_losses([self.buffers.nll, lists.weights], units, back.losses)
    }

    /// dx = the gradient through the norm of x, or += with the flag; the norm's statistics are those made last.
    fn norm_backward(&self, norm: &Norm, x: Span, dout: Span, (dx, accumulate): (Span, bool)) -> Done {
        let width = self.model.config.hidden_size;
        let [x, dout, dx] = [x, dout, dx].map(|span| Rows::of(span, width));
        let (centred, sizes) = (norm.bias.is_some(), (self.rows(), 1, width));
        self.ops().norm_backward(x, (norm.weight, centred), self.buffers.statistics, dout, (dx, accumulate), sizes)
    }

    fn mlp_backward(&self, layer: usize, block: &Block, cache: &Cache, back: &Backward) -> Done {
        let (wide, hidden) = (self.model.config.intermediate_size, self.model.config.hidden_size);
        let down = find(block, LinearKind::MlpDown);
        let down = down.map(|(map, linear)| Branch { map, linear, dy: Rows::of(back.dstream, hidden) });
        self.b_gradients(layer, cache, down.as_slice(), back)?;
        self.input_gradient(layer, down.as_slice(), back, back.wide)?;
        let gated = find(block, LinearKind::MlpGate);
        let up = gated.map(|_| cache.up);
        let activated = self.buffers.activated;
        let (count, kind) = (self.rows() * wide, self.activation());
        let slopes = (back.gate, back.up);
        self.ops().activate_backward(kind, (cache.gate, up), back.wide, slopes, activated, count)?;
        self.a_gradients(layer, Rows::of(activated, wide), down.as_slice(), back)?;
        // Without a gate, what is activated is the output of the map up.
        let dup = if gated.is_some() { back.up } else { back.gate };
        let branch = |(map, linear), dy| Branch { map, linear, dy: Rows::of(dy, wide) };
        let up = find(block, LinearKind::MlpUp).map(|found| branch(found, dup));
        let branches: Vec<Branch> = up.into_iter().chain(gated.map(|found| branch(found, back.gate))).collect();
        self.norm(&block.norms[1], cache.middle)?;
        self.b_gradients(layer, cache, &branches, back)?;
        self.a_gradients(layer, Rows::of(self.buffers.normed, hidden), &branches, back)?;
        self.input_gradient(layer, &branches, back, back.input)?;
        self.norm_backward(&block.norms[1], cache.middle, back.input, (back.dstream, true))
    }

    fn attention_backward(&self, layer: usize, block: &Block, cache: &Cache, back: &Backward, lowest: bool) -> Done {
        let (heads, hidden) = (self.heads(), self.model.config.hidden_size);
        if let Some((map, linear)) = find(block, LinearKind::AttentionOutput) {
            let output = [Branch { map, linear, dy: Rows::of(back.dstream, hidden) }];
            self.b_gradients(layer, cache, &output, back)?;
            self.a_gradients(layer, Rows::of(cache.attended, heads.out()), &output, back)?;
            self.input_gradient(layer, &output, back, back.attended)?;
        }
        let tiles = (self.buffers.lists.tiles, self.batch.tiles.len());
        let (outs, sums) = ([cache.attended, back.attended], [cache.lse, back.along]);
        self.ops().attend_backward(heads, cache.fused, tiles, outs, sums, (back.fused, self.capacity))?;
        self.turn(back.fused, -1.0)?;
        self.head_norms_backward(block, cache, back)?;
        let branches = block.linears.iter().enumerate().filter_map(|(map, linear)| {
            let dy = Rows::of(back.fused, heads.fused()).columns(self.fused_offset(linear.spec.kind)?);
            Some(Branch { map, linear, dy })
        });
        let branches: Vec<Branch> = branches.collect();
        let input = self.stream(layer);
        self.norm(&block.norms[0], input)?;
        self.b_gradients(layer, cache, &branches, back)?;
        self.a_gradients(layer, Rows::of(self.buffers.normed, hidden), &branches, back)?;
        if lowest {
            return Ok(());
        }
        self.input_gradient(layer, &branches, back, back.input)?;
        self.norm_backward(&block.norms[0], input, back.input, (back.dstream, true))
    }

    fn head_norms_backward(&self, block: &Block, cache: &Cache, back: &Backward) -> Done {
        let Some(norms) = &block.head_norms else { return Ok(()) };
        let (heads, rows) = (self.heads(), self.rows());
        for (norm, (first, count)) in norms.iter().zip([(0, heads.heads), (heads.heads, heads.shared)]) {
            let dfused = Rows::of(back.fused, heads.fused()).columns(first * heads.dim);
            let raw = Rows::of(cache.raw, heads.turned()).columns(first * heads.dim);
            let statistics = self.head_statistics(cache, first);
            let sizes = (rows, count, heads.dim);
            self.ops().norm_backward(raw, (norm.weight, false), statistics, dfused, (dfused, false), sizes)?;
        }
        Ok(())
    }

    /// Per-unit gradients of B on some maps. Leaves d(x Aᵀ) of each map in `dinner`.
    fn b_gradients(&self, layer: usize, cache: &Cache, branches: &[Branch], back: &Backward) -> Done {
        let rank = self.rank();
        for (branch, dinner) in branches.iter().zip(back.dinner) {
            let Some((pair, k)) = self.adapted(layer, branch.map) else { continue };
            let out = branch.linear.spec.out_features;
            let sizes = (self.rows(), out, rank);
            self.ops().narrow(branch.dy, pair.b, dinner, sizes, self.scaling())?;
            let offset = self.adapter.map_or(0, |adapter| adapter.layout.pairs()[k].b.start);
            self.unit_outer(branch.dy, cache.inner[branch.map], back, (offset, out, true))?;
        }
        Ok(())
    }

    /// Per-unit gradients of A on maps that share their input x.
    fn a_gradients(&self, layer: usize, x: Rows, branches: &[Branch], back: &Backward) -> Done {
        for (branch, dinner) in branches.iter().zip(back.dinner) {
            let Some((_, k)) = self.adapted(layer, branch.map) else { continue };
            let Some(pair) = self.adapter.map(|adapter| &adapter.layout.pairs()[k]) else { continue };
            if pair.trains_a {
                let width = branch.linear.spec.in_features;
                self.unit_outer(x, dinner, back, (pair.a.start, width, false))?;
            }
        }
        Ok(())
    }

    fn unit_outer(&self, wide: Rows, inner: Span, back: &Backward, place: (usize, usize, bool)) -> Done {
        let units = (self.buffers.lists.unit_rows, self.batch.unit_rows.len());
        let parameters = self.adapter.map_or(0, |adapter| adapter.layout.parameter_count());
        let wide = wide.check(self.rows(), place.1);
        self.ops().unit_outer(wide, (inner, self.rank()), units, (back.gradients, parameters), place)
    }

    /// dx (N, in) of maps that share their input.
    fn input_gradient(&self, layer: usize, branches: &[Branch], back: &Backward, dx: Span) -> Done {
        for (place, (branch, dinner)) in branches.iter().zip(back.dinner).enumerate() {
            let (linear, width) = (branch.linear, branch.linear.spec.in_features);
            let dx = Rows::of(dx, width);
            self.product(self.rows(), branch.dy, linear.weight, linear.transposed, dx, place > 0)?;
            if let Some((pair, _)) = self.adapted(layer, branch.map) {
                self.ops().widen(dinner, pair.a, dx, (self.rows(), width, self.rank()))?;
            }
        }
        Ok(())
    }

    /// The pair on a map, and which it is.
    fn adapted(&self, layer: usize, map: usize) -> Option<(crate::adapter::CardPair, usize)> {
        let adapter = self.adapter?;
        Some((adapter.pair(layer, map)?, adapter.places[layer][map]?))
    }
}
