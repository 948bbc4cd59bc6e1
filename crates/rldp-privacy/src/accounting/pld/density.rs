//! A step's Fourier transform straight from its density, for compositions that no loss grid of a single step can hold.
//!
//! At a sampling rate of 1e-6 the losses of one step lie within 1e-6 of zero but for rare jumps of several units: a grid fine
//! enough for the one and wide enough for the others has billions of points. The sum of many steps needs no such grid. Its
//! own spread is √T times wider, its transform at the frequencies of a grid of that spacing is the product of the steps'
//! transforms, and those are integrals over x. What is left out by looking at these frequencies alone is bounded
//! (`Ceiling`) and charged.

use std::f64::consts::{FRAC_PI_2, PI};
use std::sync::Arc;

use realfft::RealToComplex;
use realfft::num_complex::Complex;

use super::super::event::Event;
use super::plan::Direction;
use super::quadrature::Cells;
use super::step::{normal_density_at_zero, normal_tail};

/// Half the width of the middle, in spacings, for all frequencies, and for the low ones that count.
const NARROW: f64 = 0.5;
const WIDE: f64 = 13.0;
/// Powers of the distance from a grid point; what they leave of e^{iωt} with |ωt| ≤ π/2 is below 2e-17.
const POWERS: usize = 22;
/// Largest growth of the integrand's exponent, phase included, over one piece of the integral.
const PIECE: f64 = 3.0;
/// Weights below this one are lost in rounding, whatever the number of steps.
const NEGLIGIBLE: f64 = 1e-60;
/// Octaves of frequencies for which a ceiling is kept; those above are negligible by the kernel alone.
pub(super) const OCTAVES: usize = 64;

/// One step in one direction, tilted by e^{θL} and normalized.
pub(super) struct Density<'a> {
    event: &'a Event,
    cells: Cells,
    direction: Direction,
    /// Power of dP/dQ under Q that makes the tilted measure.
    power: f64,
    /// K(θ).
    cumulant: f64,
    spacing: f64,
}

/// A step's transform less 1.
#[derive(Clone, Copy, Default)]
pub(super) struct Change {
    pub(super) value: Complex<f64>,
    /// Sum of the magnitudes of what was transformed: errors of transforms are in proportion to it.
    pub(super) transformed: f64,
    /// Sum of the magnitudes of what was added without a transform.
    pub(super) added: f64,
}

/// Where some of a step's mass lies, in spacings, and how much.
struct Node {
    place: f64,
    weight: f64,
}

/// A step's mass in the middle and elsewhere.
struct Parts<'a> {
    /// Nodes of the middle.
    near: Vec<&'a Node>,
    /// Nodes elsewhere.
    far: Vec<&'a Node>,
}

impl<'a> Parts<'a> {
    /// The middle reaches `middle` spacings to both sides.
    fn new(nodes: &'a [Node], middle: f64) -> Self {
        let (near, far) = nodes.iter().partition(|node| node.place.abs() <= middle);
        Self { near, far }
    }

    fn transform(&self, forward: &Arc<dyn RealToComplex<f64>>, size: usize) -> Option<Vec<Change>> {
        let mut buffer = vec![0.0; size];
        let mut found = vec![Change::default(); size / 2 + 1];
        let mut part = vec![Complex::default(); size / 2 + 1];
        let mut factors: Vec<f64> = vec![1.0; found.len()];
        let mut far: Vec<f64> = self.far.iter().map(|node| node.weight).collect();
        let mut near: Vec<f64> = self.near.iter().map(|node| node.weight).collect();
        // What is elsewhere is missing in the middle.
        let mut constant = -far.iter().sum::<f64>();
        for power in 0..POWERS {
            buffer.fill(0.0);
            let total: f64 = far.iter().map(|weight| weight.abs()).sum();
            for (node, weight) in self.far.iter().zip(&mut far) {
                let index = node.place.round();
                buffer[(index as i64).rem_euclid(size as i64) as usize] += *weight;
                *weight *= 2.0 * (node.place - index);
            }
            forward.process(&mut buffer, &mut part).ok()?;
            // (−i)^power turns the real factor (ωh/2)^power / power!.
            let turned = |value: Complex<f64>| match power % 4 {
                0 => value,
                1 => Complex::new(value.im, -value.re),
                2 => -value,
                _ => Complex::new(-value.im, value.re),
            };
            for (k, ((change, value), factor)) in found.iter_mut().zip(&part).zip(&mut factors).enumerate() {
                change.value += turned(*value + constant) * *factor;
                change.transformed += total * *factor;
                change.added += constant.abs() * *factor;
                *factor *= PI * k as f64 / size as f64 / (power + 1) as f64;
            }
            for (node, weight) in self.near.iter().zip(&mut near) {
                *weight *= 2.0 * node.place;
            }
            constant = near.iter().sum();
        }
        Some(found)
    }
}

