//! The CPU engine: an explicit backward pass, ragged batches without padding, one micro-batch on each core.
//!
//! The micro-batches of a step are independent, so each core runs its own from the embedding to the gradients with its own
//! buffers; nothing is shared but the mapped weights, and results do not depend on how many cores there are.

mod backward;
mod batch;
mod forward;
mod head;
mod linear;
mod precision;
mod products;
mod weights;
mod worker;

use std::ops::Range;

use rayon::prelude::*;

use self::{
    backward::UnitRows,
    batch::Batch,
    forward::{Angles, PairIndex, Pass},
    weights::BaseModel,
    worker::Worker,
};
use crate::{
    Adapter, Engine, EngineError, ModelConfig, ModelError, ModelFiles, Sequence, SequenceLoss, UnitGradient, UnitInput,
};

pub use self::precision::Precision;
pub(crate) use self::{
    forward::{embed, find, head_view},
    head::all_logits,
    linear::{Columns, PairView},
    products::Products,
    weights::Norm,
};

/// Memory for one core's activations when the micro-batch is chosen automatically, in bytes.
const ACTIVATION_BYTES: usize = 384 << 20;
/// Memory for one wave's per-unit gradients, in bytes.
const GRADIENT_BYTES: usize = 512 << 20;

/// Precision, and settings that bound memory and change no result.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuOptions {
    /// Tokens of one micro-batch; chosen from the model's size when absent. A longer sequence is a micro-batch by itself.
    pub micro_batch_tokens: Option<usize>,
    /// Precision of the products with the frozen base model.
    pub precision: Precision,
}

/// The engine.
pub struct CpuEngine {
    model: BaseModel,
    micro_batch_tokens: usize,
    workers: Vec<Worker>,
}

/// One core's share of a wave: consecutive units (or parts of one), and where their gradients go.
struct Job<'a> {
    sequences: Vec<Sequence<'a>>,
    /// Unit of each sequence, counted in the input.
    units: Vec<usize>,
}

impl CpuEngine {
    /// An engine over a model's mapped weights.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn new(files: &ModelFiles, options: CpuOptions) -> Result<Self, ModelError> {
        let model = BaseModel::new(files)?;
        let automatic = (ACTIVATION_BYTES / (4 * model.floats_per_token())).clamp(64, 1024);
        let micro_batch_tokens = options.micro_batch_tokens.unwrap_or(automatic).max(1);
        let workers = (0..rayon::current_num_threads()).map(|_| Worker::new(options.precision)).collect();
        Ok(Self { model, micro_batch_tokens, workers })
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

/// Consecutive ranges of items whose tokens add up to at most `budget`, at least one item each.
fn split(tokens: &[usize], budget: usize) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut sum) = (Vec::new(), 0, 0);
    for (index, &count) in tokens.iter().enumerate() {
        if index > start && sum + count > budget {
            ranges.push(start..index);
            (start, sum) = (index, 0);
        }
        sum += count;
    }
    if start < tokens.len() {
        ranges.push(start..tokens.len());
    }
    ranges
}

impl Engine for CpuEngine {
    fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        let (pairs, angles) = (self.pairs(adapter), self.angles(longest(sequences)));
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens.len()).collect();
        let ranges = split(&lengths, self.micro_batch_tokens);
        let mut found = Vec::with_capacity(sequences.len());
        let Self { model, workers, .. } = self;
        for wave in ranges.chunks(workers.len()) {
            let batches: Vec<Batch> = wave
                .iter()
                .map(|range| Batch::new(&model.config, sequences[range.clone()].iter().copied()))
                .collect::<Result<_, _>>()?;
            let losses: Vec<Vec<SequenceLoss>> = workers
                .par_iter_mut()
                .zip(&batches)
                .map(|(worker, batch)| {
                    let pass = Pass { model, adapter, pairs: &pairs, batch, angles: &angles };
                    let nll = worker.losses(&pass);
                    sequence_losses(batch, &nll)
                })
                .collect();
            found.extend(losses.into_iter().flatten());
        }
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
        let jobs = self.jobs(units, parameters);
        let Self { model, workers, .. } = self;
        let mut open = OpenUnit { next: 0, loss: 0.0, gradient: vec![0.0; parameters] };
        for wave in jobs.chunks(workers.len()) {
            let batches: Vec<Batch> = wave
                .iter()
                .map(|job| Batch::new(&model.config, job.sequences.iter().copied()))
                .collect::<Result<_, _>>()?;
            let results: Vec<JobResult> = workers
                .par_iter_mut()
                .zip(wave.par_iter().zip(&batches))
                .map(|(worker, (job, batch))| {
                    let pass = Pass { model, adapter: Some(adapter), pairs: &pairs, batch, angles: &angles };
                    run_job(worker, &pass, job, parameters)
                })
                .collect();
            for result in results {
                open.absorb(result, parameters, sink);
            }
        }
        open.finish(units.len(), sink);
        Ok(())
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        let batch = Batch::new(&self.model.config, [Sequence { tokens, scored_from: 0, weight: 0.0 }])?;
        let (pairs, angles) = (self.pairs(adapter), self.angles(tokens.len()));
        let Self { model, workers, .. } = self;
        let pass = Pass { model, adapter, pairs: &pairs, batch: &batch, angles: &angles };
        Ok(workers[0].logits(&pass))
    }
}

