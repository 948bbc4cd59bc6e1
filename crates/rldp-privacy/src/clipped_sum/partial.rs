//! Clipping and summing on the grid: the way in for units.

use std::sync::Arc;

use rayon::prelude::*;

use super::{
    frame::Frame,
    grid::{add_truncated, truncate},
    unit::Unit,
};
use crate::{boundary::Sensitive, error::PrivacyError};

/// Numbers of the sum that stay in the nearest cache while all units are added to them.
const TILE: usize = 2048;

/// Sum of some of a batch's units. It is private and has no noise: it goes, by [`super::ClippedSum::absorb`], into the sum of
/// the step whose frame it has.
pub struct PartialSum {
    pub(super) frame: Arc<Frame>,
    /// Nothing before something is added: so it is the worker that adds who fetches the memory, and an empty sum takes another's place.
    totals: Option<Totals>,
}

/// Integers of the gradient (P), and of the statistic.
pub(super) struct Totals {
    pub(super) sum: Vec<i64>,
    pub(super) statistic: Vec<i64>,
}

impl PartialSum {
    /// An empty sum by a step's frame.
    pub fn new(frame: Arc<Frame>) -> Self {
        Self { frame, totals: None }
    }

    /// The exact integers, of the gradient (P) and then of the statistic, to be sent to the process that holds the step's sum, or
    /// added to those of others on the way, modulo 2^64.
    ///
    /// **Inside the trust boundary only**: these are functions of records without noise. They must go nowhere but between processes
    /// of the run, each of which may see all records.
    pub fn to_wire(&self) -> Vec<i64> {
        match &self.totals {
            Some(Totals { sum, statistic }) => [sum.as_slice(), statistic].concat(),
            None => vec![0; self.frame.coordinates()],
        }
    }

    /// A sum that was made elsewhere by the same frame: by a process that sent [`Self::to_wire`], or on a device.
    ///
    /// **Sensitivity.** It is what [`Self::add_unit`] guarantees, if every unit went into the integers once, as `add_unit` would add it;
    /// whoever writes this call vouches for it.
    ///
    /// # Errors
    /// When the numbers are not as many as the frame's.
    pub fn from_wire(frame: Arc<Frame>, mut integers: Vec<i64>) -> Result<Self, PrivacyError> {
        if integers.len() != frame.coordinates() {
            return Err(PrivacyError::Shape(format!(
                "a partial sum of {} numbers arrived where the frame has {}",
                integers.len(),
                frame.coordinates()
            )));
        }
        let statistic = integers.split_off(frame.parameters());
        Ok(Self { frame, totals: Some(Totals { sum: integers, statistic }) })
    }

    /// The integers; zeros where nothing was added.
    pub(super) fn into_totals(self) -> (Arc<Frame>, Totals) {
        let totals = self.totals.unwrap_or_else(|| Totals::zero(&self.frame));
        (self.frame, totals)
    }

    /// Clips and adds one unit's gradient (P) and its statistic. Every unit of the batch is added once.
    ///
    /// # Panics
    /// When the gradient does not have P values: a defect of the caller.
    pub fn add_unit(&mut self, gradient: Sensitive<&[f32]>, loss: Sensitive<f64>) {
        self.add_units(&[(gradient, loss)]);
    }

