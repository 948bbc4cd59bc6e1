//! Coordinates in which a unit is bounded, when they are not the gradient's own.
//!
//! **Guarantee.** They are functions of earlier releases and of settings, so they are public when a step begins; each unit is mapped on
//! its own before it is bounded, and the way back is post-processing: sensitivity and price are those of the mechanism without them.

use crate::error::TrainError;

/// A public affine change of coordinates of the trained numbers (flat, pair after pair).
pub(crate) trait Geometry: Send + Sync {
    /// ω = M (g − a), in place.
    fn forth(&self, gradient: &mut [f32]);

    /// M⁻¹ ω + a, in place.
    fn back(&self, release: &mut [f32]);

    /// Deviation of the noise in a pair's gradient over that in its ω, root mean square over coordinates (K).
    fn noise_gain(&self) -> Vec<f64>;

    /// Takes in a released mean gradient. `noise_std` (K) is the deviation of the noise in its ω.
    fn learn(&mut self, release: &[f32], noise_std: &[f64]);

    /// Everything learned.
    fn state(&self) -> Vec<f32>;

    /// Takes back what was saved; `false` when it is of another shape.
    fn restore(&mut self, state: &[f32]) -> bool;
}

/// Restores `geometry` from a checkpoint.
pub(crate) fn restore(geometry: Option<&mut (dyn Geometry + 'static)>, state: &[f32]) -> Result<(), TrainError> {
    let fits = geometry.map_or(state.is_empty(), |geometry| geometry.restore(state));
    if fits {
        return Ok(());
    }
    Err(TrainError::Refused(format!(
        "the checkpoint holds {} numbers of a geometry that do not fit; resume with the run's own --geometry and adapter",
        state.len()
    )))
}
