//! From events to epsilons: the directions, the shared work and the fallbacks.

use realfft::RealFftPlanner;

use super::super::error::AccountingError;
use super::super::event::{Event, merge};
use super::compose::Composer;
use super::curve::{Curve, Reading};
use super::grid::Grid;
use super::plan::{Direction, Outline, Plan};
use super::step::{Bound, StepPair};

/// Largest part of a requested delta that may be error before a composition is redone for that delta alone.
const TOLERATED_ERROR: f64 = 1e-6;
/// With at most this many distinct steps their discretisations are kept between directions.
const KEPT_STEPS: usize = 16;
/// Deltas below e to this power are left to the moment bound.
const SMALLEST_LOG_DELTA: f64 = -600.0;
/// Chernoff's delta is at most about this many times the true one.
const CHERNOFF_SLACK: f64 = 1e3;
/// Relative rounding room of a single step's curve.
const SINGLE_STEP_ROUNDING: f64 = 1e-12;

/// An epsilon and the part of its delta that was charged for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) epsilon: f64,
    pub(super) error: f64,
}

/// Merged events, their grid and the kind of bound.
pub(super) struct Job {
    events: Vec<Event>,
    outline: Outline,
    grid: Grid,
    bound: Bound,
    kept: Option<Vec<StepPair>>,
}

impl Job {
    /// Prepares a composition for deltas from `smallest_delta` up.
    pub(super) fn new(
        events: &[Event],
        resolution: f64,
        smallest_delta: f64,
        bound: Bound,
    ) -> Result<Self, AccountingError> {
        let events = merge(events)?;
        let grid = Grid::new(&events, resolution, smallest_delta);
        let kept = (events.len() <= KEPT_STEPS)
            .then(|| events.iter().map(|event| StepPair::new(event, &grid, bound)).collect())
            .transpose()?;
        Ok(Self { outline: Outline::new(&events), events, grid, bound, kept })
    }

    /// Spacing of the loss grid.
    pub(super) fn spacing(&self) -> f64 {
        self.grid.spacing
    }

    /// The larger epsilon of both directions at each delta.
    pub(super) fn epsilons(&self, deltas: &[f64]) -> Result<Vec<Found>, AccountingError> {
        let remove = self.one_direction(Direction::Remove, deltas)?;
        // Where losses are heavy-tailed, add lies far below remove; then the moment bound shows that without a grid.
        let settled = |(found, &delta): (&Found, &f64)| self.outline.epsilon(Direction::Add, delta) <= found.epsilon;
        if remove.iter().zip(deltas).all(settled) {
            return Ok(remove);
        }
        let add = self.one_direction(Direction::Add, deltas)?;
        let larger = |(a, b): (Found, Found)| if a.epsilon >= b.epsilon { a } else { b };
        Ok(remove.into_iter().zip(add).map(larger).collect())
    }

    /// Epsilon of one direction at each delta, from one composition if it serves all.
    fn one_direction(&self, direction: Direction, deltas: &[f64]) -> Result<Vec<Found>, AccountingError> {
        if let [Event { steps: 1, .. }] = self.events[..] {
            let curve = self.single_step(direction)?;
            return deltas
                .iter()
                .map(|&delta| Ok(self.or_moments(read(&curve, delta, 1.0), direction, delta)))
                .collect();
        }
        let smallest = deltas.iter().copied().fold(1.0, f64::min);
        let largest = deltas.iter().copied().fold(0.0, f64::max);
        let shared = self.compose(direction, self.outline.for_deltas(direction, smallest, largest))?;
        let one = |&delta: &f64| {
            if let Some(found) = read(&shared, delta, TOLERATED_ERROR) {
                return Ok(self.or_moments(Some(found), direction, delta));
            }
            let own = self.compose(direction, self.outline.for_deltas(direction, delta, delta))?;
            Ok(self.or_moments(read(&own, delta, 1.0), direction, delta))
        };
        deltas.iter().map(one).collect()
    }

