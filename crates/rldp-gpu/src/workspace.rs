//! Buffers of the passes, cut from one allocation whose size is planned before anything is allocated.

use rldp_model::{RopeScaling, StoredType};

use crate::{
    DeviceError, Precision,
    arena::{Arena, padded},
    device::{Device, Span},
    model::{GpuModel, operand},
    ops::HeadSizes,
};

/// Entries of the vocabulary whose logits are made at once: one number for all models and cards, since it is part of the order in
/// which a row's logits are summed.
pub(crate) const CHUNK: usize = 4096;

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Losses and logits: nothing is kept.
    Losses,
    /// One sequence, token after token: every block's queries, keys and values are kept.
    Decoding,
    /// Gradients: every block's activations are kept, or only its input, from which they are made again.
    Gradients { recomputes: bool },
}

/// What the buffers' sizes follow from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) purpose: Purpose,
    /// Most rows of a micro-batch.
    pub(crate) rows: usize,
    /// R; 0 without an adapter.
    pub(crate) rank: usize,
    /// P, and K.
    pub(crate) parameters: usize,
    pub(crate) pairs: usize,
    /// Units whose gradients are held.
    pub(crate) slots: usize,
}

/// What the backward pass of a block needs. All buffers are (N, ·).
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// Queries, keys (both turned) and values.
    pub(crate) fused: Span,
    /// Queries and keys before their norms, and those norms' means and inverses.
    pub(crate) raw: Span,
    pub(crate) head_statistics: [Span; 2],
    /// Log-sum-exp of each head's scores: (H, N).
    pub(crate) lse: Span,
    /// Output of the heads.
    pub(crate) attended: Span,
    /// Stream after attention (C).
    pub(crate) middle: Span,
    /// Before the activation (M).
    pub(crate) gate: Span,
    /// What the activation multiplies (M).
    pub(crate) up: Span,
    /// scaling · x Aᵀ of each map (R), in the block's order.
    pub(crate) inner: Vec<Span>,
}

/// All buffers.
pub(crate) struct Buffers {
    /// Input of every block and the last one's output (C); two that take turns where nothing is kept.
    pub(crate) streams: Vec<Span>,
    /// Of every block, or one for all.
    pub(crate) caches: Vec<Cache>,
    pub(crate) normed: Span,
    pub(crate) statistics: [Span; 2],
    pub(crate) activated: Span,
    /// Rows that predict (S, C), and their gradients.
    pub(crate) hidden: Span,
    pub(crate) dhidden: Span,
    pub(crate) logits: Span,
    pub(crate) known: Span,
    pub(crate) nll: Span,
    /// x of a product in bf16.
    pub(crate) rounded: Span,
    /// A matrix, or a part of one, as a product takes it.
    pub(crate) unpacked: Span,
    pub(crate) lists: Lists,
    /// Cosines and sines of every position (N, D / 2), and of every row where they follow from its sequence's length.
    pub(crate) angles: [Span; 2],
    pub(crate) own_angles: Option<[Span; 2]>,
    pub(crate) backward: Option<Backward>,
}

/// What [`crate::batch::Batch`] lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lists {
    pub(crate) tokens: Span,
    pub(crate) positions: Span,
    /// 0, 1, 2, …
    pub(crate) rows: Span,
    pub(crate) tiles: Span,
    pub(crate) scored: Span,
    pub(crate) targets: Span,
    pub(crate) weights: Span,
    pub(crate) places: Span,
    pub(crate) unit_rows: Span,
    pub(crate) unit_predictions: Span,
}

/// Buffers of the backward pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backward {
    pub(crate) dstream: Span,
    pub(crate) input: Span,
    pub(crate) wide: Span,
    pub(crate) gate: Span,
    pub(crate) up: Span,
    pub(crate) attended: Span,
    pub(crate) fused: Span,
    pub(crate) along: Span,
    /// d(x Aᵀ) of up to three maps that share an input.
    pub(crate) dinner: [Span; 3],
    /// Per-unit gradients (slots, P), and losses (slots) in f64.
    pub(crate) gradients: Span,
    pub(crate) losses: Span,
    pub(crate) clipping: Clipping,
}

/// Most bins of norms in a statistic that is summed on the device.
pub(crate) const MOST_BINS: usize = 256;

