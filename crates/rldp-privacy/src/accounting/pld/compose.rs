//! Composition by one Fourier transform per distinct step and direction.
//!
//! A cyclic convolution of the window's length is exact up to wrap-around, so a step may be wider than the window: its
//! tilted mass is laid around the circle, transformed, and raised to the power of its count. Three errors are bounded
//! and charged: mass above the window (which wraps to lower losses), mass below it (which wraps to higher losses and
//! concerns lower bounds only), and the rounding of transforms and powers.

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::sync::Arc;

use super::super::error::AccountingError;
use super::super::event::Event;
use super::curve::Curve;
use super::density::{self, Density, Kernel, OCTAVES};
use super::grid::Grid;
use super::plan::{Direction, Plan};
use super::step::{Bound, MOST_ATOMS, StepPair};

/// Unit roundoff.
const UNIT_ROUNDOFF: f64 = 0.5 * f64::EPSILON;
/// Relative error of one atom of one step: quadrature 1e-14, a few roundings, and the end of a merged cell.
const ATOM_ERROR: f64 = 1e-13;
/// Bins whose composed magnitude is below e to this power are zero.
const VANISHED: f64 = -80.0;

/// One direction of a composition under way.
pub(super) struct Composer {
    direction: Direction,
    plan: Plan,
    spacing: f64,
    /// Grid index of the window's lower end.
    first: i64,
    size: usize,
    forward: Arc<dyn RealToComplex<f64>>,
    backward: Arc<dyn ComplexToReal<f64>>,
    buffer: Vec<f64>,
    transformed: Vec<Complex<f64>>,
    bins: Vec<Bin>,
    totals: Totals,
    by_density: Option<ByDensity>,
}

/// What compositions of densities need besides.
struct ByDensity {
    kernel: Kernel,
    /// ln of a bound of the sum's transform from each octave of frequencies above the grid's on.
    ceilings: [f64; OCTAVES],
}

/// One frequency: ln of an upper bound of the magnitude, the phase, and a bound of the relative error.
#[derive(Clone, Copy, Default)]
struct Bin {
    log_ceiling: f64,
    log_magnitude: f64,
    phase: f64,
    deviation: f64,
}

/// Sums over all steps.
#[derive(Clone, Copy, Default)]
struct Totals {
    steps: f64,
    /// ln of the tilted mass: Σ K(θ).
    cumulant: f64,
    /// The same at the exponents that bound what lies above and below the window.
    upper: f64,
    lower: f64,
    infinite: f64,
}

impl Composer {
    /// A composer over the plan's window.
    pub(super) fn new(
        direction: Direction,
        plan: Plan,
        grid: &Grid,
        planner: &mut RealFftPlanner<f64>,
    ) -> Result<Self, AccountingError> {
        let spacing = grid.spacing;
        let points = (plan.high - plan.low) / spacing + 4.0;
        if points.is_nan() || points >= grid.most as f64 {
            return Err(AccountingError::GridTooLarge { points, limit: grid.most });
        }
        let size = transform_size(points.max(16.0) as usize);
        Ok(Self {
            direction,
            plan,
            spacing,
            first: (plan.low / spacing).floor() as i64,
            size,
            forward: planner.plan_fft_forward(size),
            backward: planner.plan_fft_inverse(size),
            buffer: vec![0.0; size],
            transformed: vec![Complex::default(); size / 2 + 1],
            bins: vec![Bin::default(); size / 2 + 1],
            totals: Totals::default(),
            by_density: None,
        })
    }

    /// Composes `event.steps` runs of a step by its density; all steps of a composition must come this way.
    ///
    /// `lost` of each step's mass counts as infinite loss, and what is left is composed.
    pub(super) fn add_density(&mut self, event: &Event, lost: f64) -> Result<(), AccountingError> {
        let (count, plan) = (event.steps as f64, self.plan);
        let density = Density::new(event, lost, self.direction, plan.theta, self.spacing);
        let cumulant = |theta: f64| count * density::cumulant(event, lost, self.direction, theta);
        self.totals.steps += count;
        self.totals.cumulant += cumulant(plan.theta);
        self.totals.upper += cumulant(plan.upper_theta);
        self.totals.lower += cumulant(plan.lower_theta);
        self.totals.infinite += count * lost;
        let kernel = Kernel { theta: plan.theta, spacing: self.spacing };
        let by_density = self.by_density.get_or_insert(ByDensity { kernel, ceilings: [0.0; OCTAVES] });
        for (sum, ceiling) in by_density.ceilings.iter_mut().zip(density.ceilings()) {
            *sum += count * ceiling;
        }
        let error = self.transform_error();
        let transformed = density.transform(&self.forward, self.size).ok_or_else(|| self.too_large())?;
        for (bin, change) in self.bins.iter_mut().zip(transformed) {
            bin.multiply_by_one_and(change.value, count, error * change.transformed + ATOM_ERROR * change.added);
        }
        Ok(())
    }

