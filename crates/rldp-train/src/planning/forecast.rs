//! What a person should know before the first step: noise, duration, memory.

use std::time::Instant;

use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;
use rldp_model::{Sequence, UnitGradient, UnitInput, UnitSink, UnitSinks};

use crate::{
    error::TrainError,
    planning::recommend::{PlanRow, Workload, planned_row},
    settings::past_bytes,
    trainer::Trainer,
};

/// Units of the call that is not timed.
const WARMING: usize = 2;
/// Units that are timed at first: fewer do not fill the micro-batches of all cores.
const FEW: usize = 16;
/// Units whose lengths are timed at most.
const MOST: usize = 64;
/// The timing ends when it has taken this part of what the run is expected to, or this many seconds.
const FRACTION: f64 = 0.04;
const SECONDS: f64 = 2.0;
/// Seconds a trained number takes in a step beside its gradients: exact Gaussian noise, the optimizer, the sum.
const SECONDS_A_NUMBER: f64 = 60e-9;
/// Seconds a number of a unit's gradient takes to be clipped and added up, on one of two cores.
const SECONDS_A_UNITS_NUMBER: f64 = 0.5e-9;
/// Seconds of a step whatever its size: a ledger line that is synced, lines of metrics.
const SECONDS_A_STEP: f64 = 2e-3;

/// What is expected of the rest of a run.
///
/// Duration is timed on random tokens, in units as long as the run's own: it is as private as their lengths, and for the person
/// at the terminal alone.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The plan.
    pub plan: PlanRow,
    /// Steps that are left.
    pub steps_left: u64,
    /// Expected seconds of them.
    pub seconds: f64,
    /// Expected resident bytes, where the engine knows.
    pub memory: Option<usize>,
}

impl Trainer {
    /// Times the engine for a part of the run's own duration.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn forecast(&mut self) -> Result<Forecast, TrainError> {
        let claim = self.mechanism.spender.claim();
        let layout = self.learner.adapter.layout();
        let work = Workload {
            units: self.mechanism.units.expected(),
            pairs: layout.pairs().len(),
            parameters: layout.trained_count(),
            record_work: None,
        };
        let plan = planned_row(claim, self.mechanism.now.noise_multiplier, &work)?;
        let steps_left = plan.steps.saturating_sub(self.mechanism.spender.steps_charged());
        let total = layout.parameter_count();
        let overhead = SECONDS_A_STEP + SECONDS_A_NUMBER * total as f64;
        let seconds_left = |unit: f64| steps_left as f64 * (overhead + plan.batch_size * unit);
        let unit = self.seconds_a_unit(&seconds_left)? + SECONDS_A_UNITS_NUMBER * total as f64;
        let evaluations = steps_left.div_ceil(self.run.settings.output.eval_every.max(1)) as f64;
        let evaluated = self.run.eval.as_ref().map_or(0, crate::evaluate::PublicRecords::scored_tokens) as f64;
        let token = unit / self.mean_tokens().max(1.0);
        // An evaluation is a forward pass alone.
        let evaluating = evaluations * evaluated * 0.45 * token;
        let warming = self.public.as_ref().map_or(0.0, |text| token * text.most_tokens(&self.run.settings));
        let memory = self.engine.peak_memory(total, past_bytes(plan.noise_bands), self.run.settings.data.max_length);
        let seconds = seconds_left(unit) + evaluating + warming;
        Ok(Forecast { plan, steps_left, seconds, memory })
    }

    /// Lengths of the blocks of some units, from all over the file, in random order, so that the first of them stand for all.
    fn some_lengths(&self) -> Vec<Vec<usize>> {
        let (all, some) = (self.mechanism.units.len(), self.mechanism.units.len().min(MOST));
        let unit = |index: usize| self.mechanism.units.unit(index * all / some.max(1));
        let mut lengths: Vec<Vec<usize>> =
            (0..some).map(|index| unit(index).blocks.iter().map(|block| block.tokens.len()).collect()).collect();
        lengths.shuffle(&mut ChaCha12Rng::seed_from_u64(1));
        lengths
    }

    fn mean_tokens(&self) -> f64 {
        let lengths = self.some_lengths();
        lengths.iter().flatten().sum::<usize>() as f64 / lengths.len().max(1) as f64
    }

    fn seconds_a_unit(&mut self, seconds_left: &dyn Fn(f64) -> f64) -> Result<f64, TrainError> {
        let lengths = self.some_lengths();
        let mut rng = ChaCha12Rng::seed_from_u64(0);
        let vocab = self.engine.config().vocab_size as u32;
        let mut random = |length: &usize| (0..*length).map(|_| rng.random_range(0..vocab)).collect();
        let tokens: Vec<Vec<Vec<u32>>> =
            lengths.iter().map(|blocks| blocks.iter().map(&mut random).collect()).collect();
        let inputs: Vec<UnitInput> = tokens.iter().map(|blocks| input(blocks)).collect();
        let engine = &mut self.engine;
        let adapter = &self.learner.adapter;
        let mut time = |count: usize| -> Result<f64, TrainError> {
            let started = Instant::now();
            engine.unit_gradients(adapter, &inputs[..count], &Nowhere)?;
            Ok(started.elapsed().as_secs_f64())
        };
        // The first call reads weights and lays out matrices, which the run then has.
        time(WARMING.min(inputs.len()))?;
        let mut count = FEW.min(inputs.len());
        // The next one makes room for the gradients of every worker.
        time(count)?;
        let (mut units, mut spent) = (0, 0.0);
        loop {
            spent += time(count)?;
            units += count;
            let unit = spent / units.max(1) as f64;
            if spent > SECONDS || spent >= FRACTION * seconds_left(unit) {
                return Ok(unit);
            }
            count = (2 * count).min(inputs.len());
        }
    }
}

/// Where gradients go that are only timed.
struct Nowhere;

impl UnitSinks for Nowhere {
    fn fork(&self) -> Box<dyn UnitSink + '_> {
        Box::new(Nowhere)
    }
}

impl UnitSink for Nowhere {
    fn add(&mut self, _unit: usize, _gradient: UnitGradient) {}
}

fn input(blocks: &[Vec<u32>]) -> UnitInput<'_> {
    UnitInput {
        sequences: blocks.iter().map(|tokens| Sequence { tokens, scored_from: 1, skipped: &[], weight: 1.0 }).collect(),
    }
}
