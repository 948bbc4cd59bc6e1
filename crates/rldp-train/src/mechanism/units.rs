//! Which units take part in a step, and what an engine gets of them.

use rldp_data::{PrivacyUnits, SampledBatch};
use rldp_model::UnitInput;

use super::Mechanism;
use crate::evaluate::sequence;

impl Mechanism {
    /// A Poisson sample of the units whose turn it is in the step that was charged, without those that are held out: they
    /// contribute nothing.
    pub(crate) fn sampled(&mut self) -> SampledBatch {
        let classes = self.spender.bands().count() as u64;
        let turn = (self.spender.steps_charged() + classes - 1) % classes;
        let due = |unit: usize| self.units.class(unit, classes) == turn && self.units.includes(unit);
        self.sampler.sample(self.units.len()).only(due)
    }
}

pub(crate) fn unit_input(units: &PrivacyUnits, unit: usize) -> UnitInput<'_> {
    let blocks = units.unit(unit).blocks.iter();
    let sequences = blocks.map(|block| sequence(block, block.weight));
    UnitInput { sequences: sequences.collect() }
}
