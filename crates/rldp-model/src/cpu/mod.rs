//! The CPU engine: an explicit backward pass, ragged batches without padding, one micro-batch on each core.
//!
//! The micro-batches of a step are independent, so each core runs its own from the embedding to the gradients with its own
//! buffers; nothing is shared but the mapped weights, and results do not depend on how many cores there are.

mod angles;
mod backward;
mod batch;
mod factors;
mod forward;
mod head;
pub(crate) mod head_norm;
#[cfg(test)]
mod invariance;
mod kernel_cases;
mod linear;
mod memory;
mod precision;
mod products;
mod queue;
mod speed;
mod split;
mod units;
mod weights;
mod worker;

use std::ops::Range;

use self::{
    angles::Angles,
    batch::Batch,
    forward::{PairIndex, Pass},
    memory::MemoryPlan,
    split::split,
    units::{Shared, give_empty_units, hand_over, jobs, sequences_of},
    weights::{BaseModel, Block},
    worker::Worker,
};
use crate::{
    Adapter, Engine, EngineError, ModelConfig, ModelError, ModelFiles, Sequence, SequenceLoss, UnitInput,
    UnitInvariance, UnitSinks,
    generate::{GenerateOptions, generate},
};

pub(crate) use self::{
    factors::Prepared,
    forward::{embed, find, head_groups},
    head::all_logits,
    linear::Columns,
    products::Products,
    weights::Norm,
};
pub use self::{
    kernel_cases::{KernelCase, kernel_cases},
    memory::MemoryLimit,
    precision::{Precision, instruction_sets},
    speed::{fastest_precision, peak_speed, product_speed},
};

/// Precision, and settings that bound memory and change no result.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuOptions {
    /// Tokens of one micro-batch; chosen from the model's size when absent. A longer sequence is a micro-batch by itself.
    pub micro_batch_tokens: Option<usize>,
    /// Memory that the process may take; decides what is not set above.
    pub memory_limit: Option<MemoryLimit>,
    /// Precision of the products with the frozen base model.
    pub precision: Precision,
}

/// The engine.
pub struct CpuEngine {
    model: BaseModel,
    plan: MemoryPlan,
    workers: Vec<Worker>,
}

impl CpuEngine {
    /// An engine over a model's mapped weights.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape, or the memory limit is too small for the model.
    pub fn new(files: &ModelFiles, options: CpuOptions) -> Result<Self, ModelError> {
        let mut model = BaseModel::new(files)?;
        let count = rayon::current_num_threads();
        let kernel = options.precision.kernel();
        let mut plan = MemoryPlan::new(&model, count, kernel.is_some(), options.memory_limit)?;
        plan.micro_batch_tokens = options.micro_batch_tokens.unwrap_or(plan.micro_batch_tokens).max(1);
        (model.keeps_tiles, model.recomputes) = (plan.keeps_tiles, plan.recomputes);
        let workers = (0..count).map(|_| Worker::new(kernel)).collect();
        Ok(Self { model, plan, workers })
    }

    /// The model as the decoder uses it.
    pub(crate) fn model(&self) -> &BaseModel {
        &self.model
    }

    fn pairs(&self, adapter: Option<&Adapter>) -> Result<PairIndex, EngineError> {
        pair_index(&self.model, adapter)
    }

    fn angles(&self, lengths: impl IntoIterator<Item = usize>) -> Angles {
        Angles::new(&self.model.config, lengths)
    }
}

/// Which pair of the adapter sits on which map of the model.
pub(crate) fn pair_index(model: &BaseModel, adapter: Option<&Adapter>) -> Result<PairIndex, EngineError> {
    adapter.map_or(Ok(()), |adapter| model.config.check_adapter(adapter))?;
    let find = |name: &str| {
        adapter.and_then(|adapter| adapter.layout().pairs().iter().position(|pair| pair.linear.name == name))
    };
    let of_block = |block: &Block| block.linears.iter().map(|linear| find(&linear.spec.name)).collect();
    Ok(model.blocks.iter().map(of_block).collect())
}

impl Engine for CpuEngine {
    fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    fn peak_memory(&self, adapter_parameters: usize, past_bytes: usize, longest: usize) -> Option<usize> {
        let of = MemoryLimit { bytes: usize::MAX, adapter_parameters, past_bytes, longest };
        Some(self.plan.peak_bytes(&self.model, self.workers.len(), of))
    }

