//! One step's pair of distributions on the loss grid.
//!
//! P is the mixture (1 − q) N(0, z²) + q N(1, z²), Q is N(0, z²), and L = ln(dP/dQ) is increasing in x. A
//! discretised pair keeps, for every grid loss jh, the P-mass p_j; its Q-mass is p_j e^{−jh} by definition of a loss. One
//! pair serves both directions of add/remove adjacency: remove sees losses jh with mass p_j, add sees −jh with mass
//! p_j e^{−jh}.

use std::f64::consts::{PI, SQRT_2};

use super::super::error::AccountingError;
use super::super::event::Event;
use super::grid::Grid;
use super::quadrature::Cells;

/// Most atoms that one step may have on the grid.
pub(super) const MOST_ATOMS: usize = 1 << 25;

/// The discretised pair of one step.
#[derive(Clone, Debug)]
pub(super) struct StepPair {
    /// Grid index of `log_mass[0]`.
    pub(super) first: i64,
    /// ln of the P-mass at each grid loss, infinite losses excepted.
    pub(super) log_mass: Vec<f64>,
    /// P-mass at infinite loss: what remove pays for its cut tail.
    pub(super) infinite_remove: f64,
    /// Q-mass at infinite loss of add.
    pub(super) infinite_add: f64,
}

/// Which bound the discretisation gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Dominates the step: connect-the-dots.
    Pessimistic,
    /// Is dominated by the step: outcomes merged into cells whose loss lies on the grid.
    Optimistic,
}

impl StepPair {
    /// Discretises one step of `event`.
    pub(super) fn new(event: &Event, grid: &Grid, bound: Bound) -> Result<Self, AccountingError> {
        grid.check(event)?;
        let cells = Cells::new(event, grid);
        let points = cells.extent();
        if points.is_nan() || points + 3.0 > grid.most as f64 {
            return Err(AccountingError::GridTooLarge { points, limit: grid.most });
        }
        Ok(match bound {
            Bound::Pessimistic => Self::connect_the_dots(&cells),
            Bound::Optimistic => super::merge_cells::merge_cells(&cells),
        })
    }

    /// Splits the mass of every cell between its two ends so that both its P-mass and its Q-mass are kept.
    ///
    /// Between grid points this replaces the hockey-stick curve, convex in e^ε, by its chord: an upper bound that is
    /// exact at grid points. Cut tails go to infinite loss in the direction in which they are large and to the last
    /// atom in the other.
    fn connect_the_dots(cells: &Cells) -> Self {
        let mut mass = vec![0.0; (cells.last - cells.first + 1) as usize];
        let (up, down) = (-(-cells.spacing).exp_m1(), cells.spacing.exp_m1());
        cells.for_each(|i, below, above| {
            mass[i] += above / down;
            mass[i + 1] += below / up;
        });
        let [q, z] = [cells.q, cells.z];
        let infinite_remove = (1.0 - q) * normal_tail(cells.high / z) + q * normal_tail((cells.high - 1.0) / z);
        let infinite_add = normal_tail(-cells.low / z);
        let low_rest = (1.0 - q) * infinite_add + q * normal_tail((1.0 - cells.low) / z);
        let high_rest = normal_tail(cells.high / z) * (cells.last as f64 * cells.spacing).exp();
        let atoms = mass.len();
        mass[1] += low_rest;
        mass[atoms - 2] += high_rest;
        let log_mass = mass.into_iter().map(f64::ln).collect();
        Self { first: cells.first, log_mass, infinite_remove, infinite_add }
    }
}

/// 1 − Φ(x), rounded up.
pub(super) fn normal_tail(x: f64) -> f64 {
    0.5 * libm::erfc(x / SQRT_2) * (1.0 + 1e-13)
}

/// 1/√(2π).
pub(super) fn normal_density_at_zero() -> f64 {
    1.0 / (2.0 * PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates that nobody takes, but that a ledger may hold.
    #[test]
    fn a_grid_that_no_number_fits_is_refused() {
        for (q, z) in [(1e-200, 1.0), (1e-16, 0.05)] {
            let event = Event::new(q, z, 10);
            let grid = Grid::new(std::slice::from_ref(&event), 0.1, 1e-5);
            let found = StepPair::new(&event, &grid, Bound::Pessimistic).err();
            assert!(matches!(found, Some(AccountingError::GridTooLarge { .. })), "q = {q}: {found:?}");
        }
    }

    /// 1 − q has no digits of such a q.
    #[test]
    fn the_loss_of_a_tiny_rate_keeps_its_digits() {
        let event = Event::new(1e-13, 0.3, 1);
        let cells = Cells::between(&event, 1e-14, [-3.0, 3.0]);
        assert!((cells.loss(-3.0) / -1e-13 - 1.0).abs() < 1e-12, "{}", cells.loss(-3.0));
    }
}
