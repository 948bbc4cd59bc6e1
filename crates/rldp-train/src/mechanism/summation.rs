//! How a drawn batch becomes a clipped sum.
//!
//! The engine gives each of its workers a part, in which the worker clips, truncates and sums its units itself; an engine on a device
//! may sum them there. Either way the sums are integers by one public frame, so they are joined exactly and in any order.
//!
//! # Several processes
//!
//! [`Summation`] is the seam. The process that holds the ledger charges the step, draws the batch and keeps noise, optimizer and
//! controller; in [`Summation::sum`] it deals the batch's units to the others, with the adapter's parameters and the frame, which are
//! public, and adds up the integers that come back ([`PartialSum::to_wire`]). Every process runs [`sum_units`] on its share, with an
//! engine and a copy of the units of its own. What a step released reaches the others as the parameters that the next task brings, so
//! nothing else is to be sent, and a process that is lost takes no state with it.

use std::sync::{Arc, Mutex, PoisonError};

use rldp_data::PrivacyUnits;
use rldp_model::{
    Adapter, AdapterLayout, Engine, NormRule, StatisticRule, SumRule, UnitGradient, UnitInput, UnitSink, UnitSinks,
};
use rldp_privacy::{Frame, NormBins, PartialSum, Scaling, Sensitive};

use super::{geometry::Geometry, passage::Passage, unit_input};
use crate::error::TrainError;

/// What is to be summed in a step. It names records, and is not printed.
pub struct SumTask<'a> {
    /// The adapter that gradients are taken at.
    pub adapter: &'a Adapter,
    /// All units of the run.
    pub units: &'a PrivacyUnits,
    /// Those of this step.
    pub batch: &'a [usize],
    /// The step's public rule.
    pub frame: &'a Arc<Frame>,
}

/// Sums the units of a step, here or elsewhere.
pub trait Summation: Send {
    /// Partial sums by the task's frame, in which every unit of its batch counts once. `engine` is this process's.
    ///
    /// # Errors
    /// When the engine fails, or another process does. The step's charge stays spent.
    fn sum(&mut self, engine: &mut dyn Engine, task: &SumTask) -> Result<Vec<PartialSum>, TrainError>;
}

/// Sums in this process.
pub(crate) struct Here;

impl Summation for Here {
    fn sum(&mut self, engine: &mut dyn Engine, task: &SumTask) -> Result<Vec<PartialSum>, TrainError> {
        sum_units(engine, task)
    }
}

/// Sums a task's units in this process: by the engine where it can, on its workers otherwise.
///
/// # Errors
/// When the engine fails.
pub fn sum_units(engine: &mut dyn Engine, task: &SumTask) -> Result<Vec<PartialSum>, TrainError> {
    let SumTask { adapter, frame, .. } = *task;
    let inputs = inputs(task);
    if let Some(sum) = engine.summed(adapter, &inputs, &rule(frame, adapter.layout()))? {
        let integers = [sum.gradient, sum.statistic].concat();
        return Ok(vec![PartialSum::from_wire(Arc::clone(frame), integers)?]);
    }
    sum_on_workers(engine, task, None)
}

/// Sums a task's units on the engine's workers, each mapped by `geometry` before it is clipped.
pub(super) fn sum_on_workers(
    engine: &mut dyn Engine,
    task: &SumTask,
    geometry: Option<&dyn Geometry>,
) -> Result<Vec<PartialSum>, TrainError> {
    let parts = Parts { layout: task.adapter.layout(), frame: task.frame, geometry, done: Mutex::default() };
    engine.unit_gradients(task.adapter, &inputs(task), &parts)?;
    Ok(parts.done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn inputs<'a>(task: &SumTask<'a>) -> Vec<UnitInput<'a>> {
    task.batch.iter().map(|&unit| unit_input(task.units, unit)).collect()
}

/// The parts of one step's sum.
struct Parts<'a> {
    layout: &'a AdapterLayout,
    frame: &'a Arc<Frame>,
    geometry: Option<&'a dyn Geometry>,
    /// Parts whose workers are done.
    done: Mutex<Vec<PartialSum>>,
}

impl UnitSinks for Parts<'_> {
    fn fork(&self) -> Box<dyn UnitSink + '_> {
        let sum = Some(PartialSum::new(Arc::clone(self.frame)));
        Box::new(Part { parts: self, passage: Passage::new(self.layout, self.geometry), sum })
    }
}

/// One worker's part, which goes back when it is dropped.
struct Part<'a> {
    parts: &'a Parts<'a>,
    passage: Passage<'a>,
    sum: Option<PartialSum>,
}

impl UnitSink for Part<'_> {
    fn add(&mut self, _unit: usize, unit: UnitGradient) {
        let sum = self.sum.as_mut().expect("a part has its sum until it is dropped");
        sum.add_unit(Sensitive::new(self.passage.forth(unit.gradient)), Sensitive::new(unit.loss));
    }

    fn add_several(&mut self, units: &[(usize, UnitGradient)]) {
        if !self.passage.is_open() {
            // There is room for one gradient that is made.
            return units.iter().for_each(|(unit, gradient)| self.add(*unit, *gradient));
        }
        let sum = self.sum.as_mut().expect("a part has its sum until it is dropped");
        let units = units.iter().map(|(_, unit)| (Sensitive::new(unit.gradient), Sensitive::new(unit.loss)));
        sum.add_units(&units.collect::<Vec<_>>());
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.parts.done.lock().unwrap_or_else(PoisonError::into_inner).extend(self.sum.take());
    }
}

/// The frame in numbers, for an engine.
fn rule(frame: &Frame, layout: &AdapterLayout) -> SumRule {
    let allocation = frame.allocation();
    let [stability, joint_stability, room] = frame.constants();
    let statistic = frame.statistic().map(|(spec, grid)| {
        let weights = spec.weights(frame.pairs());
        let bins = |bins: &NormBins| NormRule { lowest: bins.lowest(), ratio: bins.ratio(), count: bins.count() };
        StatisticRule {
            loss_bounds: (spec.loss_low, spec.loss_high),
            loss: weights.loss,
            non_finite: weights.non_finite,
            clip: weights.clip,
            norm: weights.norm,
            bins: spec.norms.as_ref().map(bins),
            room: weights.room,
            grid,
        }
    });
    SumRule {
        pairs: layout.pairs().iter().map(rldp_model::Pair::range).collect(),
        clip_norms: (0..frame.pairs()).map(|pair| allocation.clip_norm(pair)).collect(),
        pair_wise: allocation.is_pair_wise(),
        normalizes: allocation.scaling() == Scaling::Normalize,
        stability,
        joint_stability,
        room,
        grid: frame.spacings().to_vec(),
        statistic,
    }
}
