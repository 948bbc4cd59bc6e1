//! Norms of every query and key head, between their maps and the rotation (Qwen 3).

use super::{
    forward::resize,
    weights::{BaseModel, Block},
};
use crate::kernels::norm::{self, RowStatistics};

/// What the backward pass needs.
#[derive(Debug, Default)]
pub(crate) struct HeadNormCache {
    /// Queries and keys before their norms (N, (H + KV) · D); empty in a model without them.
    raw: Vec<f32>,
    /// Statistics of each head of each row (N, H + KV).
    statistics: Vec<RowStatistics>,
}

/// Normalises queries and keys of fused rows in place.
pub(crate) fn forward(model: &BaseModel, block: &Block, fused: &mut [f32], cache: &mut HeadNormCache) {
    let Some([query, key]) = &block.head_norms else { return };
    let (width, turned, heads) = (model.fused_width(), model.turned_width(), model.config.heads);
    let rows = fused.len() / width;
    resize(&mut cache.raw, rows * turned);
    cache.statistics.resize(rows * turned / model.config.head_dim, RowStatistics::default());
    let (split, epsilon) = (heads * model.config.head_dim, model.config.norm_epsilon);
    let raw = cache.raw.chunks_exact_mut(turned);
    let statistics = cache.statistics.chunks_exact_mut(turned / model.config.head_dim);
    for ((row, raw), statistics) in fused.chunks_exact_mut(width).zip(raw).zip(statistics) {
        raw.copy_from_slice(&row[..turned]);
        let (of_queries, of_keys) = statistics.split_at_mut(heads);
        norm::forward(&raw[..split], &query.weight, None, epsilon, &mut row[..split], of_queries);
        norm::forward(&raw[split..], &key.weight, None, epsilon, &mut row[split..turned], of_keys);
    }
}

/// Takes gradients of normalised queries and keys, in fused rows, to those before their norms.
pub(crate) fn backward(model: &BaseModel, block: &Block, cache: &HeadNormCache, dfused: &mut [f32]) {
    let Some([query, key]) = &block.head_norms else { return };
    let (width, turned, heads) = (model.fused_width(), model.turned_width(), model.config.heads);
    let split = heads * model.config.head_dim;
    let mut draw = vec![0.0; turned];
    let raw = cache.raw.chunks_exact(turned);
    let statistics = cache.statistics.chunks_exact(turned / model.config.head_dim);
    for ((row, raw), statistics) in dfused.chunks_exact_mut(width).zip(raw).zip(statistics) {
        draw.fill(0.0);
        let (of_queries, of_keys) = statistics.split_at(heads);
        norm::backward(&raw[..split], &query.weight, false, of_queries, &row[..split], &mut draw[..split]);
        norm::backward(&raw[split..], &key.weight, false, of_keys, &row[split..turned], &mut draw[split..]);
        row[..turned].copy_from_slice(&draw);
    }
}