    /// Bound, for any output of a transform, of its rounding error over the sum of the inputs' magnitudes.
    ///
    /// Every output is a sum over paths through log2(size) butterfly levels, each of which errs by less than eight
    /// roundings (Higham, Accuracy and Stability of Numerical Algorithms, chapter 24); two more levels for the real
    /// transform's folding.
    fn transform_error(&self) -> f64 {
        ((self.size as f64).log2() + 2.0) * 8.0 * UNIT_ROUNDOFF
    }

    /// Composes `steps` runs of a step.
    pub(super) fn add(&mut self, pair: &StepPair, steps: u64) -> Result<(), AccountingError> {
        let (count, log_mass) = (steps as f64, pair.log_mass.as_slice());
        let cumulant = |theta: f64| log_sum(log_mass, |i| self.exponent(pair.first, i, theta));
        let (at_theta, peak) = cumulant(self.plan.theta);
        let (upper, lower) = (cumulant(self.plan.upper_theta).0, cumulant(self.plan.lower_theta).0);
        self.totals.steps += count;
        self.totals.cumulant += count * at_theta;
        self.totals.upper += count * upper;
        self.totals.lower += count * lower;
        self.totals.infinite += count
            * match self.direction {
                Direction::Remove => pair.infinite_remove,
                Direction::Add => pair.infinite_add,
            };

        self.buffer.fill(0.0);
        let scale = (peak - at_theta).exp();
        for (i, &log_p) in log_mass.iter().enumerate() {
            let weight = log_p + self.exponent(pair.first, i, self.plan.theta) - peak;
            if weight > -60.0 {
                let index = pair.first + i as i64;
                let index = if self.direction == Direction::Remove { index } else { -index };
                self.buffer[index.rem_euclid(self.size as i64) as usize] += weight.exp() * scale;
            }
        }
        self.forward.process(&mut self.buffer, &mut self.transformed).map_err(|_| self.too_large())?;
        let error = self.transform_error();
        for (bin, value) in self.bins.iter_mut().zip(&self.transformed) {
            bin.multiply(*value, count, error);
        }
        Ok(())
    }

    fn too_large(&self) -> AccountingError {
        AccountingError::GridTooLarge { points: self.size as f64, limit: MOST_ATOMS }
    }

    /// What the tilt adds to the logarithm of the i-th P-mass in this direction.
    fn exponent(&self, first: i64, i: usize, theta: f64) -> f64 {
        let loss = (first + i as i64) as f64 * self.spacing;
        match self.direction {
            Direction::Remove => theta * loss,
            Direction::Add => -(1.0 + theta) * loss,
        }
    }

    /// The curve of the composition.
    pub(super) fn finish(mut self, bound: Bound) -> Result<Curve, AccountingError> {
        let (size, error) = (self.size as f64, self.transform_error());
        // Mean over all frequencies of the magnitude and of its error's bound.
        let (mut magnitude, mut deviation) = (0.0, 0.0);
        let last = self.transformed.len() - 1;
        let kernel = self.by_density.as_ref().map(|by_density| by_density.kernel);
        for (k, (bin, value)) in self.bins.iter().zip(&mut self.transformed).enumerate() {
            let multiplicity = if k == 0 || k == last { 1.0 } else { 2.0 };
            let moved = kernel.map_or(Complex::new(1.0, 0.0), |kernel| kernel.at(k, size));
            let ceiling = bin.log_ceiling.exp() * moved.norm() * multiplicity / size;
            // An error of at most `error` in every factor, and the rounding of phases and logarithms times counts.
            deviation += ceiling * bin.deviation;
            magnitude += ceiling;
            *value = bin.value() * moved;
            if k == 0 || k == last {
                value.im = 0.0;
            }
        }
        self.backward
            .process(&mut self.transformed, &mut self.buffer)
            .map_err(|_| AccountingError::GridTooLarge { points: size, limit: MOST_ATOMS })?;
        let per_point = deviation + error * magnitude + self.aliases();
        // The kernel moves losses up by a spacing at most: what it brings above the window is less than one below its end.
        self.totals.upper += self.by_density.as_ref().map_or(0.0, |_| self.plan.upper_theta * self.spacing);
        Ok(self.curve(bound, per_point))
    }

    /// What frequencies above the grid's add to any point of the sum's distribution.
    fn aliases(&self) -> f64 {
        let Some(ByDensity { kernel, ceilings }) = &self.by_density else { return 0.0 };
        ceilings.iter().enumerate().map(|(octave, ceiling)| ceiling.exp() * kernel.aliases(octave)).sum()
    }