impl<'a> Density<'a> {
    /// The step of `event`, cut where `lost` of its mass lies beyond, tilted by `theta` and composed at `spacing`.
    pub(super) fn new(event: &'a Event, lost: f64, direction: Direction, theta: f64, spacing: f64) -> Self {
        let power = match direction {
            Direction::Remove => 1.0 + theta,
            Direction::Add => -theta,
        };
        let cells = Cells::between(event, spacing, range(event, lost));
        let cumulant = cumulant(event, lost, direction, theta);
        Self { event, cells, direction, power, cumulant, spacing }
    }

    /// The loss at x in this direction.
    fn loss(&self, x: f64) -> f64 {
        match self.direction {
            Direction::Remove => self.cells.loss(x),
            Direction::Add => -self.cells.loss(x),
        }
    }

    /// The tilted density at x.
    fn at(&self, x: f64) -> f64 {
        let z = self.event.noise_multiplier;
        let exponent = self.power * self.cells.loss(x) - 0.5 * x * x / (z * z) - self.cumulant;
        exponent.exp() * normal_density_at_zero() / z
    }

    /// The sampled part of dP/dQ at x, q e^{(2x − 1)/(2z²)}: over all of it, z² times the loss's slope in x.
    fn sampled(&self, x: f64) -> f64 {
        let z = self.event.noise_multiplier;
        self.event.sampling_rate * ((x - 0.5) / (z * z)).exp()
    }

    /// What the transform is beside 1 at the frequencies of a circle of `size` grid points: E e^{−iωL} − 1 at
    /// ω = 2πk/(size·h), k ≤ size/2.
    ///
    /// Nearly all the mass lies around zero, and its part is a polynomial in ω. Only what lies elsewhere is transformed: it is
    /// small, and so are its errors. The wider the middle the less is elsewhere, but the fewer frequencies the polynomial serves.
    pub(super) fn transform(&self, forward: &Arc<dyn RealToComplex<f64>>, size: usize) -> Option<Vec<Change>> {
        let nodes = self.nodes();
        let mut found = Parts::new(&nodes, NARROW).transform(forward, size)?;
        let served = (size as f64 / (4.0 * WIDE)) as usize;
        let wide = Parts::new(&nodes, WIDE).transform(forward, size)?;
        let count = served.min(found.len());
        found[..count].copy_from_slice(&wide[..count]);
        Some(found)
    }

    /// Gauss–Legendre nodes of ρ(x) dx, on pieces over which neither weight nor phase grows much.
    fn nodes(&self) -> Vec<Node> {
        let (z, frequency) = (self.event.noise_multiplier, PI / self.spacing);
        let rate = |x: f64| {
            let slope = self.sampled(x) / self.cells.at(x).ratio() / (z * z);
            (x.abs() + 1.0) / (z * z) + (self.power.abs() + frequency) * slope + 1.0 / z
        };
        let mut nodes = Vec::new();
        integrate([self.cells.low, self.cells.high], rate, |x, length| {
            let weight = length * self.at(x);
            if weight > NEGLIGIBLE {
                nodes.push(Node { place: self.loss(x) / self.spacing, weight });
            }
        });
        nodes
    }

    /// ln of a bound of |E e^{−iωL}| for every ω ≥ π/h, octave by octave.
    pub(super) fn ceilings(&self) -> [f64; OCTAVES] {
        let samples = Samples::new(self);
        std::array::from_fn(|octave| samples.log_ceiling(PI / self.spacing * 2f64.powi(octave as i32)))
    }
}