    /// [`Self::add_unit`] of several units, each of them once, to the same integers. With an adapter that no cache holds, memory is the limit:
    /// here the sum is read and written once for all of them; and where each pair is bounded by itself, a pair of all units is measured
    /// and added at once, so that it is still near when it is read again.
    ///
    /// **Sensitivity.** The integers are those of [`Self::add_unit`] one by one, since integer sums have no order. Where a pair is
    /// added before the unit's other pairs are known, and one of these is not finite, what was added is taken back, exactly: the
    /// product and its truncation are odd functions of the factor.
    ///
    /// # Panics
    /// When a gradient does not have P values: a defect of the caller.
    pub fn add_units(&mut self, units: &[(Sensitive<&[f32]>, Sensitive<f64>)]) {
        let frame = Arc::clone(&self.frame);
        let mut units: Vec<Unit> =
            units.iter().map(|(gradient, loss)| Unit::new(&frame, gradient.peek(), loss.peek())).collect();
        if units.is_empty() {
            return;
        }
        let totals = self.totals.get_or_insert_with(|| Totals::zero(&frame));
        if frame.allocation().is_pair_wise() {
            for k in 0..frame.pairs() {
                units.iter_mut().for_each(|unit| unit.bound_pair(&frame, k));
                totals.add_pair(&frame, k, &units, |unit| unit.factor(k));
            }
            for (unit, k) in
                units.iter().filter(|unit| !unit.is_finite()).flat_map(|unit| unit.bounded().map(move |k| (unit, k)))
            {
                totals.add_pair(&frame, k, std::slice::from_ref(unit), |unit| unit.factor(k).map(|factor| -factor));
            }
        } else {
            units.iter_mut().for_each(|unit| unit.bound(&frame));
            for k in 0..frame.pairs() {
                totals.add_pair(&frame, k, &units, |unit| unit.factor(k));
            }
        }
        units.iter().for_each(|unit| totals.add_statistic(&frame, unit));
    }

    /// Adds a sum of other units by an equal frame.
    ///
    /// # Errors
    /// When its frame differs.
    pub(super) fn absorb(&mut self, other: Self) -> Result<(), PrivacyError> {
        if !Arc::ptr_eq(&self.frame, &other.frame) && *self.frame != *other.frame {
            return Err(PrivacyError::Shape(
                "a partial sum was made by another frame than the step's; make it by the frame of this step".into(),
            ));
        }
        match (&mut self.totals, other.totals) {
            (_, None) => {}
            (Some(totals), Some(others)) => {
                add(&mut totals.sum, &others.sum);
                add(&mut totals.statistic, &others.statistic);
            }
            (None, others) => self.totals = others,
        }
        Ok(())
    }
}

impl Totals {
    fn zero(frame: &Frame) -> Self {
        Self { sum: zeros(frame.parameters()), statistic: zeros(frame.statistic_length()) }
    }

    /// Adds pair `k` of all `units` that have a factor for it.
    fn add_pair(&mut self, frame: &Frame, k: usize, units: &[Unit], factor: impl Fn(&Unit) -> Option<f64>) {
        let range = frame.range(k);
        let (spacing, small) = (frame.grid.spacings[k], frame.grid.small[k]);
        for start in range.clone().step_by(TILE) {
            let tile = start..range.end.min(start + TILE);
            let sum = &mut self.sum[tile.clone()];
            for unit in units {
                if let Some(factor) = factor(unit) {
                    add_truncated(sum, &unit.gradient[tile.clone()], factor, spacing, small);
                }
            }
        }
    }

    fn add_statistic(&mut self, frame: &Frame, unit: &Unit) {
        let Some((spec, spacing)) = frame.statistic() else { return };
        let parts = spec.contribution(unit.loss, unit.is_finite(), &unit.factors(frame.pairs()), unit.norm());
        for (sum, part) in self.statistic.iter_mut().zip(parts) {
            *sum = sum.wrapping_add(truncate(part / spacing));
        }
    }
}

/// Zeros that are written at once. Memory that the system hands out as zero is mapped when it is first read, and again when it is first
/// written, which stops all other threads for a moment: half of the time of a batch with an adapter of millions of numbers.
fn zeros(count: usize) -> Vec<i64> {
    let mut zeros = vec![0; count];
    std::hint::black_box(&mut zeros).fill(0);
    zeros
}

/// Adds integers, modulo 2^64, in slices on all threads: an adapter of a large model is tens of megabytes, at which one thread does not
/// reach what memory gives.
fn add(totals: &mut [i64], parts: &[i64]) {
    const SLICE: usize = 1 << 15;
    totals.par_chunks_mut(SLICE).zip(parts.par_chunks(SLICE)).for_each(|(totals, parts)| {
        totals.iter_mut().zip(parts).for_each(|(total, part)| *total = total.wrapping_add(*part));
    });
}
