//! What earlier steps of a run left for the noise of later ones.

use std::collections::VecDeque;

use zeroize::Zeroizing;

use crate::{bands::Bands, error::PrivacyError};

/// Sums and releases of the last b − 1 steps, where noise has b bands; empty otherwise. One for each run: it begins empty,
/// and is in no checkpoint, because it is private. A run that is resumed begins its noise anew.
#[derive(Default)]
pub struct Past {
    /// The run and the step that it ends with.
    last: Option<(u64, u64)>,
    /// Exact sums, the latest first (up to b − 1 times P). Private, and overwritten with zeros when they are dropped.
    sums: VecDeque<Zeroizing<Vec<i64>>>,
    /// What was read off their releases, in the grid's steps of contributions.
    read: VecDeque<Vec<f32>>,
    /// Steps since noise began anew.
    position: usize,
}

impl Past {
    /// Makes room for step `step` of run `run`. A step that does not follow the last one finds no past: a sum may reach the b − 1 next
    /// steps and none beyond.
    ///
    /// # Errors
    /// When it is another run's past.
    pub(super) fn begin(&mut self, bands: &Bands, run: u64, step: u64) -> Result<(), PrivacyError> {
        if bands.count() == 1 {
            return Ok(());
        }
        if self.last.is_some_and(|(before, _)| before != run) {
            return Err(PrivacyError::Shape("the past of another run was given; every run needs its own".into()));
        }
        if self.last.is_some_and(|(_, last)| last + 1 != step) {
            *self = Self::default();
        }
        Ok(())
    }

    /// Steps since noise began anew.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Σ_j a_j S_(t−j) of this step's exact sum and those before it (P): what gets noise. Second, what [`Self::keep`] is to be given.
    pub(super) fn weighted(&self, bands: &Bands, sum: Vec<i64>) -> (Vec<i64>, Vec<i64>) {
        let (first, rest) = (bands.weights()[0], &bands.weights()[1..]);
        if rest.is_empty() {
            return (sum, Vec::new());
        }
        let mut weighted: Vec<i64> = sum.iter().map(|s| s.wrapping_mul(first)).collect();
        for (weight, earlier) in rest.iter().zip(&self.sums) {
            for (total, s) in weighted.iter_mut().zip(earlier.iter()) {
                *total = total.wrapping_add(s.wrapping_mul(*weight));
            }
        }
        (weighted, sum)
    }

    /// y_t of the noisy value u_t of coordinate `at`, in spacings of contributions. Post-processing.
    pub(super) fn read_off(&self, bands: &Bands, at: usize, noisy: f64) -> f64 {
        let earlier = bands.weights()[1..].iter().zip(&self.read);
        let known: f64 = earlier.map(|(weight, read)| *weight as f64 * f64::from(read[at])).sum();
        (noisy - known) / bands.weights()[0] as f64
    }

    /// Keeps this step, which [`Self::begin`] made room for, for the next ones. A step that is not kept leaves a gap behind it.
    pub(super) fn keep(&mut self, bands: &Bands, run: u64, step: u64, sum: Vec<i64>, read: Vec<f32>) {
        if bands.count() == 1 {
            return;
        }
        self.last = Some((run, step));
        self.position += 1;
        self.sums.push_front(Zeroizing::new(sum));
        self.read.push_front(read);
        self.sums.truncate(bands.count() - 1);
        self.read.truncate(bands.count() - 1);
    }
}
