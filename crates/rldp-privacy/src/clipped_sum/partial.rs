//! Clipping and summing on the grid: the way in for units.

use std::sync::Arc;

use rayon::prelude::*;

use super::{
    frame::Frame,
    grid::{add_truncated, truncate},
};
use crate::{boundary::Sensitive, error::PrivacyError};

/// Sum of some of a batch's units. It is private and has no noise: it goes, by [`super::ClippedSum::absorb`], into the sum of
/// the step whose frame it has.
pub struct PartialSum {
    pub(super) frame: Arc<Frame>,
    pub(super) sum: Vec<i64>,
    pub(super) statistic: Vec<i64>,
    /// Whether nothing was added, so that a sum can take another's place.
    empty: bool,
}

impl PartialSum {
    /// An empty sum by a step's frame.
    pub fn new(frame: Arc<Frame>) -> Self {
        Self { sum: zeros(frame.parameters()), statistic: zeros(frame.statistic_length()), empty: true, frame }
    }

    /// The exact integers, of the gradient (P) and then of the statistic, to be sent to the process that holds the step's sum, or
    /// added to those of others on the way, modulo 2^64.
    ///
    /// **Inside the trust boundary only**: these are functions of records without noise. They must go nowhere but between processes
    /// of the run, each of which may see all records.
    pub fn to_wire(&self) -> Vec<i64> {
        [self.sum.as_slice(), &self.statistic].concat()
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
        Ok(Self { frame, sum: integers, statistic, empty: false })
    }

    /// Clips and adds one unit's gradient (P) and its statistic. Every unit of the batch is added once.
    ///
    /// # Panics
    /// When the gradient does not have P values: a defect of the caller.
    pub fn add_unit(&mut self, gradient: Sensitive<&[f32]>, loss: Sensitive<f64>) {
        let (gradient, loss) = (gradient.expose(), loss.expose());
        assert_eq!(gradient.len(), self.sum.len(), "a unit's gradient does not fit the layout");
        self.empty = false;
        let frame = &self.frame;
        let pairs = frame.pairs();
        let squares: Vec<f64> = (0..pairs).map(|k| squared_norm(&gradient[frame.range(k)])).collect();
        let finite = loss.is_finite() && squares.iter().all(|square| square.is_finite());
        let factors = if finite { frame.factors(&squares) } else { vec![0.0; pairs] };
        if finite {
            for (k, &factor) in factors.iter().enumerate() {
                let range = frame.range(k);
                add_truncated(
                    &mut self.sum[range.clone()],
                    &gradient[range],
                    factor,
                    frame.grid.spacings[k],
                    frame.grid.small[k],
                );
            }
        }
        if let Some((spec, spacing)) = frame.statistic() {
            let parts = spec.contribution(loss, finite, &factors, squares.iter().sum::<f64>().sqrt());
            for (sum, part) in self.statistic.iter_mut().zip(parts) {
                *sum = sum.wrapping_add(truncate(part / spacing));
            }
        }
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
        if self.empty {
            *self = other;
            return Ok(());
        }
        if !other.empty {
            add(&mut self.sum, &other.sum);
            add(&mut self.statistic, &other.statistic);
        }
        Ok(())
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

/// Σ x² in eight lanes a block of 4096, blocks added up: vectorises, and is off by less than a relative 1e-10 for as
/// many as 2^31 values. The same bits on every processor.
fn squared_norm(values: &[f32]) -> f64 {
    values.chunks(4096).map(|block| pulp::Arch::new().dispatch(BlockSquaredNorm(block))).sum()
}

struct BlockSquaredNorm<'a>(&'a [f32]);

impl pulp::WithSimd for BlockSquaredNorm<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f64 {
        let mut lanes = [0.0_f64; 8];
        let (chunks, rest) = self.0.as_chunks::<8>();
        for chunk in chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(x) * f64::from(x);
            }
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
    }
}
