//! How much memory a step takes, and the micro-batch that fits a limit.

use super::{queue, weights::BaseModel};
use crate::ModelError;

/// Memory for one core's activations when nothing limits them, in bytes.
const ACTIVATION_BYTES: usize = 1 << 30;
/// Memory for one core's activations of a small model, in bytes: they stay in the second cache, or nearly.
const CACHED_BYTES: usize = 2 << 20;
/// Tokens of a micro-batch at most: more share no work that counts.
const MOST_TOKENS: usize = 704;
/// The same where matrices are kept in tiles, so that a micro-batch need not lay them out.
const MOST_TOKENS_OF_KEPT: usize = 448;
/// Tokens below which a micro-batch is too small to share the work on the weights.
const CACHED_TOKENS: usize = 128;
/// Memory for the per-unit gradients of all jobs in progress, in bytes.
const GRADIENT_BYTES: usize = 512 << 20;
/// Memory for all matrices in tiles, in bytes; a larger model's are laid out piece by piece, over and over.
const KEPT_BYTES: usize = 1 << 30;
/// Code, tokenizer, heap and buffers whose size depends on neither model nor batch, in bytes.
const BASE_BYTES: usize = 96 << 20;
/// Buffers of one core whose size does not depend on the micro-batch: a chunk of logits, pieces of matrices, its stack.
const WORKER_BYTES: usize = 16 << 20;
/// Bytes of a parameter outside the engine: the adapter and its start, two moments, the sum, its noise, two releases, and layouts.
const PARAMETER_BYTES: usize = 64;

/// A limit on the memory of the whole process, and what the engine cannot know of it.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimit {
    /// Resident bytes at most; the mapped weights count.
    pub bytes: usize,
    /// P, parameters of the adapter.
    pub adapter_parameters: usize,
    /// What is kept of earlier steps, in bytes a parameter of the adapter.
    pub past_bytes: usize,
    /// Tokens of the longest sequence.
    pub longest: usize,
}

/// What bounds memory, and changes no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    pub(crate) micro_batch_tokens: usize,
    /// Memory for the per-unit gradients of all jobs in progress, in bytes.
    pub(crate) gradient_bytes: usize,
    /// Whether products in bf16 keep the matrices they have laid out.
    pub(crate) keeps_tiles: bool,
    /// Whether activations are made again: a third more arithmetic, for memory that hardly grows with the number of blocks.
    pub(crate) recomputes: bool,
}

impl MemoryPlan {
    /// What is fastest, within the limit.
    ///
    /// # Errors
    /// When even one sequence a core at a time does not fit.
    pub(crate) fn new(
        model: &BaseModel,
        workers: usize,
        in_tiles: bool,
        limit: Option<MemoryLimit>,
    ) -> Result<Self, ModelError> {
        let keeps_tiles = in_tiles && model.tile_bytes() <= KEPT_BYTES;
        let bound = if keeps_tiles { MOST_TOKENS_OF_KEPT } else { MOST_TOKENS };
        let within = |bytes: usize| bytes / (4 * model.floats_per_token(false));
        let cached = within(CACHED_BYTES);
        let most = if cached >= CACHED_TOKENS { cached } else { within(ACTIVATION_BYTES) }.clamp(64, bound);
        let free = Self { micro_batch_tokens: most, gradient_bytes: GRADIENT_BYTES, keeps_tiles, recomputes: false };
        let Some(limit) = limit else { return Ok(free) };
        let gradient_bytes = (limit.bytes / 8).min(GRADIENT_BYTES);
        let plan = |keeps_tiles, recomputes| Self { gradient_bytes, keeps_tiles, recomputes, ..free };
        // From the fastest to the smallest. A batch of half the size is as good as one without kept tiles.
        let plans = [
            (plan(keeps_tiles, false), limit.longest.max(most / 2)),
            (plan(false, false), limit.longest),
            (plan(keeps_tiles, true), limit.longest),
            (plan(false, true), limit.longest),
        ];
        for (plan, least) in plans {
            let room = limit.bytes.saturating_sub(plan.fixed_bytes(model, workers, limit));
            let tokens = room / (workers * model.bytes_per_token(plan.recomputes));
            if tokens >= least.max(1) {
                return Ok(Self { micro_batch_tokens: tokens.min(most.max(limit.longest)), ..plan });
            }
        }
        let smallest = plan(false, true).fixed_bytes(model, workers, limit);
        let needed = smallest + workers * limit.longest.max(1) * model.bytes_per_token(true);
        Err(ModelError::Memory { limit: limit.bytes, needed, workers })
    }

    /// Bytes that do not depend on the micro-batch.
    fn fixed_bytes(&self, model: &BaseModel, workers: usize, limit: MemoryLimit) -> usize {
        let gradient = 4 * limit.adapter_parameters;
        // Each worker has a micro-batch's gradients, and an exact sum of what it has clipped; a unit may lie in several jobs.
        let buffers = (self.gradient_bytes / queue::AHEAD).max(workers * gradient);
        let sums = 2 * workers * gradient;
        let gradients = self.gradient_bytes.max(buffers + sums) + gradient;
        gradients + self.bytes_without_gradients(model, workers, limit)
    }

    /// What training takes at most, whatever the limit is.
    pub(crate) fn peak_bytes(&self, model: &BaseModel, workers: usize, of: MemoryLimit) -> usize {
        let units = self.micro_batch_tokens / of.longest.max(1) + 1;
        let gradient = 4 * of.adapter_parameters;
        // A worker has the gradients of its micro-batch, within what all may have together, and an exact sum.
        let buffers = (units * gradient).min((self.gradient_bytes / (queue::AHEAD * workers)).max(gradient));
        let gradients = workers * (buffers + 2 * gradient) + gradient;
        let activations = workers * self.micro_batch_tokens.max(of.longest) * model.bytes_per_token(self.recomputes);
        gradients + activations + self.bytes_without_gradients(model, workers, of)
    }

    fn bytes_without_gradients(&self, model: &BaseModel, workers: usize, limit: MemoryLimit) -> usize {
        let tiles = if self.keeps_tiles { model.tile_bytes() } else { 0 };
        let own = (PARAMETER_BYTES + limit.past_bytes) * limit.adapter_parameters + BASE_BYTES + workers * WORKER_BYTES;
        model.stored_bytes() + tiles + own
    }
}
