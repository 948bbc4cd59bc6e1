//! The one integral behind RDP and the tilting of loss distributions.
//!
//! With N = N(0, z²), u(x) = q (e^{(2x−1)/(2z²)} − 1) and 1 + u the likelihood ratio of the Poisson-subsampled Gaussian
//! against N, [`log_moment`] is ln E_N[(1 + u)^a]. For a = α > 1 it is (α − 1) times the Rényi divergence of the
//! mixture from N (arXiv 1908.10530); for a = −θ < 0 it is ln E_N[e^{θ L}] of the loss L = −ln(1 + u) of N against the
//! mixture.
//!
//! `E_N[u]` = 0, so the integral is `1 + E_N[g(u)]` with g(u) = (1 + u)^a − 1 − a u, which has one sign (positive for a
//! outside [0, 1], negative inside): nothing cancels, however small the result is. Fractional orders take the trapezoidal rule, which
//! converges geometrically on an analytic integrand; integer orders a sum of positive binomial terms.

use std::f64::consts::PI;

/// Integer orders up to this one take the binomial sum; above, quadrature costs less.
const LAST_BINOMIAL_ORDER: f64 = 128.0;
/// Logarithm of the relative size below which parts of an integral are left out.
const NEGLIGIBLE: f64 = -46.0;
/// Half-width, in standard deviations, of the range integrated around the bulk of a normal density.
const BULK: f64 = 11.5;
/// Logarithm of a ratio beside which 1 and a (at most 1e5) vanish.
const DOMINANT: f64 = 100.0;
/// Blocks of an integral; orders that need more are of no use and come from damaged or hostile ledgers.
const MOST_BLOCKS: i64 = 1 << 22;
/// Above this logarithm, "−1 − a u" in g is below rounding and the sum is kept in logarithms.
const LOG_DOMAIN: f64 = 60.0;

/// ln E_{x ~ N(0, z²)}[(1 + u(x))^a] for any real a, with relative error below 1e-12.
pub(super) fn log_moment(q: f64, z: f64, a: f64) -> f64 {
    if a == 0.0 || a == 1.0 {
        0.0
    } else if q == 1.0 {
        a * (a - 1.0) / (2.0 * z * z)
    } else if a > 1.0 && a <= LAST_BINOMIAL_ORDER && a.fract() == 0.0 {
        binomial(q, z, a)
    } else {
        quadrature(q, z, a)
    }
}

/// ln(1 + Σ_{k=2}^{a} C(a,k) (1−q)^{a−k} q^k (e^{k(k−1)/(2z²)} − 1)): every term is positive.
fn binomial(q: f64, z: f64, a: f64) -> f64 {
    let (log_q, log_rest) = (q.ln(), (-q).ln_1p());
    let mut log_choose = a.ln();
    let mut terms = Vec::with_capacity(a as usize);
    let mut k = 2.0;
    while k <= a {
        log_choose += ((a - k + 1.0) / k).ln();
        let exponent = k * (k - 1.0) / (2.0 * z * z);
        terms.push(log_choose + (a - k) * log_rest + k * log_q + log_expm1(exponent));
        k += 1.0;
    }
    let peak = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|term| (term - peak).exp()).sum();
    log_one_plus_exp(peak + sum.ln())
}

/// ln(e^x − 1) for x > 0.
fn log_expm1(x: f64) -> f64 {
    if x > 40.0 { x } else { x.exp_m1().ln() }
}

/// ln(1 + e^x).
fn log_one_plus_exp(x: f64) -> f64 {
    if x > 40.0 { x } else { x.exp().ln_1p() }
}

/// The likelihood ratio of one subsampled Gaussian step.
#[derive(Clone, Copy)]
pub(super) struct Ratio {
    q: f64,
    variance: f64,
}

impl Ratio {
    pub(super) fn new(q: f64, z: f64) -> Self {
        Self { q, variance: z * z }
    }

    /// (u, ln(1 + u)) at x; u is infinite where only the logarithm fits into an `f64`.
    pub(super) fn at(&self, x: f64) -> (f64, f64) {
        let exponent = (x - 0.5) / self.variance;
        if exponent > 700.0 {
            (f64::INFINITY, self.q.ln() + exponent)
        } else {
            let u = self.q * exponent.exp_m1();
            (u, u.ln_1p())
        }
    }

    /// ln((1 + u)^power e^{−x²/2z²}) and its derivative times z².
    fn level(&self, power: f64, x: f64) -> (f64, f64, f64) {
        let (u, log_ratio) = self.at(x);
        let share = 1.0 - (1.0 - self.q) / (1.0 + u);
        (power * log_ratio - x * x / (2.0 * self.variance), x, power * share)
    }

    /// An upper bound of [`Self::level`] between two points at which it is known, `share` being monotone in x.
    fn ceiling(&self, left: (f64, f64, f64), right: (f64, f64, f64)) -> f64 {
        let width = (right.1 - left.1) / self.variance;
        let steepest = left.2.max(right.2) - left.1;
        let shallowest = left.2.min(right.2) - right.1;
        (left.0 + width * steepest.max(0.0)).min(right.0 - width * shallowest.min(0.0))
    }
}