    fn curve(&self, bound: Bound, per_point: f64) -> Curve {
        let (theta, h) = (self.plan.theta, self.spacing);
        let cumulant = self.totals.cumulant;
        let weight = |i: usize| {
            let index = self.first + i as i64;
            let tilted = self.buffer[index.rem_euclid(self.size as i64) as usize] / self.size as f64;
            if tilted <= 0.0 { 0.0 } else { tilted * (cumulant - theta * index as f64 * h).exp() }
        };
        let curve = Curve::new(h, self.first, self.size, weight);
        // Σ_{l > ε} e^{K − θ l}(1 − e^{ε − l}) over the grid, times the error of one point.
        let per_unit = 1.0 / (theta * h).exp_m1() - 1.0 / ((theta + 1.0) * h).exp_m1();
        let rounding = per_point * per_unit * (theta * h).exp();
        let end = self.first as f64 * h + self.size as f64 * h;
        let relative = self.totals.steps * ATOM_ERROR + 64.0 * self.size as f64 * UNIT_ROUNDOFF;
        match bound {
            Bound::Pessimistic => {
                let above = (self.totals.upper - self.plan.upper_theta * end).exp();
                curve.with_errors(1.0, self.totals.infinite + above, (cumulant + rounding.ln(), theta), relative)
            }
            Bound::Optimistic => {
                // Wrapped mass, in the tilted measure, may sit anywhere: at worst where e^{−θx}(1 − e^{−x}) peaks.
                let above = (self.totals.upper - cumulant - (self.plan.upper_theta - theta) * end).exp();
                let start = self.first as f64 * h;
                let below = (self.totals.lower - cumulant + (theta - self.plan.lower_theta) * start).exp();
                let peak = (theta * (theta / (1.0 + theta)).ln()).exp() / (1.0 + theta);
                let fading = rounding + (above + below) * peak;
                curve.with_errors(-1.0, 0.0, (cumulant + fading.ln(), theta), relative)
            }
        }
    }
}

impl Bin {
    /// Multiplies by `value` to the power `count`, where `value` may be off by `error`.
    fn multiply(&mut self, value: Complex<f64>, count: f64, error: f64) {
        let magnitude = value.norm_sqr().sqrt();
        let ceiling = magnitude + error;
        self.log_ceiling += count * ceiling.ln();
        // An error of at most `error` in every factor, and the rounding of phases and logarithms times counts.
        self.deviation += count * (error / ceiling + 8.0 * UNIT_ROUNDOFF);
        if self.log_ceiling > VANISHED {
            self.log_magnitude += count * magnitude.ln();
            self.phase += count * value.im.atan2(value.re);
        }
    }

    /// The same for 1 + `change`, where `change` may be off by `error` and all errors are as small as it is.
    fn multiply_by_one_and(&mut self, change: Complex<f64>, count: f64, error: f64) {
        let excess = (2.0 * change.re + change.norm_sqr()).max(-1.0 + f64::MIN_POSITIVE);
        let log_magnitude = 0.5 * excess.ln_1p();
        let ceiling = log_magnitude.exp() + error;
        self.log_ceiling += count * (log_magnitude + error / log_magnitude.exp());
        self.deviation += count * (error + 8.0 * UNIT_ROUNDOFF * change.norm()) / ceiling;
        if self.log_ceiling > VANISHED {
            self.log_magnitude += count * log_magnitude;
            self.phase += count * change.im.atan2(1.0 + change.re);
        }
    }

    fn value(&self) -> Complex<f64> {
        if self.log_ceiling > VANISHED {
            Complex::from_polar(self.log_magnitude.exp(), self.phase)
        } else {
            Complex::default()
        }
    }
}

/// ln Σ e^{log_mass + exponent} and the largest summand's logarithm.
fn log_sum(log_mass: &[f64], exponent: impl Fn(usize) -> f64) -> (f64, f64) {
    let peak = log_mass.iter().enumerate().map(|(i, log_p)| log_p + exponent(i)).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = log_mass.iter().enumerate().map(|(i, log_p)| (log_p + exponent(i) - peak).exp()).sum();
    (peak + sum.ln(), peak)
}

/// The smallest even product of a power of two and 1, 3, 5, 9 or 15 that is at least `points`.
fn transform_size(points: usize) -> usize {
    [1_usize, 3, 5, 9, 15]
        .into_iter()
        .map(|odd| odd * points.div_ceil(odd).next_power_of_two().max(2))
        .min()
        .unwrap_or_else(|| points.next_power_of_two())
}
