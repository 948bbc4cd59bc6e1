//! From events to epsilons: the directions, the shared work and the fallbacks.

use realfft::RealFftPlanner;

use super::super::error::AccountingError;
use super::super::event::{Event, merge};
use super::compose::Composer;
use super::curve::{Curve, Reading};
use super::grid::Grid;
use super::guess;
use super::plan::{Direction, Outline, Plan};
use super::step::{Bound, MOST_ATOMS, StepPair};

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
    /// Whether nearly all of delta went into epsilon, and not into errors or a moment's slack.
    pub(super) exact: bool,
}

/// Merged events, their grid and the kind of bound.
pub(super) struct Job {
    events: Vec<Event>,
    outline: Outline,
    grid: Grid,
    bound: Bound,
    kept: Option<Vec<StepPair>>,
    /// Moments of the steps without their tails, where they come from their densities and only their sum is put on the grid.
    by_density: Option<Tailless>,
}

/// Steps without their tails.
struct Tailless {
    /// The mass of each that is cut off.
    lost: f64,
    outline: Outline,
}

/// Largest part of delta that may be error where an epsilon counts as exact.
const EXACT: f64 = 1e-2;
/// The part of delta that pays for tails that are cut off.
const TAIL_SHARE: f64 = 2e-3;

/// Windows that are tried until one holds the epsilon.
const MOST_GUESSES: usize = 8;
/// Most distinct steps that are composed by their densities: each takes dozens of transforms.
const MOST_DENSITIES: usize = 64;
/// How much coarser than it should be a sum's grid may become, and what it is made coarser by at a time.
const COARSEST: f64 = 4.0;
const COARSER: f64 = 2.0;

impl Job {
    /// Prepares a composition for deltas from `smallest_delta` up.
    pub(super) fn new(
        events: &[Event],
        resolution: f64,
        smallest_delta: f64,
        bound: Bound,
    ) -> Result<Self, AccountingError> {
        Self::within(MOST_ATOMS, events, resolution, smallest_delta, bound)
    }

    /// [`Self::new`] on a grid of at most `most` points.
    pub(super) fn within(
        most: usize,
        events: &[Event],
        resolution: f64,
        smallest_delta: f64,
        bound: Bound,
    ) -> Result<Self, AccountingError> {
        let events = merge(events)?;
        let grid = Grid { most, ..Grid::new(&events, resolution, smallest_delta) };
        let kept = (events.len() <= KEPT_STEPS)
            .then(|| events.iter().map(|event| StepPair::new(event, &grid, bound)).collect())
            .transpose()?;
        Ok(Self { outline: Outline::new(&events), events, grid, bound, kept, by_density: None })
    }

    /// Prepares a composition of many steps whose own losses no grid can hold; it bounds from above.
    pub(super) fn from_densities(events: &[Event], smallest_delta: f64) -> Result<Self, AccountingError> {
        let events = merge(events)?;
        if events.len() > MOST_DENSITIES {
            return Err(AccountingError::GridTooLarge { points: events.len() as f64, limit: MOST_DENSITIES });
        }
        let grid = Grid::of_sum(&events, smallest_delta);
        let steps: f64 = events.iter().map(|event| event.steps as f64).sum();
        let lost = TAIL_SHARE * smallest_delta / steps;
        let by_density = Some(Tailless { lost, outline: Outline::cut(&events, lost) });
        let outline = Outline::new(&events);
        Ok(Self { outline, events, grid, bound: Bound::Pessimistic, kept: None, by_density })
    }

