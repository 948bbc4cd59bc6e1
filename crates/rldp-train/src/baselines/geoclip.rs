//! GeoClip (Gilani et al., arXiv 2506.06549) with its streaming low-rank estimate: noise follows the eigenbasis of released
//! gradients.

use super::{Correction, DECAY, Geometry, Shape, VARIANCE_RANGE, WARM_UP};
use crate::eigen::symmetric;

/// k: eigenvectors kept of each pair.
const RANK: usize = 8;

/// M ∝ Λ^(−1/4) Uᵀ, with U Λ Uᵀ an average, of decay 0.99, of (g̃ − a)(g̃ − a)ᵀ over released gradients, noise included, as
/// in the paper; a is their average.
///
/// Of each pair the k = 8 leading eigenvectors are kept by the paper's streaming update: the leading ones of the old basis
/// scaled by √β λ and the new gradient scaled by √(1−β). The paper drops what lies outside of the basis. Here the rest
/// keeps its mean eigenvalue, so that M is invertible and no direction is lost. M is taken symmetric, U Λ^(−1/4) Uᵀ, which
/// spherical noise and norms do not tell from Λ^(−1/4) Uᵀ.
pub(super) struct GeoClip {
    shape: Shape,
    count: u64,
    /// a before its correction.
    mean: Vec<f32>,
    blocks: Vec<Block>,
    /// a in use.
    shift: Vec<f32>,
    gains: Vec<f64>,
}

/// One pair's geometry.
struct Block {
    /// Orthonormal rows (at most k, each of d numbers).
    basis: Vec<Vec<f32>>,
    /// Eigenvalues of the rows, largest first, before their correction.
    values: Vec<f64>,
    /// Average of ‖g̃ − a‖², before its correction.
    energy: f64,
    /// Stretch of M along each row, and along everything else.
    along: Vec<f64>,
    across: f64,
}

impl Block {
    fn new() -> Self {
        Self { basis: Vec::new(), values: Vec::new(), energy: 0.0, along: Vec::new(), across: 1.0 }
    }

    /// The streaming update by `z` = g̃ − a.
    fn learn(&mut self, z: &[f64]) {
        let new: f64 = z.iter().map(|z| z * z).sum();
        self.energy = DECAY * self.energy + (1.0 - DECAY) * new;
        let kept = self.basis.len();
        let scales: Vec<f64> = self.values.iter().map(|value| (DECAY * value).sqrt()).collect();
        // Gram matrix of the scaled rows and the new one.
        let n = kept + 1;
        let mut gram = vec![0.0; n * n];
        for i in 0..kept {
            gram[i * n + i] = scales[i] * scales[i];
            let inner: f64 = self.basis[i].iter().zip(z).map(|(u, z)| f64::from(*u) * z).sum();
            let product = scales[i] * (1.0 - DECAY).sqrt() * inner;
            (gram[i * n + kept], gram[kept * n + i]) = (product, product);
        }
        gram[n * n - 1] = (1.0 - DECAY) * new;
        let (values, vectors) = symmetric(&gram, n);
        let floor = values[0] * 1e-9;
        let leading = values.iter().zip(&vectors).take(RANK.min(z.len())).filter(|(value, _)| **value > floor);
        let (values, basis) = leading
            .map(|(value, vector)| {
                let mut row: Vec<f64> = z.iter().map(|z| vector[kept] * (1.0 - DECAY).sqrt() * z).collect();
                for (old, weight) in self.basis.iter().zip(vector.iter().zip(&scales).map(|(v, scale)| v * scale)) {
                    row.iter_mut().zip(old).for_each(|(row, old)| *row += weight * f64::from(*old));
                }
                (*value, row.iter().map(|row| (row / value.sqrt()) as f32).collect())
            })
            .unzip();
        (self.values, self.basis) = (values, basis);
    }

    /// √λ of each row and of everything else, bounded about the mean eigenvalue; `None` while there is nothing.
    fn roots(&self, size: usize) -> Option<(Vec<f64>, f64)> {
        let mean = self.energy / size as f64;
        if mean <= 0.0 {
            return None;
        }
        let root = |value: f64| value.clamp(mean / VARIANCE_RANGE, mean * VARIANCE_RANGE).sqrt();
        let others = (size - self.basis.len()).max(1) as f64;
        let rest = (self.energy - self.values.iter().sum::<f64>()) / others;
        Some((self.values.iter().map(|value| root(*value)).collect(), root(rest)))
    }