    /// What was read from a curve, or what holds without one; for an upper bound the smaller of the two, which differ
    /// in favour of the moments where the grid had to be coarsened.
    fn or_moments(&self, found: Option<Found>, direction: Direction, delta: f64) -> Found {
        match (self.bound, found) {
            (Bound::Pessimistic, found) => {
                let moments = Found { epsilon: self.outline.epsilon(direction, delta), error: 0.0 };
                found.filter(|found| found.epsilon <= moments.epsilon).unwrap_or(moments)
            }
            (Bound::Optimistic, found) => found.unwrap_or(Found { epsilon: 0.0, error: 0.0 }),
        }
    }

    /// Delta at an epsilon over both directions, rounded up.
    pub(super) fn delta(events: &[Event], resolution: f64, epsilon: f64) -> Result<f64, AccountingError> {
        let events = merge(events)?;
        let outline = Outline::new(&events);
        let mut worst: f64 = 0.0;
        for direction in Direction::BOTH {
            let (log_delta, theta) = outline.log_delta(direction, epsilon);
            if log_delta.exp() <= worst {
                continue;
            }
            if log_delta < SMALLEST_LOG_DELTA {
                worst = log_delta.exp();
                continue;
            }
            let job = Self::new(&events, resolution, log_delta.exp() / CHERNOFF_SLACK, Bound::Pessimistic)?;
            let curve = if let [Event { steps: 1, .. }] = events[..] {
                job.single_step(direction)?
            } else {
                let plan = outline.around(direction, theta);
                let low = plan.low.min(epsilon - 2.0 * job.grid.spacing);
                job.compose(direction, Plan { low, ..plan })?
            };
            worst = worst.max(curve.delta(epsilon).min(log_delta.exp()));
        }
        Ok(worst)
    }

    /// The curve of one direction over a planned window.
    fn compose(&self, direction: Direction, plan: Plan) -> Result<Curve, AccountingError> {
        let mut composer = Composer::new(direction, plan, self.grid.spacing, &mut RealFftPlanner::new())?;
        match &self.kept {
            Some(pairs) => {
                for (event, pair) in self.events.iter().zip(pairs) {
                    composer.add(pair, event.steps)?;
                }
            }
            None => {
                for event in &self.events {
                    composer.add(&StepPair::new(event, &self.grid, self.bound)?, event.steps)?;
                }
            }
        }
        composer.finish(self.bound)
    }

    /// The curve of a single step, which needs no transform.
    fn single_step(&self, direction: Direction) -> Result<Curve, AccountingError> {
        let pair = match &self.kept {
            Some(pairs) => pairs[0].clone(),
            None => StepPair::new(&self.events[0], &self.grid, self.bound)?,
        };
        let (h, atoms) = (self.grid.spacing, pair.log_mass.len());
        let last = pair.first + atoms as i64 - 1;
        let (curve, infinite) = match direction {
            Direction::Remove => (Curve::new(h, pair.first, atoms, |i| pair.log_mass[i].exp()), pair.infinite_remove),
            Direction::Add => {
                // The i-th loss from below is −(last − i)h, its Q-mass the P-mass of (last − i)h times e^{−(last − i)h}.
                let weight = |i: usize| (pair.log_mass[atoms - 1 - i] - (last - i as i64) as f64 * h).exp();
                (Curve::new(h, -last, atoms, weight), pair.infinite_add)
            }
        };
        let none = (f64::NEG_INFINITY, 0.0);
        Ok(match self.bound {
            Bound::Pessimistic => curve.with_errors(1.0, infinite, none, SINGLE_STEP_ROUNDING),
            Bound::Optimistic => curve.with_errors(-1.0, 0.0, none, SINGLE_STEP_ROUNDING),
        })
    }
}

/// Epsilon at a delta, if the curve reaches it with an error below `tolerated` times delta.
fn read(curve: &Curve, delta: f64, tolerated: f64) -> Option<Found> {
    let epsilon = match curve.epsilon(delta) {
        Reading::At(epsilon) => epsilon.max(0.0),
        Reading::Below if curve.low() <= 0.0 => 0.0,
        Reading::Below | Reading::Above => return None,
    };
    let error = curve.error_at(epsilon);
    (error <= tolerated * delta).then_some(Found { epsilon, error })
}
