//! The optimistic counterpart of connect-the-dots.
//!
//! Reporting only which cell an outcome fell into is post-processing, so the pair of cell probabilities is dominated by
//! the step. If the cells are chosen, one after the other, such that each has P-mass over Q-mass e^{jh} exactly, their
//! losses lie on the grid. In the plane of e^ε and δ these are the tangents to the hockey-stick curve that meet
//! on grid points. The error is of the same second order as that of connect-the-dots.

use super::quadrature::{Cells, Level};
use super::step::{StepPair, normal_density_at_zero};

/// Newton steps for a cell's end; each squares the error, the first guess is off by a fraction of h.
const MOST_NEWTON_STEPS: usize = 40;
/// A cell whose part below its grid loss is narrower than this share of h would have no width: the next loss is taken.
const NARROWEST: f64 = 1e-4;

/// Merges outcomes into cells from low to high losses; what is left above the last cell is dropped.
pub(super) fn merge_cells(cells: &Cells) -> StepPair {
    let mut mass = vec![0.0; (cells.last - cells.first + 1) as usize];
    let mut from = cells.low;
    while from < cells.high {
        // The first grid loss clearly above the cell's lower end.
        let index = (cells.loss(from) / cells.spacing + NARROWEST).floor() as i64 + 1;
        if index > cells.last {
            break;
        }
        let target = Level::new(index as f64 * cells.spacing);
        let Some(to) = cell_end(cells, from, &target) else { break };
        let [p] = cells.integrate(from, to, |here| [here.ratio()]);
        mass[(index - cells.first) as usize] += p;
        from = to;
    }
    let log_mass = mass.into_iter().map(f64::ln).collect();
    StepPair { first: cells.first, log_mass, infinite_remove: 0.0, infinite_add: 0.0 }
}

/// The x at which the cell that starts at `from` has ∫ φ (dP/dQ − target) = 0; `None` if that lies beyond the cut tail.
fn cell_end(cells: &Cells, from: f64, target: &Level) -> Option<f64> {
    let balance = |from: f64, to: f64| {
        let [balance] = cells.integrate(from, to, |here| [here.minus(target)]);
        balance
    };
    // The balance falls up to the x of the target and rises from there on.
    let turn = cells.x_of(target).max(from);
    if turn >= cells.high {
        return None;
    }
    let mut base = (turn, balance(from, turn));
    let mut high = (turn + (turn - from).max(NARROWEST * cells.spacing * cells.z * cells.z)).min(cells.high);
    // Move the bracket until the balance is positive at its upper end.
    loop {
        let at_high = base.1 + balance(base.0, high);
        if at_high >= 0.0 {
            break;
        }
        if high >= cells.high {
            return None;
        }
        let width = high - turn;
        base = (high, at_high);
        high = (high + width).min(cells.high);
    }
    let density = |x: f64| (-0.5 * (x / cells.z).powi(2)).exp() * normal_density_at_zero() / cells.z;
    let (mut low, mut x) = (base.0, high);
    for _ in 0..MOST_NEWTON_STEPS {
        let value = base.1 + balance(base.0, x);
        let end = if value < 0.0 { &mut low } else { &mut high };
        *end = x;
        let newton = x - value / (density(x) * cells.at(x).minus(target));
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if (next - x).abs() <= 1e-12 * (high - turn) {
            break;
        }
        x = next;
    }
    // End late: P-mass over Q-mass above the grid loss is the safe side, by less than the charged rounding.
    Some(high)
}