    /// vector ← across·vector + Σ (along_i − across) u_i u_iᵀ vector.
    fn stretch(&self, vector: &mut [f32], power: impl Fn(f64) -> f64) {
        let across = power(self.across);
        let inner: Vec<f64> = self
            .basis
            .iter()
            .map(|row| row.iter().zip(vector.iter()).map(|(u, v)| f64::from(*u) * f64::from(*v)).sum())
            .collect();
        vector.iter_mut().for_each(|v| *v *= across as f32);
        for ((row, along), inner) in self.basis.iter().zip(&self.along).zip(inner) {
            let weight = ((power(*along) - across) * inner) as f32;
            vector.iter_mut().zip(row).for_each(|(v, u)| *v += weight * u);
        }
    }
}

impl GeoClip {
    pub(super) fn new(shape: Shape) -> Self {
        let (numbers, pairs) = (shape.total(), shape.sizes.len());
        Self {
            count: 0,
            mean: vec![0.0; numbers],
            blocks: (0..pairs).map(|_| Block::new()).collect(),
            shift: vec![0.0; numbers],
            gains: vec![1.0; pairs],
            shape,
        }
    }

    /// Puts what was learned to use.
    fn adopt(&mut self) {
        let sizes = self.shape.sizes.clone();
        let roots: Option<Vec<_>> = self.blocks.iter().zip(&sizes).map(|(block, size)| block.roots(*size)).collect();
        let Some(roots) = roots.filter(|_| self.count >= WARM_UP) else {
            // Not yet: the basis is there, but nothing is stretched along it.
            self.blocks.iter_mut().for_each(|block| block.along = vec![1.0; block.basis.len()]);
            return;
        };
        let sum = |((along, across), size): (&(Vec<f64>, f64), &usize)| {
            along.iter().sum::<f64>() + across * (size - along.len()) as f64
        };
        let sums: Vec<f64> = roots.iter().zip(&sizes).map(sum).collect();
        let normalisers = self.shape.normalisers(&sums);
        for ((block, (along, across)), normaliser) in self.blocks.iter_mut().zip(roots).zip(&normalisers) {
            block.along = along.iter().map(|root| 1.0 / (root * normaliser).sqrt()).collect();
            block.across = 1.0 / (across * normaliser).sqrt();
        }
        self.gains = self.shape.gains(&sums, &normalisers);
        let correction = Correction::after(self.count);
        self.shift = self.mean.iter().map(|m| correction.of(f64::from(*m)) as f32).collect();
    }
}

impl Geometry for GeoClip {
    fn forth(&self, gradient: &mut [f32]) {
        gradient.iter_mut().zip(&self.shift).for_each(|(g, a)| *g -= a);
        for (part, block) in self.shape.parts_mut(gradient).into_iter().zip(&self.blocks) {
            block.stretch(part, |stretch| stretch);
        }
    }

    fn back(&self, release: &mut [f32]) {
        for (part, block) in self.shape.parts_mut(release).into_iter().zip(&self.blocks) {
            block.stretch(part, |stretch| 1.0 / stretch);
        }
        release.iter_mut().zip(&self.shift).for_each(|(g, a)| *g += a);
    }

    fn noise_gain(&self) -> Vec<f64> {
        self.gains.clone()
    }

    fn learn(&mut self, release: &[f32], _noise_std: &[f64]) {
        let correction = Correction::after(self.count);
        let means = self.shape.parts(&self.mean);
        for ((g, mean), block) in self.shape.parts(release).into_iter().zip(means).zip(&mut self.blocks) {
            let off = g.iter().zip(mean).map(|(g, m)| f64::from(*g) - correction.of(f64::from(*m)));
            block.learn(&off.collect::<Vec<_>>());
        }
        for (mean, g) in self.mean.iter_mut().zip(release) {
            *mean = (DECAY * f64::from(*mean) + (1.0 - DECAY) * f64::from(*g)) as f32;
        }
        self.count += 1;
        self.adopt();
    }