    /// The larger epsilon of both directions at each delta, on a grid that is made coarser until the window fits.
    pub(super) fn epsilons_of_sum(mut self, deltas: &[f64]) -> Result<Vec<Found>, AccountingError> {
        let fine = self.grid.spacing;
        loop {
            match self.epsilons(deltas) {
                Err(AccountingError::GridTooLarge { .. }) if self.grid.spacing < COARSEST * fine => {
                    self.grid.spacing *= COARSER;
                }
                done => return done,
            }
        }
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
        if let ([Event { steps: 1, .. }], None) = (&self.events[..], &self.by_density) {
            let curve = self.single_step(direction)?;
            return deltas
                .iter()
                .map(|&delta| Ok(self.or_moments(read(&curve, delta, 1.0), direction, delta)))
                .collect();
        }
        if let Some(tailless) = &self.by_density {
            return deltas.iter().map(|&delta| self.by_guess(tailless, direction, delta)).collect();
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

    /// Epsilon at a delta over a window around where it is believed to be.
    ///
    /// Moments say little of rare jumps: tilted as Chernoff's bound has it, the sum lies far above epsilon.
    fn by_guess(&self, tailless: &Tailless, direction: Direction, delta: f64) -> Result<Found, AccountingError> {
        let moments = self.or_moments(None, direction, delta);
        if moments.epsilon <= 0.0 {
            return Ok(Found { exact: true, ..moments });
        }
        let mut guess = guess::epsilon(&self.events, delta, moments.epsilon);
        for _ in 0..MOST_GUESSES {
            let (_, theta) = tailless.outline.log_delta(direction, guess);
            // The whole tilt leaves the smallest errors, if its window is not too wide.
            let whole = tailless.outline.window(direction, theta);
            let fits = (whole.high - whole.low) / self.grid.spacing < 0.5 * self.grid.most as f64;
            let plan = if fits { whole } else { tailless.outline.around(direction, theta) };
            let low = plan.low.min(guess - 2.0 * self.grid.spacing);
            let curve = self.compose(direction, Plan { low, ..plan })?;
            match curve.epsilon(delta) {
                Reading::Below if curve.low() > 0.0 => guess = (0.5 * guess).min(curve.low()),
                Reading::Above => guess *= 2.0,
                _ => return Ok(self.or_moments(read(&curve, delta, 1.0), direction, delta)),
            }
        }
        Ok(moments)
    }

    /// What was read from a curve, or what holds without one; for an upper bound the smaller of the two, which differ
    /// in favour of the moments where the grid had to be coarsened.
    fn or_moments(&self, found: Option<Found>, direction: Direction, delta: f64) -> Found {
        match (self.bound, found) {
            (Bound::Pessimistic, found) => {
                let moments = Found { epsilon: self.outline.epsilon(direction, delta), error: 0.0, exact: false };
                found.filter(|found| found.epsilon <= moments.epsilon).unwrap_or(moments)
            }
            (Bound::Optimistic, found) => found.unwrap_or(Found { epsilon: 0.0, error: 0.0, exact: false }),
        }
    }

    /// Delta at an epsilon over both directions, rounded up.
    ///
    /// Without a resolution steps come from their densities.
    pub(super) fn delta(events: &[Event], resolution: Option<f64>, epsilon: f64) -> Result<f64, AccountingError> {
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
            let smallest = log_delta.exp() / CHERNOFF_SLACK;
            let job = match resolution {
                Some(resolution) => Self::new(&events, resolution, smallest, Bound::Pessimistic)?,
                None => Self::from_densities(&events, smallest)?,
            };
            let curve = if let ([Event { steps: 1, .. }], Some(_)) = (&events[..], resolution) {
                job.single_step(direction)?
            } else {
                let plan = match &job.by_density {
                    Some(tailless) => {
                        tailless.outline.around(direction, tailless.outline.log_delta(direction, epsilon).1)
                    }
                    None => outline.around(direction, theta),
                };
                let low = plan.low.min(epsilon - 2.0 * job.grid.spacing);
                job.compose(direction, Plan { low, ..plan })?
            };
            worst = worst.max(curve.delta(epsilon).min(log_delta.exp()));
        }
        Ok(worst)
    }

    /// The curve of one direction over a planned window.
    fn compose(&self, direction: Direction, plan: Plan) -> Result<Curve, AccountingError> {
        let mut composer = Composer::new(direction, plan, &self.grid, &mut RealFftPlanner::new())?;
        if let Some(Tailless { lost, .. }) = self.by_density {
            self.events.iter().try_for_each(|event| composer.add_density(event, lost))?;
            return composer.finish(self.bound);
        }
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
    (error <= tolerated * delta).then_some(Found { epsilon, error, exact: error <= EXACT * delta })
}
