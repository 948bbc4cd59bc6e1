//! AdaClip (Pichapati et al., arXiv 1908.07643): every coordinate has its own scale.

use super::{Correction, DECAY, Geometry, Shape, VARIANCE_RANGE, WARM_UP};

/// ω_j = (g_j − a_j) / b_j with b_j ∝ √σ_j, σ_j the deviation of coordinate j: of all diagonal M the one that needs the
/// least noise.
///
/// a is an average of released gradients with decay 0.99, and σ_j² one of (g̃_j − a_j)² less the noise's known variance
/// b_j² s². The paper bounds each value from below before it averages; here the average is bounded, which does not count
/// noise as variance.
pub(super) struct AdaClip {
    shape: Shape,
    count: u64,
    /// a before its correction.
    mean: Vec<f32>,
    /// σ² before its correction.
    variance: Vec<f32>,
    /// a in use.
    shift: Vec<f32>,
    /// b in use.
    scale: Vec<f32>,
    gains: Vec<f64>,
}

impl AdaClip {
    pub(super) fn new(shape: Shape) -> Self {
        let (numbers, pairs) = (shape.total(), shape.sizes.len());
        Self {
            shape,
            count: 0,
            mean: vec![0.0; numbers],
            variance: vec![0.0; numbers],
            shift: vec![0.0; numbers],
            scale: vec![1.0; numbers],
            gains: vec![1.0; pairs],
        }
    }

    /// Puts what was learned to use.
    fn adopt(&mut self) {
        if self.count < WARM_UP {
            return;
        }
        let correction = Correction::after(self.count).0;
        let positive: f64 = self.variance.iter().map(|v| f64::from(v.max(0.0)) / correction).sum();
        let mean = positive / self.variance.len() as f64;
        if mean <= 0.0 {
            return;
        }
        let (low, high) = (mean / VARIANCE_RANGE, mean * VARIANCE_RANGE);
        let deviation = |v: &f32| (f64::from(*v) / correction).clamp(low, high).sqrt();
        let deviations: Vec<Vec<f64>> =
            self.shape.parts(&self.variance).into_iter().map(|part| part.iter().map(deviation).collect()).collect();
        let sums: Vec<f64> = deviations.iter().map(|part| part.iter().sum()).collect();
        let normalisers = self.shape.normalisers(&sums);
        let scales = deviations.iter().zip(&normalisers);
        self.scale = scales.flat_map(|(part, n)| part.iter().map(move |s| (s * n).sqrt() as f32)).collect();
        self.gains = self.shape.gains(&sums, &normalisers);
        self.shift = self.mean.iter().map(|m| (f64::from(*m) / correction) as f32).collect();
    }
}

impl Geometry for AdaClip {
    fn forth(&self, gradient: &mut [f32]) {
        for ((g, a), b) in gradient.iter_mut().zip(&self.shift).zip(&self.scale) {
            *g = (*g - a) / b;
        }
    }

    fn back(&self, release: &mut [f32]) {
        for ((g, a), b) in release.iter_mut().zip(&self.shift).zip(&self.scale) {
            *g = *g * b + a;
        }
    }

    fn noise_gain(&self) -> Vec<f64> {
        self.gains.clone()
    }

    fn learn(&mut self, release: &[f32], noise_std: &[f64]) {
        let before = Correction::after(self.count);
        let noise = self.shape.sizes.iter().zip(noise_std).flat_map(|(size, std)| std::iter::repeat_n(*std, *size));
        for (j, (g, std)) in release.iter().zip(noise).enumerate() {
            let (g, mean) = (f64::from(*g), f64::from(self.mean[j]));
            let off = g - before.of(mean);
            let excess = off * off - (f64::from(self.scale[j]) * std).powi(2);
            self.variance[j] = (DECAY * f64::from(self.variance[j]) + (1.0 - DECAY) * excess) as f32;
            self.mean[j] = (DECAY * mean + (1.0 - DECAY) * g) as f32;
        }
        self.count += 1;
        self.adopt();
    }

    fn state(&self) -> Vec<f32> {
        let mut state = vec![self.count as f32];
        state.extend(&self.mean);
        state.extend(&self.variance);
        state
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        let numbers = self.mean.len();
        if state.len() != 1 + 2 * numbers {
            return false;
        }
        self.count = state[0] as u64;
        self.mean.copy_from_slice(&state[1..=numbers]);
        self.variance.copy_from_slice(&state[1 + numbers..]);
        self.adopt();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{releases, shape},
        *,
    };

    /// Equation 9 of the paper up to its common scale: b_j² is proportional to σ_j, over all coordinates of a group.
    #[test]
    fn scales_are_the_roots_of_deviations() {
        let mut geometry = AdaClip::new(shape(true));
        releases(400).iter().for_each(|release| geometry.learn(release, &[0.0, 0.0]));
        // Uniform in ±1 has deviation 1/√3; the first three coordinates have 1, 0.5002, 0.1 of it, the others 0.3.
        let deviations = [1.0, 0.5_f64.hypot(0.02), 0.1, 0.3, 0.3];
        let sum: f64 = deviations.iter().sum();
        for (scale, deviation) in geometry.scale.iter().zip(deviations) {
            let want = (5.0 * deviation / sum).sqrt();
            // An average of about 200 values: 4 deviations of its error are a tenth of b.
            assert!((f64::from(*scale) / want - 1.0).abs() < 0.1, "{:?}: {scale} against {want}", geometry.scale);
        }
        assert!((geometry.shift[0] - 1.0).abs() < 0.3 && (geometry.shift[3] + 2.0).abs() < 0.1, "{:?}", geometry.shift);
    }

    /// The known noise is taken off: with it and without, the same scales within the estimate's error.
    #[test]
    fn noise_is_not_taken_for_variance() {
        use rand::{Rng as _, SeedableRng as _};
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(3);
        let mut geometry = AdaClip::new(shape(true));
        for _ in 0..600 {
            // What the mechanism does: noise of deviation s in ω, b·s in the gradient; coordinate 0 alone has a signal.
            let deviation = 0.5 * 3_f32.sqrt();
            let mut noise: Vec<f32> = (0..5).map(|_| rng.random_range(-deviation..deviation)).collect();
            geometry.back(&mut noise);
            noise[0] += 2.0 * rng.random_range(-1.0_f32..1.0);
            geometry.learn(&noise, &[0.5, 0.5]);
        }
        let scale = &geometry.scale;
        assert!(scale[1..].iter().all(|other| scale[0] > 1.5 * other), "{scale:?}");
    }
}