impl CpuEngine {
    /// Splits units into jobs by tokens, and by the memory of their gradients.
    fn jobs<'a>(&self, units: &[UnitInput<'a>], parameters: usize) -> Vec<Job<'a>> {
        let mut sequences = Vec::new();
        for (unit, input) in units.iter().enumerate() {
            sequences.extend(input.sequences.iter().map(|sequence| (unit, *sequence)));
        }
        // A job's gradients take P floats a unit: many short sequences of large adapters are split by that.
        let most_units = (GRADIENT_BYTES / self.workers.len() / (4 * parameters)).max(1);
        let least = self.micro_batch_tokens.div_ceil(most_units).max(1);
        let tokens: Vec<usize> = sequences.iter().map(|(_, sequence)| sequence.tokens.len().max(least)).collect();
        let ranges = split(&tokens, self.micro_batch_tokens);
        let job = |range: Range<usize>| Job {
            units: sequences[range.clone()].iter().map(|(unit, _)| *unit).collect(),
            sequences: sequences[range].iter().map(|(_, sequence)| *sequence).collect(),
        };
        ranges.into_iter().map(job).collect()
    }
}

fn sequence_losses(batch: &Batch, nll: &[f32]) -> Vec<SequenceLoss> {
    let mut losses = vec![SequenceLoss::default(); batch.sequences.len()];
    for (scored, nll) in batch.scored.iter().zip(nll) {
        losses[scored.sequence].nll += f64::from(*nll);
        losses[scored.sequence].tokens += 1;
    }
    losses
}

/// Losses and gradients of the units of one job, in input order.
struct JobResult {
    units: Vec<usize>,
    losses: Vec<f64>,
    /// (units of the job, P).
    gradients: Vec<f32>,
}

fn run_job(worker: &mut Worker, pass: &Pass, job: &Job, parameters: usize) -> JobResult {
    let mut units = job.units.clone();
    units.dedup();
    let slot = |unit: usize| units.binary_search(&unit).unwrap_or_default();
    let rows: Vec<UnitRows> = job
        .units
        .iter()
        .zip(&pass.batch.sequences)
        .map(|(unit, rows)| UnitRows { rows: rows.clone(), slot: slot(*unit) })
        .collect();
    let mut gradients = vec![0.0; units.len() * parameters];
    let nll = worker.gradients(pass, &rows, parameters, &mut gradients);
    let mut losses = vec![0.0; units.len()];
    for (scored, nll) in pass.batch.scored.iter().zip(&nll) {
        losses[rows[scored.sequence].slot] += f64::from(scored.weight) * f64::from(*nll);
    }
    JobResult { units, losses, gradients }
}

/// A unit whose sequences may go on in the next job.
struct OpenUnit {
    next: usize,
    loss: f64,
    gradient: Vec<f32>,
}

impl OpenUnit {
    fn absorb(&mut self, result: JobResult, parameters: usize, sink: &mut dyn FnMut(usize, UnitGradient)) {
        for ((unit, loss), gradient) in
            result.units.iter().zip(&result.losses).zip(result.gradients.chunks_exact(parameters))
        {
            self.finish(*unit, sink);
            self.loss += loss;
            for (sum, g) in self.gradient.iter_mut().zip(gradient) {
                *sum += g;
            }
        }
    }

    /// Hands over every unit before `unit`.
    fn finish(&mut self, unit: usize, sink: &mut dyn FnMut(usize, UnitGradient)) {
        while self.next < unit {
            sink(self.next, UnitGradient { loss: self.loss, gradient: &self.gradient });
            self.gradient.fill(0.0);
            self.loss = 0.0;
            self.next += 1;
        }
    }
}