    fn unit_invariance(&self) -> UnitInvariance {
        UnitInvariance::Exact
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        sequences.iter().try_for_each(|sequence| self.model.config.check_tokens(sequence.tokens))?;
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens.len()).collect();
        let (pairs, angles) = (self.pairs(adapter)?, self.angles(lengths.iter().copied()));
        let ranges = split(&lengths, self.plan.micro_batch_tokens, self.workers.len());
        let mut found = Vec::with_capacity(sequences.len());
        let adapter = adapter.map(Prepared::new);
        let adapter = adapter.as_ref();
        let Self { model, workers, .. } = self;
        let run = |worker: &mut Worker, range: &Range<usize>| {
            let batch = &Batch::new(sequences[range.clone()].iter().copied());
            let nll = worker.losses(&Pass { model, adapter, pairs: &pairs, batch, angles: &angles });
            sequence_losses(batch, &nll)
        };
        queue::in_order(workers, &ranges, run, |losses| found.extend(losses));
        Ok(found)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        let sequences = sequences_of(units);
        sequences.iter().try_for_each(|(_, sequence)| self.model.config.check_tokens(sequence.tokens))?;
        let angles = self.angles(sequences.iter().map(|(_, sequence)| sequence.tokens.len()));
        let pairs = self.pairs(Some(adapter))?;
        let parameters = adapter.layout().parameter_count();
        let jobs = jobs(&sequences, &self.plan, self.workers.len(), parameters);
        let prepared = Prepared::new(adapter);
        let Self { model, workers, .. } = self;
        let shared = Shared { model, adapter: &prepared, pairs: &pairs, angles: &angles, parameters };
        hand_over(workers, &jobs, &shared, sinks);
        give_empty_units(units, parameters, sinks);
        Ok(())
    }

    fn generate(
        &mut self,
        adapter: Option<&Adapter>,
        prompt: &[u32],
        options: &GenerateOptions,
    ) -> Result<Vec<u32>, EngineError> {
        generate(self, adapter, prompt, options)
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.model.config.check_tokens(tokens)?;
        let (pairs, angles) = (self.pairs(adapter)?, self.angles([tokens.len()]));
        let adapter = adapter.map(Prepared::new);
        let Self { model, workers, .. } = self;
        Ok(sequence_logits(model, &mut workers[0], adapter.as_ref(), &pairs, &angles, tokens))
    }

    fn for_each_logits(
        &mut self,
        adapter: Option<&Adapter>,
        sequences: &[&[u32]],
        visit: &(dyn Fn(usize, &[f32]) + Sync),
    ) -> Result<(), EngineError> {
        sequences.iter().try_for_each(|tokens| self.model.config.check_tokens(tokens))?;
        let (pairs, angles) = (self.pairs(adapter)?, self.angles(sequences.iter().map(|tokens| tokens.len())));
        let adapter = adapter.map(Prepared::new);
        let adapter = adapter.as_ref();
        let Self { model, workers, .. } = self;
        let run = |worker: &mut Worker, (index, tokens): &(usize, &[u32])| {
            visit(*index, &sequence_logits(model, worker, adapter, &pairs, &angles, tokens));
        };
        let jobs: Vec<(usize, &[u32])> = sequences.iter().copied().enumerate().collect();
        queue::in_order(workers, &jobs, run, |()| ());
        Ok(())
    }
}

/// Logits of every position (T, V).
fn sequence_logits(
    model: &BaseModel,
    worker: &mut Worker,
    adapter: Option<&Prepared>,
    pairs: &PairIndex,
    angles: &Angles,
    tokens: &[u32],
) -> Vec<f32> {
    let batch = &Batch::new([Sequence { tokens, scored_from: 0, skipped: &[], weight: 0.0 }]);
    worker.logits(&Pass { model, adapter, pairs, batch, angles })
}

fn sequence_losses(batch: &Batch, nll: &[f32]) -> Vec<SequenceLoss> {
    let mut losses = vec![SequenceLoss::default(); batch.sequences.len()];
    for (scored, nll) in batch.scored.iter().zip(nll) {
        losses[scored.sequence].nll += f64::from(*nll);
        losses[scored.sequence].tokens += 1;
    }
    losses
}