    fn state(&self) -> Vec<f32> {
        let mut state = vec![self.count as f32];
        state.extend(&self.mean);
        for block in &self.blocks {
            state.extend([block.energy as f32, block.basis.len() as f32]);
            state.extend(block.values.iter().map(|value| *value as f32));
            block.basis.iter().for_each(|row| state.extend(row));
        }
        state
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        let Some((count, mut rest)) = state.split_first() else { return false };
        let Some(mean) = rest.split_off(..self.mean.len()) else { return false };
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for size in &self.shape.sizes {
            let Some([energy, rows]) = rest.split_off(..2) else { return false };
            let rows = *rows as usize;
            let Some(values) = rest.split_off(..rows) else { return false };
            let Some(basis) = rest.split_off(..rows * size) else { return false };
            blocks.push(Block {
                basis: basis.chunks_exact(*size).map(<[f32]>::to_vec).collect(),
                values: values.iter().map(|value| f64::from(*value)).collect(),
                energy: f64::from(*energy),
                ..Block::new()
            });
        }
        self.count = *count as u64;
        self.mean.copy_from_slice(mean);
        self.blocks = blocks;
        self.adopt();
        rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{releases, shape},
        *,
    };

    /// M² ∝ Σ^(−1/2), the paper's closed form, for a pair of no more dimensions than k: M² Σ M² is a multiple of the unit.
    #[test]
    fn the_transform_is_the_papers_optimum() {
        let mut geometry = GeoClip::new(shape(false));
        let mut covariance = [[0.0_f64; 3]; 3];
        for release in releases(300) {
            let correction = Correction::after(geometry.count);
            let off: Vec<f64> =
                (0..3).map(|j| f64::from(release[j]) - correction.of(f64::from(geometry.mean[j]))).collect();
            for i in 0..3 {
                for j in 0..3 {
                    covariance[i][j] = DECAY * covariance[i][j] + (1.0 - DECAY) * off[i] * off[j];
                }
            }
            geometry.learn(&release, &[0.0, 0.0]);
        }
        geometry.shift.fill(0.0);
        let twice = |vector: [f64; 3]| {
            let mut long = [vector[0] as f32, vector[1] as f32, vector[2] as f32, 0.0, 0.0];
            geometry.forth(&mut long);
            geometry.forth(&mut long);
            [0, 1, 2].map(|j| f64::from(long[j]))
        };
        let times = |vector: [f64; 3]| [0, 1, 2].map(|i| (0..3).map(|j| covariance[i][j] * vector[j]).sum());
        // In the plane of the two correlated coordinates the lesser eigenvalue is held by its bound, so the check is along
        // the greatest and the third.
        let images = [[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]].map(|vector| (vector, twice(times(twice(vector)))));
        let size = |(vector, image): &([f64; 3], [f64; 3])| {
            let dot: f64 = vector.iter().zip(image).map(|(v, i)| v * i).sum();
            dot / vector.iter().map(|v| v * v).sum::<f64>()
        };
        let (one, other) = (size(&images[0]), size(&images[1]));
        assert!((one / other - 1.0).abs() < 0.02, "{one} against {other}");
        for (vector, image) in &images {
            for j in 0..3 {
                assert!((image[j] - one * vector[j]).abs() < 0.05 * one, "{vector:?} became {image:?} at {one}");
            }
        }
    }

    /// The leading eigenvector of many dimensions is found among noise.
    #[test]
    fn the_stream_finds_a_strong_direction_beyond_its_rank() {
        use rand::{Rng as _, SeedableRng as _};
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(5);
        let size = 60;
        let mut geometry = GeoClip::new(Shape { sizes: vec![size], joint: true });
        for _ in 0..300 {
            let strength: f32 = rng.random_range(-20.0..20.0);
            let noise = (0..size).map(|_| rng.random_range(-1.0_f32..1.0));
            let release: Vec<f32> =
                noise.enumerate().map(|(j, n)| n + if j < 4 { 0.5 * strength } else { 0.0 }).collect();
            geometry.learn(&release, &[0.0]);
        }
        let block = &geometry.blocks[0];
        assert_eq!(block.basis.len(), RANK);
        let inside: f32 = block.basis[0][..4].iter().map(|u| 0.5 * u).sum();
        assert!(inside.abs() > 0.99, "{inside}");
        assert!(block.along[0] < 0.5 * block.across, "{:?} across {}", block.along, block.across);
    }
}
