//! The CPU engine: an explicit backward pass, ragged batches without padding, one micro-batch on each core.
//!
//! The micro-batches of a step are independent, so each core runs its own from the embedding to the gradients with its own
//! buffers; nothing is shared but the mapped weights, and results do not depend on how many cores there are.

mod backward;
mod batch;
mod factors;
mod forward;
mod head;
pub(crate) mod head_norm;
mod kernel_cases;
mod linear;
mod memory;
mod precision;
mod products;
mod queue;
mod speed;
mod split;
mod weights;
mod worker;

use std::{ops::Range, sync::Mutex};

use self::{
    backward::UnitRows,
    batch::Batch,
    forward::{Angles, PairIndex, Pass},
    memory::MemoryPlan,
    split::split,
    weights::BaseModel,
    worker::Worker,
};
use crate::{
    Adapter, Engine, EngineError, ModelConfig, ModelError, ModelFiles, Sequence, SequenceLoss, UnitGradient, UnitInput,
    kernels::bf16,
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
    precision::Precision,
    speed::{peak_speed, product_speed},
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
    /// Buffers of per-unit gradients, reused from step to step: fresh ones would be mapped and cleared every time.
    spare: Mutex<Vec<Vec<f32>>>,
}

/// One core's work: consecutive units, or parts of one.
struct Job<'a> {
    /// Its sequences, each with its unit, counted in the input. They are laid out when the job begins, so that a step's memory does
    /// not grow with its batch.
    sequences: &'a [(usize, Sequence<'a>)],
    /// The first unit, if it began in an earlier job.
    continues: Option<usize>,
    /// Whether the last unit goes on in the next job.
    goes_on: bool,
}

impl CpuEngine {
    /// An engine over a model's mapped weights.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape, or the memory limit is too small for the model.
    pub fn new(files: &ModelFiles, options: CpuOptions) -> Result<Self, ModelError> {
        let mut model = BaseModel::new(files)?;
        let count = rayon::current_num_threads();
        let in_tiles = options.precision == Precision::Bf16 && bf16::fastest().is_some();
        let mut plan = MemoryPlan::new(&model, count, in_tiles, options.memory_limit)?;
        plan.micro_batch_tokens = options.micro_batch_tokens.unwrap_or(plan.micro_batch_tokens).max(1);
        (model.keeps_tiles, model.recomputes) = (plan.keeps_tiles, plan.recomputes);
        let workers = (0..count).map(|_| Worker::new(options.precision)).collect();
        Ok(Self { model, plan, workers, spare: Mutex::default() })
    }

    /// The model as the decoder uses it.
    pub(crate) fn model(&self) -> &BaseModel {
        &self.model
    }

    fn pairs(&self, adapter: Option<&Adapter>) -> PairIndex {
        pair_index(&self.model, adapter)
    }

    fn angles(&self, longest: usize) -> Angles {
        Angles::new(&self.model.frequencies, longest)
    }
}

/// Which pair of the adapter sits on which map of the model.
pub(crate) fn pair_index(model: &BaseModel, adapter: Option<&Adapter>) -> PairIndex {
    let find = |name: &str| {
        adapter.and_then(|adapter| adapter.layout().pairs().iter().position(|pair| pair.linear.name == name))
    };
    model.blocks.iter().map(|block| block.linears.iter().map(|linear| find(&linear.spec.name)).collect()).collect()
}

fn longest<'a>(sequences: impl IntoIterator<Item = &'a Sequence<'a>>) -> usize {
    sequences.into_iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0)
}