/// Where the integral over x ends: what lies beyond has a mass of at most `lost`, in either measure.
fn range(event: &Event, lost: f64) -> [f64; 2] {
    let Event { sampling_rate: q, noise_multiplier: z, .. } = *event;
    let above = |x: f64| q * normal_tail((x - 1.0) / z) + (1.0 - q) * normal_tail(x / z);
    let first = |is_enough: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0 + 40.0 * z);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if is_enough(middle) { high = middle } else { low = middle }
        }
        high
    };
    [-first(&|x| normal_tail(x / z) <= 0.5 * lost), first(&|x| above(x) <= 0.5 * lost)]
}

/// ln E[e^{θL}] of one step over the range that loses `lost` of its mass, rounded up.
pub(super) fn cumulant(event: &Event, lost: f64, direction: Direction, theta: f64) -> f64 {
    let Event { sampling_rate: q, noise_multiplier: z, .. } = *event;
    let power = match direction {
        Direction::Remove => 1.0 + theta,
        Direction::Add => -theta,
    };
    let likelihood = |x: f64| q * ((x - 0.5) / (z * z)).exp_m1();
    let rate = |x: f64| {
        let sampled = q * ((x - 0.5) / (z * z)).exp();
        (x.abs() + 1.0) / (z * z) + power.abs() * sampled / (1.0 - q + sampled) / (z * z) + 1.0 / z
    };
    // E u is zero over all x; over the range it is not positive.
    let mut sum = 0.0;
    integrate(range(event, lost), rate, |x, length| {
        let u = likelihood(x);
        let gain = if (power.abs() + 1.0) * u.abs() < 1e-4 {
            0.5 * power * (power - 1.0) * u * u * (1.0 + (power - 2.0) / 3.0 * u * (1.0 + (power - 3.0) / 4.0 * u))
        } else {
            (power * u.ln_1p()).exp_m1() - power * u
        };
        sum += length * (-0.5 * x * x / (z * z)).exp() * gain;
    });
    let missing = if direction == Direction::Add { theta * lost } else { 0.0 };
    (sum * normal_density_at_zero() / z + missing).ln_1p() * (1.0 + 1e-12)
}

/// Calls back with the nodes and lengths of Gauss–Legendre rules of eight points on pieces over which the exponent of the
/// integrand, whose derivative is at most `rate`, grows little.
fn integrate([low, high]: [f64; 2], rate: impl Fn(f64) -> f64, mut visit: impl FnMut(f64, f64)) {
    const ABSCISSAE: [f64; 4] =
        [0.183_434_642_495_649_8, 0.525_532_409_916_329, 0.796_666_477_413_626_7, 0.960_289_856_497_536_3];
    const WEIGHTS: [f64; 4] =
        [0.362_683_783_378_361_96, 0.313_706_645_877_887_27, 0.222_381_034_453_374_48, 0.101_228_536_290_376_26];
    let mut start = low;
    while start < high {
        let first = PIECE / rate(start);
        let end = (start + PIECE / rate(start).max(rate(start + first))).min(high);
        let (middle, half) = (0.5 * (start + end), 0.5 * (end - start));
        for (abscissa, weight) in ABSCISSAE.iter().zip(WEIGHTS) {
            visit(middle - half * abscissa, weight * half);
            visit(middle + half * abscissa, weight * half);
        }
        start = end;
    }
}

/// Mass and loss on a fine mesh of x.
struct Samples {
    losses: Vec<f64>,
    masses: Vec<f64>,
    /// A bound of the total variation of the loss's density.
    variation: f64,
}

impl Samples {
    /// Points per z² of x: the loss changes by at most this share of itself from one to the next.
    const STEP: f64 = 1.0 / 512.0;
    /// Most local maxima of the tilted loss's density, ends included: ln of it has a derivative in x of the sign of
    /// (1 + a)σ(x) − x − 1 with σ a logistic curve and a the power of dP/dQ, which is zero at three points at most.
    const MAXIMA: f64 = 3.0;

