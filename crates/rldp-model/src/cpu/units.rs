//! Units' gradients: what a worker computes it hands over itself.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{
    angles::Angles,
    backward::UnitRows,
    batch::Batch,
    factors::Prepared,
    forward::{PairIndex, Pass},
    memory::MemoryPlan,
    queue,
    split::split,
    weights::BaseModel,
    worker::Worker,
};
use crate::{Sequence, UnitGradient, UnitInput, UnitSink, UnitSinks};

/// One core's work: consecutive units, or parts of one.
pub(super) struct Job<'a> {
    /// Its sequences, each with its unit, counted in the input. They are laid out when the job begins, so that a step's memory does
    /// not grow with its batch.
    sequences: &'a [(usize, Sequence<'a>)],
    /// The first unit, if it began in an earlier job.
    continues: Option<usize>,
    /// Whether the last unit goes on in the next job.
    goes_on: bool,
}

/// Splits sequences of units into jobs for `workers` by tokens, and by the memory of their gradients.
pub(super) fn jobs<'a>(
    sequences: &'a [(usize, Sequence<'a>)],
    plan: &MemoryPlan,
    workers: usize,
    parameters: usize,
) -> Vec<Job<'a>> {
    // A job's gradients take P floats a unit: many short sequences of large adapters are split by that.
    let most_units = (plan.gradient_bytes / (queue::AHEAD * workers) / (4 * parameters).max(1)).max(1);
    let least = plan.micro_batch_tokens.div_ceil(most_units).max(1);
    let tokens: Vec<usize> = sequences.iter().map(|(_, sequence)| sequence.tokens.len().max(least)).collect();
    let ranges = split(&tokens, plan.micro_batch_tokens, workers);
    let unit = |at: usize| sequences.get(at).map(|(unit, _)| *unit);
    let job = |range: Range<usize>| Job {
        continues: unit(range.start).filter(|_| range.start > 0 && unit(range.start - 1) == unit(range.start)),
        goes_on: unit(range.end).is_some_and(|next| unit(range.end - 1) == Some(next)),
        sequences: &sequences[range],
    };
    ranges.into_iter().map(job).collect()
}

/// All sequences that have tokens, each with its unit.
pub(super) fn sequences_of<'a>(units: &[UnitInput<'a>]) -> Vec<(usize, Sequence<'a>)> {
    let of_unit = |(unit, input): (usize, &UnitInput<'a>)| {
        let sequences = input.sequences.iter().filter(|sequence| !sequence.tokens.is_empty());
        sequences.map(move |sequence| (unit, *sequence)).collect::<Vec<_>>()
    };
    units.iter().enumerate().flat_map(of_unit).collect()
}

/// A worker with its part of the sinks.
struct Hand<'a> {
    worker: &'a mut Worker,
    sink: Box<dyn UnitSink + 'a>,
}

/// What the passes of all micro-batches share.
pub(super) struct Shared<'a> {
    pub(super) model: &'a BaseModel,
    pub(super) adapter: &'a Prepared<'a>,
    pub(super) pairs: &'a PairIndex,
    pub(super) angles: &'a Angles,
    /// P.
    pub(super) parameters: usize,
}

/// Runs all jobs; each worker gives its part of `sinks` the units that it has finished.
pub(super) fn hand_over(workers: &mut [Worker], jobs: &[Job], shared: &Shared, sinks: &dyn UnitSinks) {
    let split = SplitUnits::new(jobs);
    let hand = |worker| Hand { worker, sink: sinks.fork() };
    let mut hands: Vec<Hand> = workers.iter_mut().take(jobs.len()).map(hand).collect();
    queue::each(&mut hands, jobs, |hand, index, job| {
        let batch = Batch::new(job.sequences.iter().map(|(_, sequence)| *sequence));
        // The buffer stays with the worker: a fresh one would be mapped and cleared every time.
        let mut gradients = std::mem::take(&mut hand.worker.unit_gradients);
        let Shared { model, adapter, pairs, angles, parameters } = *shared;
        let pass = Pass { model, adapter: Some(adapter), pairs, batch: &batch, angles };
        let parts = run_job(hand.worker, &pass, job, parameters, &mut gradients);
        parts.give(index, &split, parameters, &mut *hand.sink);
        hand.worker.unit_gradients = gradients;
    });
}

/// Gives the gradient zero of every unit without tokens.
pub(super) fn give_empty_units(units: &[UnitInput], parameters: usize, sinks: &dyn UnitSinks) {
    let is_empty = |unit: &UnitInput| unit.sequences.iter().all(|sequence| sequence.tokens.is_empty());
    let mut empty = units.iter().enumerate().filter(|(_, unit)| is_empty(unit)).peekable();
    if empty.peek().is_none() {
        return;
    }
    let (gradient, mut sink) = (vec![0.0; parameters], sinks.fork());
    empty.for_each(|(unit, _)| sink.add(unit, UnitGradient { loss: 0.0, gradient: &gradient }));
}

/// Losses and gradients of the units of one job, in input order. Of a unit that began in an earlier job, every sequence stands
/// by itself: a unit's gradient is the first sequence's, plus the second's, plus the third's, wherever jobs begin and end.
struct Parts<'a> {
    /// The unit of each part.
    units: Vec<usize>,
    losses: Vec<f64>,
    /// (parts of the job, P).
    gradients: &'a [f32],
}