impl Engine for CpuEngine {
    fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        sequences.iter().try_for_each(|sequence| self.model.config.check_tokens(sequence.tokens))?;
        let (pairs, angles) = (self.pairs(adapter), self.angles(longest(sequences)));
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens.len()).collect();
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
        sink: &mut dyn FnMut(usize, UnitGradient),
    ) -> Result<(), EngineError> {
        let parameters = adapter.layout().parameter_count();
        let angles = self.angles(longest(units.iter().flat_map(|unit| &unit.sequences)));
        let pairs = self.pairs(Some(adapter));
        let sequences = sequences_of(units);
        sequences.iter().try_for_each(|(_, sequence)| self.model.config.check_tokens(sequence.tokens))?;
        let jobs = self.jobs(&sequences, parameters);
        let Self { model, workers, spare, .. } = self;
        let spare = &*spare;
        let mut open = OpenUnit { next: 0, pending: false, loss: 0.0, gradient: vec![0.0; parameters] };
        let prepared = Prepared::new(adapter);
        let run = |worker: &mut Worker, job: &Job| {
            let batch = &Batch::new(job.sequences.iter().map(|(_, sequence)| *sequence));
            let pass = Pass { model, adapter: Some(&prepared), pairs: &pairs, batch, angles: &angles };
            let gradients = spare.lock().ok().and_then(|mut spare| spare.pop()).unwrap_or_default();
            run_job(worker, &pass, job, parameters, gradients)
        };
        queue::in_order(workers, &jobs, run, |result| {
            open.absorb(&result, parameters, sink);
            if let Ok(mut spare) = spare.lock() {
                spare.push(result.gradients);
            }
        });
        open.finish(units.len(), sink);
        Ok(())
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.model.config.check_tokens(tokens)?;
        let (pairs, angles) = (self.pairs(adapter), self.angles(tokens.len()));
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
        let longest = sequences.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
        let (pairs, angles) = (self.pairs(adapter), self.angles(longest));
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

impl CpuEngine {
    /// Splits sequences of units into jobs by tokens, and by the memory of their gradients.
    fn jobs<'a>(&self, sequences: &'a [(usize, Sequence<'a>)], parameters: usize) -> Vec<Job<'a>> {
        // A job's gradients take P floats a unit: many short sequences of large adapters are split by that.
        let most_units =
            (self.plan.gradient_bytes / (queue::AHEAD * self.workers.len()) / (4 * parameters).max(1)).max(1);
        let least = self.plan.micro_batch_tokens.div_ceil(most_units).max(1);
        let tokens: Vec<usize> = sequences.iter().map(|(_, sequence)| sequence.tokens.len().max(least)).collect();
        let ranges = split(&tokens, self.plan.micro_batch_tokens, self.workers.len());
        let unit = |at: usize| sequences.get(at).map(|(unit, _)| *unit);
        let job = |range: Range<usize>| Job {
            continues: unit(range.start).filter(|_| range.start > 0 && unit(range.start - 1) == unit(range.start)),
            goes_on: unit(range.end).is_some_and(|next| unit(range.end - 1) == Some(next)),
            sequences: &sequences[range],
        };
        ranges.into_iter().map(job).collect()
    }
}

/// All sequences that have tokens, each with its unit.
fn sequences_of<'a>(units: &[UnitInput<'a>]) -> Vec<(usize, Sequence<'a>)> {
    let of_unit = |(unit, input): (usize, &UnitInput<'a>)| {
        let sequences = input.sequences.iter().filter(|sequence| !sequence.tokens.is_empty());
        sequences.map(move |sequence| (unit, *sequence)).collect::<Vec<_>>()
    };
    units.iter().enumerate().flat_map(of_unit).collect()
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
    let batch = &Batch::new([Sequence { tokens, scored_from: 0, weight: 0.0 }]);
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

/// Losses and gradients of the units of one job, in input order. Of a unit that began in an earlier job, every sequence stands
/// by itself: a unit's gradient is the first sequence's, plus the second's, plus the third's, wherever jobs begin and end.
struct JobResult {
    /// The unit of each part.
    units: Vec<usize>,
    losses: Vec<f64>,
    /// (parts of the job, P).
    gradients: Vec<f32>,
    goes_on: bool,
}

/// `gradients` is a buffer of any content.
fn run_job(worker: &mut Worker, pass: &Pass, job: &Job, parameters: usize, mut gradients: Vec<f32>) -> JobResult {
    let mut units: Vec<usize> = Vec::new();
    let rows = job.sequences.iter().zip(&pass.batch.sequences).map(|((unit, _), rows)| {
        let adds = units.last() == Some(unit) && job.continues != Some(*unit);
        if !adds {
            units.push(*unit);
        }
        UnitRows { rows: rows.clone(), slot: units.len() - 1, adds }
    });
    let rows: Vec<UnitRows> = rows.collect();
    gradients.resize(units.len() * parameters, 0.0);
    let nll = worker.gradients(pass, &rows, parameters, &mut gradients);
    let mut of_sequences = vec![0.0; rows.len()];
    for (scored, nll) in pass.batch.scored.iter().zip(&nll) {
        of_sequences[scored.sequence] += f64::from(scored.weight) * f64::from(*nll);
    }
    let mut losses = vec![0.0; units.len()];
    for (rows, loss) in rows.iter().zip(of_sequences) {
        losses[rows.slot] += loss;
    }
    JobResult { units, losses, gradients, goes_on: job.goes_on }
}

/// The next unit to hand over, and what earlier jobs have found of it.
struct OpenUnit {
    next: usize,
    pending: bool,
    loss: f64,
    gradient: Vec<f32>,
}

impl OpenUnit {
    fn absorb(&mut self, result: &JobResult, parameters: usize, sink: &mut dyn FnMut(usize, UnitGradient)) {
        let last = result.units.last();
        let parts = result.units.iter().zip(&result.losses).zip(result.gradients.chunks_exact(parameters));
        for ((unit, &loss), gradient) in parts {
            self.finish(*unit, sink);
            let goes_on = result.goes_on && last == Some(unit);
            if !self.pending && !goes_on {
                sink(*unit, UnitGradient { loss, gradient });
                self.next = unit + 1;
                continue;
            }
            self.loss += loss;
            if self.pending {
                self.gradient.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
            } else {
                self.gradient.copy_from_slice(gradient);
            }
            self.pending = true;
        }
    }

    /// Hands over every unit before `unit`.
    fn finish(&mut self, unit: usize, sink: &mut dyn FnMut(usize, UnitGradient)) {
        while self.next < unit {
            sink(self.next, UnitGradient { loss: self.loss, gradient: &self.gradient });
            if self.pending {
                self.gradient.fill(0.0);
            }
            (self.pending, self.loss) = (false, 0.0);
            self.next += 1;
        }
    }
}