    fn new(density: &Density) -> Self {
        let z = density.event.noise_multiplier;
        let step = Self::STEP * (z * z).min(z);
        let count = ((density.cells.high - density.cells.low) / step).ceil() as usize;
        let xs = || (0..=count).map(|i| density.cells.low + i as f64 * step);
        let slope = |x: f64| z * z * density.cells.at(x).ratio() / density.sampled(x);
        // Of ln of it, between two points.
        let sampled = density.sampled(density.cells.high) / density.cells.at(density.cells.high).ratio();
        let slope_of_log = (density.cells.high.abs() + 1.0 + (density.power.abs() + 1.0) * sampled) / (z * z);
        let growth = (step * slope_of_log).exp();
        let peak = xs().map(|x| density.at(x) * slope(x)).filter(|value| value.is_finite()).fold(0.0, f64::max);
        Self {
            losses: xs().map(|x| density.loss(x)).collect(),
            masses: xs().map(|x| density.at(x) * step).collect(),
            variation: 2.0 * Self::MAXIMA * peak * growth,
        }
    }

    /// ln of a bound of the transform's magnitude for ω from `from` to twice that.
    ///
    /// With L' another draw, 1 − |φ(ω)|² = 2 E sin²(ω(L − L')/2). Of that only pairs count which lie together in one of many
    /// intervals so short that the sine is at least 2/π of its argument. For large ω the density's variation over ω is less.
    fn log_ceiling(&self, from: f64) -> f64 {
        let width = FRAC_PI_2 / from;
        let (mut spread, mut interval, mut moments, mut origin) = (0.0, f64::NAN, [0.0; 3], 0.0);
        for (loss, mass) in self.losses.iter().zip(&self.masses) {
            let here = (loss / width).floor();
            if here != interval {
                spread += variance(moments);
                (interval, moments, origin) = (here, [0.0; 3], *loss);
            }
            let distance = loss - origin;
            moments = [moments[0] + mass, moments[1] + mass * distance, moments[2] + mass * distance * distance];
        }
        spread += variance(moments);
        // A tenth is left for the mesh.
        let lost = 0.9 * 2.0 * from * from / (PI * PI) * spread;
        let by_pairs = 0.5 * (-lost.min(1.0 - 1e-15)).ln_1p();
        by_pairs.min((self.variation / from).ln()).min(0.0)
    }
}

/// E (L − L')² over pairs of one interval, times their mass.
fn variance(moments: [f64; 3]) -> f64 {
    (2.0 * (moments[0] * moments[2] - moments[1] * moments[1])).max(0.0)
}

/// The transform of the kernel that moves a loss to the two grid points around it and keeps P-mass and Q-mass, tilted by
/// e^{θ·} and over the spacing: the sum's distribution after it dominates the sum (connect the dots, arXiv 2207.04380).
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub(super) theta: f64,
    pub(super) spacing: f64,
}

impl Kernel {
    /// At frequency 2πk/(size·h).
    pub(super) fn at(self, k: usize, size: f64) -> Complex<f64> {
        let Self { theta, spacing: h } = self;
        let s = Complex::new(theta * h, -2.0 * PI * k as f64 / size);
        let next = s + h;
        // A factor h² of the denominator is in s and next.
        expm1(s) * -expm1(-next) / (s * next) * (h / -(-h).exp_m1())
    }

    /// Σ |kernel| over the aliases of one frequency in an octave from 2^octave · π/h up.
    pub(super) fn aliases(self, octave: usize) -> f64 {
        let Self { theta, spacing: h } = self;
        let scale = 4f64.powi(octave as i32) * PI * PI;
        let count = 2.0 * (2f64.powi(octave as i32 - 1) + 1.0);
        2.0 * ((theta * h).exp() + 1.0) * (h / -(-h).exp_m1()) * count / scale
    }
}

/// e^z − 1 without cancellation.
fn expm1(z: Complex<f64>) -> Complex<f64> {
    let (half, growth) = ((0.5 * z.im).sin(), z.re.exp_m1());
    Complex::new(growth * z.im.cos() - 2.0 * half * half, (growth + 1.0) * z.im.sin())
}