/// Buffers of clip and sum, all of 8 bytes a number but `slots`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clipping {
    /// The rule (K, one more for `packed`).
    pub(crate) begins: Span,
    pub(crate) packed: Span,
    pub(crate) bounds: Span,
    pub(crate) bounds_squared: Span,
    pub(crate) grid: Span,
    pub(crate) parts: Span,
    pub(crate) bins: Span,
    /// Of each unit at hand: (slots, K), and (slots).
    pub(crate) squares: Span,
    pub(crate) factors: Span,
    pub(crate) scales: Span,
    pub(crate) norms: Span,
    pub(crate) slots: Span,
    /// Sums of the trained numbers, at most P, and of the statistic.
    pub(crate) sum: Span,
    pub(crate) statistic: Span,
}

/// Attention's sizes of a model.
pub(crate) fn heads(model: &GpuModel) -> HeadSizes {
    let config = &model.config;
    HeadSizes { heads: config.heads, shared: config.kv_heads, dim: config.head_dim, window: config.sliding_window }
}

/// Cuts all buffers by `take`, which is given bytes.
fn cut(model: &GpuModel, sizes: &Sizes, take: &mut dyn FnMut(usize) -> Span) -> Buffers {
    let (config, heads, n) = (&model.config, heads(model), sizes.rows);
    let (layers, wide, hidden) = (config.layers, config.intermediate_size, config.hidden_size);
    let chunk = CHUNK.min(config.vocab_size);
    let keeps = sizes.purpose == Purpose::Gradients { recomputes: false };
    let has_gradients = matches!(sizes.purpose, Purpose::Gradients { .. });
    let mut floats = |count: usize| take(4 * count);
    let streams = (0..if has_gradients { layers + 1 } else { 2 }).map(|_| floats(n * hidden)).collect();
    let mut caches: Vec<Cache> = Vec::new();
    for layer in 0..layers {
        let fused = if keeps || sizes.purpose == Purpose::Decoding || layer == 0 {
            Some(floats(n * heads.fused()))
        } else {
            None
        };
        let cache = match caches.first() {
            Some(first) if !keeps => Cache { fused: fused.unwrap_or(first.fused), ..first.clone() },
            _ => cache(model, &heads, sizes, fused.unwrap_or(Span::NONE), &mut floats),
        };
        caches.push(cache);
    }
    let (dim, per_head) = (config.head_dim, heads.heads * n);
    let backward = has_gradients.then(|| Backward {
        dstream: floats(n * hidden),
        input: floats(n * hidden),
        wide: floats(n * wide),
        gate: floats(n * wide),
        up: floats(n * wide),
        attended: floats(n * heads.out()),
        fused: floats(n * heads.fused()),
        along: floats(per_head),
        dinner: [(); 3].map(|()| floats(n * sizes.rank)),
        gradients: floats(sizes.slots * sizes.parameters),
        losses: floats(2 * sizes.slots),
        clipping: clipping(sizes, &mut floats),
    });
    Buffers {
        streams,
        caches,
        normed: floats(n * hidden),
        statistics: [floats(n), floats(n)],
        activated: floats(n * wide),
        hidden: floats(n * hidden),
        dhidden: floats(if has_gradients { n * hidden } else { 0 }),
        logits: floats(n * chunk),
        known: floats(3 * n),
        nll: floats(n),
        rounded: floats(if model.precision == Precision::Bf16 { n * deepest(model, &heads).div_ceil(2) } else { 0 }),
        unpacked: floats(unpacked(model) * if model.precision == Precision::Bf16 { 1 } else { 2 } / 2 + 1),
        lists: Lists {
            tokens: floats(n),
            positions: floats(n),
            rows: floats(n),
            tiles: floats(3 * n),
            scored: floats(n),
            targets: floats(n),
            weights: floats(n),
            places: floats(n),
            unit_rows: floats(3 * n),
            unit_predictions: floats(3 * n),
        },
        angles: [(); 2].map(|()| floats(if config.rope.is_some() { n * dim / 2 } else { 0 })),
        own_angles: turns_by_length(model).then(|| [(); 2].map(|()| floats(n * dim / 2))),
        backward,
    }
}

fn clipping(sizes: &Sizes, floats: &mut dyn FnMut(usize) -> Span) -> Clipping {
    let Sizes { parameters, pairs, slots, .. } = *sizes;
    let mut wide = |count: usize| floats(2 * count);
    Clipping {
        begins: wide(pairs),
        packed: wide(pairs + 1),
        bounds: wide(pairs),
        bounds_squared: wide(pairs),
        grid: wide(pairs),
        parts: wide(3),
        bins: wide(MOST_BINS),
        squares: wide(slots * pairs),
        factors: wide(slots * pairs),
        scales: wide(slots * pairs),
        norms: wide(slots),
        slots: wide(slots.div_ceil(2)),
        sum: wide(parameters),
        statistic: wide(2 + pairs + MOST_BINS),
    }
}

