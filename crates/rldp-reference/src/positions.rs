//! What attention knows of positions: the mask, and the rotation of queries and keys.

use candle_core::{D, Device, Result, Tensor};
use rldp_model::{ModelConfig, Rope};

/// What to add to the scores (T, T): 0 where query t may look at key s, −∞ elsewhere.
///
/// A token sees itself and what came before, over at most `window` tokens, itself included.
pub(crate) fn mask(length: usize, window: Option<usize>, device: &Device) -> Result<Tensor> {
    let window = window.unwrap_or(length);
    let allowed = |query: usize, key: usize| key <= query && query - key < window;
    let values: Vec<f32> = (0..length * length)
        .map(|cell| if allowed(cell / length, cell % length) { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    Tensor::from_vec(values, (length, length), device)
}

/// Rotary position embedding (Su et al., arXiv 2104.09864) of a sequence, in the half-split convention: feature j turns
/// with feature j + D/2.
pub(crate) struct Rotation {
    /// (T, D), both halves alike.
    cos: Tensor,
    /// (T, D), both halves alike.
    sin: Tensor,
}

impl Rotation {
    /// The rotation of positions 0..T.
    pub(crate) fn new(rope: &Rope, config: &ModelConfig, length: usize, device: &Device) -> Result<Self> {
        let rldp_model::Rotation { frequencies, magnitude } = rope.rotation(config.head_dim, length);
        let angles: Vec<f32> = (0..length)
            .flat_map(|position| {
                let turn = move |frequency: &f32| position as f32 * frequency;
                frequencies.iter().map(turn).chain(frequencies.iter().map(turn)).collect::<Vec<_>>()
            })
            .collect();
        let angles = Tensor::from_vec(angles, (length, config.head_dim), device)?;
        let magnitude = f64::from(magnitude);
        Ok(Self { cos: (angles.cos()? * magnitude)?, sin: (angles.sin()? * magnitude)? })
    }

    /// Rotates heads (H, T, D).
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let half = x.dim(D::Minus1)? / 2;
        let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
        let turned = Tensor::cat(&[&second.neg()?, &first], D::Minus1)?;
        x.broadcast_mul(&self.cos)? + turned.broadcast_mul(&self.sin)?
    }
}
