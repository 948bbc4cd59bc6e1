//! The PLD accountant: privacy loss distributions, discretised with bounds on both sides and composed by Fourier
//! transform.
//!
//! Per distinct step one pair of distributions on a loss grid (`step`, `merge_cells`), per direction one tilt and window
//! (`plan`), one transform per step and direction (`compose`), and the delta(epsilon) curve of the result (`curve`).
//! `job` puts them together. Where no grid holds a step, its transform comes from its density (`density`).

mod compose;
mod curve;
mod density;
mod grid;
mod guess;
mod job;
mod merge_cells;
mod plan;
mod quadrature;
mod step;

use serde::Serialize;

use super::accountant::{Accountant, AccountantKind, common_scope};
use super::error::{AccountingError, require, require_delta, require_epsilon};
use super::event::{Adaptivity, Adjacency, Event};
use grid::RESOLUTION;
use job::{Found, Job};
use step::{Bound, MOST_ATOMS};

/// Points of a grid that is tried before densities are: it takes less than a second.
const SMALL_GRID: usize = 1 << 22;
/// How often a grid is coarsened before the refusal stands.
const MOST_COARSENINGS: usize = 3;

/// The accountant by privacy loss distributions.
#[derive(Clone, Copy, Debug)]
pub struct PldAccountant {
    resolution: f64,
}

impl Default for PldAccountant {
    fn default() -> Self {
        Self { resolution: RESOLUTION }
    }
}

/// An epsilon from both sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PldBounds {
    /// No epsilon below this one holds.
    pub lower: f64,
    /// This epsilon holds.
    pub upper: f64,
    /// Spacing of the loss grid.
    pub grid: f64,
    /// The part of delta that was charged for cut tails, wrap-around and rounding.
    pub charged_delta: f64,
}

impl PldAccountant {
    /// An accountant whose grid spacing is `resolution` standard deviations of one step's loss (default 0.04).
    ///
    /// Epsilon's relative excess over many steps is about resolution²/12.
    pub fn with_resolution(resolution: f64) -> Result<Self, AccountingError> {
        require((1e-4..=1.0).contains(&resolution), "grid resolution", resolution, "between 1e-4 and 1")?;
        Ok(Self { resolution })
    }

    /// Epsilon at `delta` from both sides.
    pub fn bounds(&self, events: &[Event], delta: f64) -> Result<PldBounds, AccountingError> {
        require_delta(delta)?;
        self.coarsening(|resolution| {
            let upper = Job::new(events, resolution, delta, Bound::Pessimistic)?;
            let found = upper.epsilons(&[delta])?[0];
            let lower = Job::new(events, resolution, delta, Bound::Optimistic)?.epsilons(&[delta])?[0];
            Ok(PldBounds {
                lower: lower.epsilon.min(found.epsilon),
                upper: found.epsilon,
                grid: upper.spacing(),
                charged_delta: found.error,
            })
        })
    }

    /// Computes on the grid of this accountant's resolution or, if that is too large, on a coarser one.
    ///
    /// Rare large losses beside a tiny spread (a sampling rate of 1e-6, say) need that where the steps are few, and billions
    /// of steps. A coarser grid is as sound, and where it says little the moment bound takes over.
    fn coarsening<T>(self, compute: impl Fn(f64) -> Result<T, AccountingError>) -> Result<T, AccountingError> {
        let mut resolution = self.resolution;
        for _ in 0..MOST_COARSENINGS {
            match compute(resolution) {
                Err(AccountingError::GridTooLarge { points, limit }) => resolution *= 8.0 * points / limit as f64,
                done => return done,
            }
        }
        compute(resolution)
    }
}

/// The lower of two proved epsilons at each delta.
fn lower(found: &[Found], best: &[Found]) -> Vec<Found> {
    found.iter().zip(best).map(|(a, b)| if a.epsilon < b.epsilon { *a } else { *b }).collect()
}

impl Accountant for PldAccountant {
    fn kind(&self) -> AccountantKind {
        AccountantKind::Pld
    }

    fn name(&self) -> &'static str {
        "privacy loss distribution (Fourier, upper bound)"
    }

    fn supports(&self, event: &Event, adjacency: Adjacency, adaptivity: Adaptivity) -> Result<(), AccountingError> {
        common_scope(self.kind(), event, adjacency, adaptivity)
    }

    fn epsilon(&self, events: &[Event], delta: f64) -> Result<f64, AccountingError> {
        Ok(self.epsilons(events, &[delta])?[0])
    }

    fn epsilons(&self, events: &[Event], deltas: &[f64]) -> Result<Vec<f64>, AccountingError> {
        for &delta in deltas {
            require_delta(delta)?;
        }
        let smallest = deltas.iter().copied().fold(1.0, f64::min);
        let on_grid =
            |most, resolution| Job::within(most, events, resolution, smallest, Bound::Pessimistic)?.epsilons(deltas);
        let mut best: Option<Vec<Found>> = None;
        // A small grid, then densities, then as large a grid as there may be: what comes first and is exact is taken.
        for attempt in 0..3 {
            let found = match attempt {
                0 => on_grid(SMALL_GRID, self.resolution),
                1 => Job::from_densities(events, smallest).and_then(|job| job.epsilons_of_sum(deltas)),
                _ => self.coarsening(|resolution| on_grid(MOST_ATOMS, resolution)),
            };
            best = match (found, best) {
                (Err(AccountingError::GridTooLarge { .. }), best) if attempt < 2 => best,
                (found, Some(best)) => Some(lower(&found?, &best)),
                (found, None) => Some(found?),
            };
            if best.iter().flatten().all(|found| found.exact) && best.is_some() {
                break;
            }
        }
        Ok(best.into_iter().flatten().map(|found| found.epsilon).collect())
    }

    fn delta(&self, events: &[Event], epsilon: f64) -> Result<f64, AccountingError> {
        require_epsilon(epsilon)?;
        match Job::delta(events, Some(self.resolution), epsilon) {
            Err(AccountingError::GridTooLarge { .. }) => {}
            done => return done,
        }
        let coarse = self.coarsening(|resolution| Job::delta(events, Some(resolution), epsilon))?;
        // Both are bounds; from densities it is the better one where the steps are many.
        Ok(Job::delta(events, None, epsilon).map_or(coarse, |delta| delta.min(coarse)))
    }
}