/// `gradients` is a buffer of any content.
fn run_job<'a>(
    worker: &mut Worker,
    pass: &Pass,
    job: &Job,
    parameters: usize,
    gradients: &'a mut Vec<f32>,
) -> Parts<'a> {
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
    let nll = worker.gradients(pass, &rows, parameters, gradients);
    let mut of_sequences = vec![0.0; rows.len()];
    for (scored, nll) in pass.batch.scored.iter().zip(&nll) {
        of_sequences[scored.sequence] += f64::from(scored.weight) * f64::from(*nll);
    }
    let mut losses = vec![0.0; units.len()];
    for (rows, loss) in rows.iter().zip(of_sequences) {
        losses[rows.slot] += loss;
    }
    Parts { units, losses, gradients }
}

impl Parts<'_> {
    /// Gives whole units to the sink, and parts of split ones to `split`.
    fn give(&self, job: usize, split: &SplitUnits, parameters: usize, sink: &mut dyn UnitSink) {
        let gradients = || self.gradients.chunks_exact(parameters);
        let parts = self.units.iter().zip(self.losses.iter().copied().zip(gradients()));
        let whole = parts.filter(|(unit, _)| !split.holds(**unit));
        let whole: Vec<_> = whole.map(|(&unit, (loss, gradient))| (unit, UnitGradient { loss, gradient })).collect();
        sink.add_several(&whole);
        // A unit in several jobs is the first or the last of this one.
        let mut ends = vec![self.units[0], self.units[self.units.len() - 1]];
        ends.dedup();
        for unit in ends.into_iter().filter(|unit| split.holds(*unit)) {
            let own = self.units.iter().zip(self.losses.iter().copied().zip(gradients()));
            let own: Vec<(f64, &[f32])> = own.filter(|(of, _)| **of == unit).map(|(_, part)| part).collect();
            if let Some((loss, gradient)) = split.add(unit, job, &own) {
                sink.add(unit, UnitGradient { loss, gradient: &gradient });
            }
        }
    }
}

/// Units that lie in several jobs. Their parts are added up in the order of the jobs, whichever is done first.
struct SplitUnits {
    /// In which jobs each unit lies.
    spans: BTreeMap<usize, Range<usize>>,
    open: Mutex<BTreeMap<usize, OpenUnit>>,
}

/// What is known of a unit before its last job is done.
#[derive(Default)]
struct OpenUnit {
    /// Jobs of the unit that are added up.
    added: usize,
    /// Parts from later jobs than the next.
    early: BTreeMap<usize, Vec<(f64, Vec<f32>)>>,
    loss: f64,
    /// The sum so far (P); empty before the first part.
    gradient: Vec<f32>,
}

impl SplitUnits {
    fn new(jobs: &[Job]) -> Self {
        let mut spans: BTreeMap<usize, Range<usize>> = BTreeMap::new();
        for (index, job) in jobs.iter().enumerate().filter(|(_, job)| job.goes_on) {
            let (unit, _) = job.sequences[job.sequences.len() - 1];
            spans.entry(unit).or_insert(index..index).end = index + 2;
        }
        Self { spans, open: Mutex::default() }
    }

    fn holds(&self, unit: usize) -> bool {
        self.spans.contains_key(&unit)
    }

    /// Takes what job `job` has of a unit; the whole unit when that was the last that was missing.
    fn add(&self, unit: usize, job: usize, parts: &[(f64, &[f32])]) -> Option<(f64, Vec<f32>)> {
        let span = &self.spans[&unit];
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.entry(unit).or_default();
        if job != span.start + found.added {
            let kept = parts.iter().map(|(loss, gradient)| (*loss, gradient.to_vec())).collect();
            found.early.insert(job, kept);
            return None;
        }
        parts.iter().for_each(|(loss, gradient)| found.plus(*loss, gradient));
        found.added += 1;
        while let Some(parts) = found.early.remove(&(span.start + found.added)) {
            parts.iter().for_each(|(loss, gradient)| found.plus(*loss, gradient));
            found.added += 1;
        }
        if found.added < span.len() {
            return None;
        }
        open.remove(&unit).map(|whole| (whole.loss, whole.gradient))
    }
}

impl OpenUnit {
    fn plus(&mut self, loss: f64, gradient: &[f32]) {
        self.loss += loss;
        if self.gradient.is_empty() {
            self.gradient.extend_from_slice(gradient);
        } else {
            self.gradient.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three jobs of one unit, done last to first: added up first to last, by f32 sums that show it.
    #[test]
    fn parts_of_a_unit_are_added_in_the_order_of_its_jobs() {
        let tokens = [1_u32, 2];
        let sequence = Sequence { tokens: &tokens, scored_from: 1, skipped: &[], weight: 1.0 };
        let sequences = [(0, sequence), (1, sequence), (1, sequence), (1, sequence), (2, sequence)];
        let job = |range: Range<usize>, continues, goes_on| Job { sequences: &sequences[range], continues, goes_on };
        let jobs = [job(0..2, None, true), job(2..3, Some(1), true), job(3..5, Some(1), false)];
        let split = SplitUnits::new(&jobs);
        assert!(!split.holds(0) && split.holds(1) && !split.holds(2));
        let (big, small) = ([1e8_f32], [3.0_f32]);
        assert!(split.add(1, 2, &[(0.5, &[-1e8])]).is_none());
        assert!(split.add(1, 1, &[(0.25, &small)]).is_none());
        let (loss, gradient) = split.add(1, 0, &[(1.0, &big)]).expect("all parts are there");
        assert_eq!((loss, gradient), (1.75, vec![(1e8_f32 + 3.0) - 1e8]));
    }
}
