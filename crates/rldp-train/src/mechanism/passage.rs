//! Between a unit's gradient as the engine gives it and the vector that the mechanism bounds, sums and releases.
//!
//! On the way in only trained parameters pass, in the coordinates of a public geometry; on the way back the release is
//! brought into the gradient's own coordinates and laid out as the adapter is. Both are fixed before the step begins and
//! map each unit on its own, so they change nothing about the guarantee.

use rldp_model::AdapterLayout;
use rldp_privacy::NoisyRelease;

use super::geometry::Geometry;

/// The way between flat gradients (P) and the trained numbers in the mechanism's coordinates.
pub(crate) struct Passage<'a> {
    layout: &'a AdapterLayout,
    geometry: Option<&'a dyn Geometry>,
    /// The last unit, unless it passes as it is.
    buffer: Vec<f32>,
}

impl<'a> Passage<'a> {
    pub(crate) fn new(layout: &'a AdapterLayout, geometry: Option<&'a dyn Geometry>) -> Self {
        Self { layout, geometry, buffer: Vec::new() }
    }

    /// Whether gradients enter the mechanism as they are.
    pub(crate) fn is_open(&self) -> bool {
        self.trains_all() && self.geometry.is_none()
    }

    /// What of a unit's gradient (P) enters the mechanism.
    pub(crate) fn forth<'b>(&'b mut self, gradient: &'b [f32]) -> &'b [f32] {
        if self.is_open() {
            return gradient;
        }
        self.buffer.clear();
        for pair in self.layout.pairs() {
            self.buffer.extend_from_slice(&gradient[pair.range()]);
        }
        if let Some(geometry) = self.geometry {
            geometry.forth(&mut self.buffer);
        }
        &self.buffer
    }

    /// The release with its gradient in its own coordinates and laid out as the adapter (P), where what is not trained is
    /// zero; its noise deviations are root mean squares over each pair.
    pub(crate) fn back(&self, mut release: NoisyRelease) -> NoisyRelease {
        if let Some(geometry) = self.geometry {
            release.mean_gradient = release.mean_gradient.map(|mut trained| {
                geometry.back(&mut trained);
                trained
            });
            // Coordinates move with what was learned from earlier releases, and so does what would be summed over steps.
            release.whitened = release.whitened.map(|_| Vec::new());
            release.noise_std.iter_mut().zip(geometry.noise_gain()).for_each(|(std, gain)| *std *= gain);
        }
        if !self.trains_all() {
            release.mean_gradient = release.mean_gradient.map(|trained| self.spread(&trained));
        }
        release
    }

    fn trains_all(&self) -> bool {
        self.layout.trained_count() == self.layout.parameter_count()
    }

    fn spread(&self, trained: &[f32]) -> Vec<f32> {
        let mut all = vec![0.0; self.layout.parameter_count()];
        let mut rest = trained;
        for pair in self.layout.pairs() {
            let (own, after) = rest.split_at(pair.parameter_count());
            all[pair.range()].copy_from_slice(own);
            rest = after;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::smallest_layout;

    #[test]
    fn only_what_is_trained_passes_and_comes_back_to_its_place() {
        let (both, b_alone) = (smallest_layout(), smallest_layout().with_frozen_a());
        assert_eq!(Passage::new(&both, None).forth(&[1.0, 2.0]), [1.0, 2.0]);
        let mut passage = Passage::new(&b_alone, None);
        assert_eq!(passage.forth(&[1.0, 2.0]), [2.0]);
        assert_eq!(passage.spread(&[3.0]), [0.0, 3.0]);
    }
}
