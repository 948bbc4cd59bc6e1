//! One unit on its way into a sum: its norms, and what it is multiplied by.

use std::ops::Range;

use super::frame::Frame;

/// Values of a sum of squares that make one block, and blocks that are summed side by side.
const BLOCK: usize = 4096;
const BLOCKS: usize = 4;

/// A unit's gradient (P) and loss, bounded pair after pair. It is a function of records, and is not printed.
pub(super) struct Unit<'a> {
    pub(super) gradient: &'a [f32],
    pub(super) loss: f64,
    /// Squared norms of the pairs that were looked at.
    squares: Vec<f64>,
    /// What multiplies each pair, up to the first that is not finite.
    factors: Vec<f64>,
    finite: bool,
}

impl<'a> Unit<'a> {
    /// # Panics
    /// When the gradient does not have P values.
    pub(super) fn new(frame: &Frame, gradient: &'a [f32], loss: f64) -> Self {
        assert_eq!(gradient.len(), frame.parameters(), "a unit's gradient does not fit the layout");
        let room = || Vec::with_capacity(frame.pairs());
        Self { gradient, loss, squares: room(), factors: room(), finite: loss.is_finite() }
    }

    /// Looks at pair `k`, after those before it, where each pair is bounded by itself.
    pub(super) fn bound_pair(&mut self, frame: &Frame, k: usize) {
        self.measure(frame, k);
        if self.finite {
            self.factors.push(frame.pair_factor(k, self.squares[k]));
        }
    }

    /// Looks at all pairs, which are bounded together.
    pub(super) fn bound(&mut self, frame: &Frame) {
        (0..frame.pairs()).for_each(|k| self.measure(frame, k));
        if self.finite {
            self.factors = frame.joint_factors(&self.squares);
        }
    }

    fn measure(&mut self, frame: &Frame, k: usize) {
        let square = squared_norm(&self.gradient[frame.range(k)]);
        self.finite &= square.is_finite();
        self.squares.push(square);
    }

    /// Whether nothing that was looked at is infinite or no number. A unit that is not counts as zero.
    pub(super) fn is_finite(&self) -> bool {
        self.finite
    }

    /// The pairs that have a factor.
    pub(super) fn bounded(&self) -> Range<usize> {
        0..self.factors.len()
    }

    pub(super) fn factor(&self, k: usize) -> Option<f64> {
        self.factors.get(k).copied()
    }

    /// The factors of all K pairs: zeros for a unit that counts as zero.
    pub(super) fn factors(&self, pairs: usize) -> Vec<f64> {
        if self.finite { self.factors.clone() } else { vec![0.0; pairs] }
    }

    /// Of the whole gradient.
    pub(super) fn norm(&self) -> f64 {
        self.squares.iter().sum::<f64>().sqrt()
    }
}

/// Σ x² in eight lanes a block of 4096, blocks added up: vectorises, and is off by less than a relative 1e-10 for as
/// many as 2^31 values. The same bits on every processor.
pub(super) fn squared_norm(values: &[f32]) -> f64 {
    let sum = |blocks: &[f32]| pulp::Arch::new().dispatch(SquaredNorms(blocks));
    values.chunks(BLOCK * BLOCKS).flat_map(sum).sum()
}

/// Squared norms of up to [`BLOCKS`] blocks; zeros for those that are not there. Full ones go side by side, since each lane waits for
/// its last sum.
struct SquaredNorms<'a>(&'a [f32]);

impl pulp::WithSimd for SquaredNorms<'_> {
    type Output = [f64; BLOCKS];

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> [f64; BLOCKS] {
        let (blocks, _) = self.0.as_chunks::<BLOCK>();
        if let Ok(blocks) = <&[[f32; BLOCK]; BLOCKS]>::try_from(blocks) {
            let mut lanes = [[0.0_f64; 8]; BLOCKS];
            for at in (0..BLOCK).step_by(8) {
                for (lanes, block) in lanes.iter_mut().zip(blocks) {
                    square(lanes, &block[at..at + 8]);
                }
            }
            return lanes.map(|lanes| lanes.iter().sum());
        }
        let mut norms = [0.0; BLOCKS];
        for (norm, block) in norms.iter_mut().zip(self.0.chunks(BLOCK)) {
            let mut lanes = [0.0_f64; 8];
            let (chunks, rest) = block.as_chunks::<8>();
            chunks.iter().for_each(|chunk| square(&mut lanes, chunk));
            *norm = lanes.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        }
        norms
    }
}

#[inline(always)]
fn square(lanes: &mut [f64; 8], values: &[f32]) {
    for (lane, &x) in lanes.iter_mut().zip(values) {
        *lane += f64::from(x) * f64::from(x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks side by side and one by one, of every length about their borders, give the bits of the definition.
    #[test]
    fn norms_are_those_of_blocks_in_eight_lanes() {
        let values: Vec<f32> = (0..4 * BLOCK * BLOCKS).map(|i| (i as f32).sin() * 1e3).collect();
        let by_definition = |values: &[f32]| {
            let block = |block: &[f32]| {
                let mut lanes = [0.0_f64; 8];
                let full = block.len() / 8 * 8;
                for (i, &x) in block[..full].iter().enumerate() {
                    lanes[i % 8] += f64::from(x) * f64::from(x);
                }
                lanes.iter().sum::<f64>() + block[full..].iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
            };
            values.chunks(BLOCK).map(block).sum::<f64>()
        };
        for length in [
            0,
            1,
            7,
            8,
            BLOCK - 1,
            BLOCK,
            BLOCK + 9,
            BLOCK * BLOCKS - 1,
            BLOCK * BLOCKS,
            BLOCK * BLOCKS + 1,
            values.len(),
        ] {
            let values = &values[..length];
            assert_eq!(squared_norm(values).to_bits(), by_definition(values).to_bits(), "{length} values");
        }
    }
}