/// Trapezoidal rule over blocks of x that can matter; infinite, which bounds everything, where they are beyond counting.
fn quadrature(q: f64, z: f64, a: f64) -> f64 {
    let ratio = Ratio::new(q, z);
    // Geometric convergence e^{-2π d / h}, with d the distance of the branch points of (1 + u)^a from the axis, π z²,
    // and e^{-2 (π z / h)²} for the normal factor: both are below 1e-19 here.
    let spacing = (0.25 * z).min(0.4 * z * z);
    let block_nodes = (z / spacing).ceil().min(64.0) as i64;
    let width = block_nodes as f64 * spacing;
    let first = ((a.min(0.0) - BULK * z) / width).floor() as i64;
    let last = ((a.max(1.0) + BULK * z) / width).ceil() as i64;
    if last.saturating_sub(first) > MOST_BLOCKS {
        return f64::INFINITY;
    }
    // |g| is below (1 + u)^power times a small factor.
    let power = if (0.0..1.0).contains(&a) { 1.0 } else { a };
    let levels_of =
        |power: f64| -> Vec<_> { (first..=last).map(|block| ratio.level(power, block as f64 * width)).collect() };
    let levels = levels_of(power);
    let blocks = || (first..last).zip(levels.windows(2));
    let nodes = |block: i64| (0..block_nodes).map(move |i| (block * block_nodes + i) as f64 * spacing);
    let normalizer = spacing / (z * (2.0 * PI).sqrt());

    let peak = levels.iter().map(|level| level.0).fold(f64::NEG_INFINITY, f64::max);
    if peak > LOG_DOMAIN {
        let sum: f64 = blocks()
            .filter(|(_, ends)| ratio.ceiling(ends[0], ends[1]) > peak + NEGLIGIBLE)
            .flat_map(|(block, _)| nodes(block))
            .map(|x| (a * ratio.at(x).1 - x * x / (2.0 * ratio.variance) - peak).exp())
            .sum();
        return peak + (sum * normalizer).ln();
    }
    let term = |x: f64| weighted_excess(a, ratio.at(x), x * x / (2.0 * ratio.variance));
    let in_bulk = |block: i64| (block as f64 * width).abs() <= (BULK + 1.0) * z;
    let bulk: f64 = (first..last).filter(|&block| in_bulk(block)).flat_map(nodes).map(term).sum();
    let floor = bulk.abs().ln() + NEGLIGIBLE;
    // For a < 0 it is below |a| (1 + u) as well, which is what is left of it around x = 1.
    let linear = if a < 0.0 { levels_of(1.0) } else { Vec::new() };
    let matters = |(block, ends): &(i64, &[(f64, f64, f64)])| {
        let linear = linear.get((block - first) as usize..).and_then(|from| from.get(..2));
        ratio.ceiling(ends[0], ends[1]) > floor
            || linear.is_some_and(|ends| a.abs().ln() + ratio.ceiling(ends[0], ends[1]) > floor)
    };
    let rest: f64 =
        blocks().filter(|part| !in_bulk(part.0) && matters(part)).flat_map(|(block, _)| nodes(block)).map(term).sum();
    ((bulk + rest) * normalizer).ln_1p()
}

/// g(u) e^{−weight}, given (u, ln(1 + u)), where g alone may overflow.
fn weighted_excess(a: f64, (u, log_ratio): (f64, f64), weight: f64) -> f64 {
    let growth = (a - 1.0) * log_ratio;
    if growth > DOMINANT {
        // 1 + a u is far below rounding beside (1 + u)^a.
        (a * log_ratio - weight).exp()
    } else if log_ratio > 3.0 * DOMINANT {
        // u and 1 + u are the same number, and perhaps none that fits.
        (log_ratio - weight).exp() * (growth.exp_m1() - (a - 1.0))
    } else {
        (-weight).exp() * excess(a, (u, log_ratio))
    }
}

/// g(u) = (1 + u)^a − 1 − a u without cancellation, given (u, ln(1 + u)).
fn excess(a: f64, (u, log_ratio): (f64, f64)) -> f64 {
    if u.abs() * (a.abs() + 4.0) < 0.05 {
        // a (a−1)/2 u² (1 + (a−2)/3 u (1 + (a−3)/4 u (…))): twelve terms leave less than 1e-17.
        let tail = (3..=14).rev().fold(1.0, |tail, k| {
            let k = f64::from(k);
            1.0 + (a - k + 1.0) / k * u * tail
        });
        return 0.5 * a * (a - 1.0) * u * u * tail;
    }
    if a > 0.0 {
        // (1 + u)(e^{(a−1) ln(1+u)} − 1) − (a−1) u: exact also for a close to 1.
        (1.0 + u) * ((a - 1.0) * log_ratio).exp_m1() - (a - 1.0) * u
    } else {
        (a * log_ratio).exp_m1() - a * u
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Next to all of N lies where 1 + u is 1 − q, so that its moment of order −1 is 1/(1 − q), though E[u] = 0 by what lies around x = 1.
    #[test]
    fn a_negative_moment_counts_what_lies_around_one() {
        for z in [0.03, 0.05, 0.1] {
            let found = log_moment(0.01, z, -1.0);
            assert!((found / -(-0.01_f64).ln_1p() - 1.0).abs() < 1e-5, "z = {z}: {found}");
        }
    }
}
