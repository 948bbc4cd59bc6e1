//! Where units' gradients go: to one part for each worker.
//!
//! An engine forks a part for every worker, and each worker gives its part the units that it computed. So whatever is done with a
//! gradient, such as clipping and summing, is done by the worker that has it in its cache, and no thread waits for another.
//! Whoever gave the sinks joins what the parts gathered.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Gradient of one unit's loss with respect to all adapter parameters. It is a function of a record, and is not printed.
#[derive(Clone, Copy)]
pub struct UnitGradient<'a> {
    /// The unit's weighted loss.
    pub loss: f64,
    /// ∂loss/∂parameters, flat (P), in the order of the adapter's layout; zero where A is frozen.
    pub gradient: &'a [f32],
}

/// Gives every worker its part.
pub trait UnitSinks: Sync {
    /// An empty part. What it gathers belongs to the sinks when it is dropped.
    fn fork(&self) -> Box<dyn UnitSink + '_>;
}

/// One worker's part.
pub trait UnitSink: Send {
    /// Takes the gradient of unit `unit`, counted in the input. Every unit is given once, to one part.
    fn add(&mut self, unit: usize, gradient: UnitGradient);

    /// Takes several units that a worker has at the same time, for parts that can do them faster together.
    fn add_several(&mut self, units: &[(usize, UnitGradient)]) {
        units.iter().for_each(|(unit, gradient)| self.add(*unit, *gradient));
    }
}

/// Visits units in input order, whichever worker has them first. A unit that is early is kept until its turn.
pub(crate) struct InOrder<'a>(Mutex<Waiting<'a>>);

struct Waiting<'a> {
    next: usize,
    early: BTreeMap<usize, (f64, Vec<f32>)>,
    visit: &'a mut (dyn FnMut(usize, UnitGradient) + Send),
}

impl<'a> InOrder<'a> {
    pub(crate) fn new(visit: &'a mut (dyn FnMut(usize, UnitGradient) + Send)) -> Self {
        Self(Mutex::new(Waiting { next: 0, early: BTreeMap::new(), visit }))
    }
}

impl UnitSinks for InOrder<'_> {
    fn fork(&self) -> Box<dyn UnitSink + '_> {
        Box::new(self)
    }
}

impl UnitSink for &InOrder<'_> {
    fn add(&mut self, unit: usize, gradient: UnitGradient) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { next, early, visit } = &mut *waiting;
        if unit != *next {
            early.insert(unit, (gradient.loss, gradient.gradient.to_vec()));
            return;
        }
        visit(unit, gradient);
        *next += 1;
        while let Some((loss, gradient)) = early.remove(next) {
            visit(*next, UnitGradient { loss, gradient: &gradient });
            *next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_visited_in_order_whoever_is_first() {
        let mut seen = Vec::new();
        let mut visit = |unit: usize, given: UnitGradient| seen.push((unit, given.loss, given.gradient[0]));
        let sinks = InOrder::new(&mut visit);
        let mut parts = [sinks.fork(), sinks.fork()];
        for (unit, part) in [(1, 0), (3, 1), (0, 1), (2, 0), (4, 0)] {
            parts[part].add(unit, UnitGradient { loss: unit as f64, gradient: &[unit as f32] });
        }
        drop(parts);
        assert_eq!(seen, [0, 1, 2, 3, 4].map(|unit| (unit, unit as f64, unit as f32)));
    }
}