fn cache(
    model: &GpuModel,
    heads: &HeadSizes,
    sizes: &Sizes,
    fused: Span,
    floats: &mut dyn FnMut(usize) -> Span,
) -> Cache {
    let (n, config) = (sizes.rows, &model.config);
    let normed_heads = model.blocks.iter().any(|block| block.head_norms.is_some());
    let of_heads = |count: usize| if normed_heads { n * count } else { 0 };
    let maps = model.blocks.first().map_or(0, |block| block.linears.len());
    Cache {
        fused,
        raw: floats(of_heads(heads.turned())),
        head_statistics: [(); 2].map(|()| floats(of_heads(heads.heads + heads.shared))),
        lse: floats(heads.heads * n),
        attended: floats(n * heads.out()),
        middle: floats(n * config.hidden_size),
        gate: floats(n * config.intermediate_size),
        up: floats(n * config.intermediate_size),
        inner: (0..maps).map(|_| floats(n * sizes.rank)).collect(),
    }
}

/// Whether a sequence's turns may follow from its length.
fn turns_by_length(model: &GpuModel) -> bool {
    let scaling = model.config.rope.as_ref().map(|rope| &rope.scaling);
    matches!(scaling, Some(RopeScaling::Dynamic { .. } | RopeScaling::LongRope { .. }))
}

/// Largest depth of a product.
fn deepest(model: &GpuModel, heads: &HeadSizes) -> usize {
    let config = &model.config;
    [config.hidden_size, config.intermediate_size, heads.fused(), CHUNK.min(config.vocab_size)]
        .into_iter()
        .fold(0, usize::max)
}

/// Elements of the largest matrix that is not stored as a product takes it.
fn unpacked(model: &GpuModel) -> usize {
    let differs = |format: StoredType| format != operand(model.precision);
    let maps = model.blocks.iter().flat_map(|block| &block.linears).map(|linear| linear.weight);
    let largest = maps.filter(|weight| differs(weight.format)).map(|weight| weight.rows * weight.width).max();
    let head = CHUNK.min(model.head.rows) * model.head.width;
    largest.unwrap_or(0).max(if differs(model.head.format) { head } else { 0 })
}

/// Bytes that buffers of these sizes take.
pub(crate) fn bytes(model: &GpuModel, sizes: &Sizes) -> usize {
    let mut bytes = 0;
    cut(model, sizes, &mut |size| {
        bytes += padded(size);
        Span::NONE
    });
    bytes
}

/// Allocated buffers.
pub(crate) struct Workspace {
    pub(crate) sizes: Sizes,
    pub(crate) buffers: Buffers,
    arena: Arena,
}

impl Workspace {
    /// Allocates buffers, and puts the angles of all positions there.
    pub(crate) fn new(device: &dyn Device, model: &GpuModel, sizes: Sizes) -> Result<Self, DeviceError> {
        let mut arena = Arena::new(device, bytes(model, &sizes))?;
        let buffers = cut(model, &sizes, &mut |size| arena.take(size));
        let rotation =
            model.config.rope.as_ref().map(|rope| rope.rotation(model.config.head_dim, 0)).unwrap_or_default();
        let (sines, cosines): (Vec<f32>, Vec<f32>) = (0..sizes.rows).flat_map(|t| rotation.at(t)).unzip();
        let rows: Vec<i32> = (0..sizes.rows as i32).collect();
        device.upload(buffers.lists.rows, bytemuck::cast_slice(&rows))?;
        device.upload(buffers.angles[0], bytemuck::cast_slice(&cosines))?;
        device.upload(buffers.angles[1], bytemuck::cast_slice(&sines))?;
        Ok(Self { sizes, buffers, arena })
    }

    /// Whether activations are made again.
    pub(crate) fn recomputes(&self) -> bool {
        self.sizes.purpose == Purpose::Gradients { recomputes: true }
    }

    /// Whether nothing wrote beside a buffer.
    pub(crate) fn is_intact(&self, device: &dyn Device) -> Result<bool, DeviceError> {
        self.arena.is_intact(device)
    }
}
