//! The delta(epsilon) curve of a discretised composition.

/// Delta at grid losses, and between them by the exact formula of a discrete distribution.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    /// Spacing of the grid.
    pub(super) spacing: f64,
    /// Grid index of `values[0]`.
    pub(super) first: i64,
    /// Delta at each grid loss, decreasing to the constant.
    values: Vec<f64>,
    /// What holds at every epsilon: mass at infinite loss and above the window (or, with the opposite sign, what a
    /// lower bound must forgo).
    constant: f64,
    /// Errors that fall with epsilon: ln of the factor and the rate θ of factor · e^{−θ ε}.
    fading: (f64, f64),
    /// +1 for an upper bound, −1 for a lower bound.
    sign: f64,
    /// Relative room for rounding.
    relative: f64,
}

/// Where on a curve an epsilon lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    /// At this epsilon.
    At(f64),
    /// Below the curve's range.
    Below,
    /// Above it.
    Above,
}

impl Curve {
    /// From the weights of grid losses `first`, `first + 1`, ….
    ///
    /// `weight(i)` is the P-mass of the i-th. The curve is Σ_{l > ε} weight (1 − e^{ε − l}), summed from the top with
    /// positive terms only.
    pub(super) fn new(spacing: f64, first: i64, count: usize, weight: impl Fn(usize) -> f64) -> Self {
        let (keep, gain) = ((-spacing).exp(), -(-spacing).exp_m1());
        let mut values = vec![0.0; count + 1];
        let (mut mass, mut delta) = (0.0, 0.0);
        for i in (0..count).rev() {
            // δ(l_{i−1}) = (mass from l_i on)(1 − e^{−h}) + δ(l_i) e^{−h}; values[i + 1] is δ(l_i).
            values[i + 1] = delta;
            mass += weight(i);
            delta = mass * gain + delta * keep;
        }
        values[0] = delta;
        Self {
            spacing,
            first: first - 1,
            values,
            constant: 0.0,
            fading: (f64::NEG_INFINITY, 0.0),
            sign: 1.0,
            relative: 0.0,
        }
    }

    /// Adds errors: `constant`, e^{log_factor − rate·ε} and a relative one; `sign` −1 subtracts them.
    pub(super) fn with_errors(mut self, sign: f64, constant: f64, fading: (f64, f64), relative: f64) -> Self {
        (self.sign, self.constant, self.fading, self.relative) = (sign, constant, fading, relative);
        self
    }

    fn loss(&self, index: usize) -> f64 {
        (self.first + index as i64) as f64 * self.spacing
    }

    /// The part of delta at `epsilon` that is error.
    pub(super) fn error_at(&self, epsilon: f64) -> f64 {
        self.constant + (self.fading.0 - self.fading.1 * epsilon).exp()
    }

    fn bound(&self, value: f64, error: f64) -> f64 {
        (value * (1.0 + self.sign * self.relative) + self.sign * error).clamp(0.0, 1.0)
    }

    fn bound_at(&self, index: usize) -> f64 {
        self.bound(self.values[index], self.error_at(self.loss(index)))
    }

    /// Lower end of the curve's range.
    pub(super) fn low(&self) -> f64 {
        self.loss(0)
    }

    /// Delta at an epsilon not below [`Curve::low`].
    pub(super) fn delta(&self, epsilon: f64) -> f64 {
        let position = epsilon / self.spacing - self.first as f64;
        let index = (position.floor().max(0.0) as usize).min(self.values.len() - 1);
        if index + 1 == self.values.len() {
            return self.bound(0.0, self.error_at(self.loss(index)));
        }
        // Linear in e^ε between grid losses.
        let share = (epsilon - self.loss(index)).max(0.0).exp_m1() / self.spacing.exp_m1();
        let value = self.values[index] + (self.values[index + 1] - self.values[index]) * share.min(1.0);
        self.bound(value, self.error_at(epsilon))
    }

    /// The smallest epsilon whose delta is at most `delta`.
    pub(super) fn epsilon(&self, delta: f64) -> Reading {
        let last = self.values.len() - 1;
        let Some(above) = self.last_above(delta) else { return Reading::Below };
        if above == last {
            return Reading::Above;
        }
        // Errors fall with epsilon, so those at the cell's lower end cover all of it, for either bound.
        let error = self.error_at(self.loss(above));
        let wanted = (delta - self.sign * error) / (1.0 + self.sign * self.relative);
        let (high, low) = (self.values[above], self.values[above + 1]);
        let share = ((high - wanted) / (high - low)).clamp(0.0, 1.0);
        Reading::At(self.loss(above) + (share * self.spacing.exp_m1()).ln_1p())
    }

    /// The last grid loss at which the bound lies above `delta`.
    ///
    /// An upper bound falls. A lower bound may first rise, where its error falls faster than delta; the true delta falls,
    /// so what the bound says at its last such point holds at all points before.
    fn last_above(&self, delta: f64) -> Option<usize> {
        if self.sign < 0.0 {
            return (0..self.values.len()).rfind(|&index| self.bound_at(index) > delta);
        }
        let (mut above, mut below) = (0, self.values.len());
        while below > above {
            let middle = usize::midpoint(above, below);
            if self.bound_at(middle) > delta { above = middle + 1 } else { below = middle }
        }
        above.checked_sub(1)
    }
}
