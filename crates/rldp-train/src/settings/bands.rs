//! How many steps noise may be correlated over, as far as the settings alone decide.

use super::{GeometryKind, OptimizerKind, RegimeKind, TrainSettings};
use crate::error::TrainError;

/// Numbers of bands that are compared with one where none is asked for.
pub(crate) const CHOICES_OF_BANDS: [u64; 3] = [2, 4, 8];
/// Shorter runs have one band: they are bounded by their steps and not by noise (`docs/results/bands.md`).
const FEWEST_STEPS: u64 = 24;

/// Most bands that are chosen for a run of `steps` steps, whatever its data and budget: there are half as many rounds again as bands, since
/// what is not taken back until the end stays.
pub(crate) fn most_chosen_bands(steps: u64) -> u64 {
    let fits = |bands: &u64| 3 * bands * bands <= 2 * steps;
    if steps < FEWEST_STEPS { 1 } else { CHOICES_OF_BANDS.into_iter().filter(fits).max().unwrap_or(1) }
}

impl TrainSettings {
    /// Whether noise may have the bands that were asked for.
    pub(super) fn validate_bands(&self) -> Result<(), TrainError> {
        let Some(bands) = self.privacy.noise_bands else { return Ok(()) };
        match self.reason_for_one_band() {
            Some(reason) if bands > 1 => {
                Err(TrainError::Usage(format!("--noise-bands is {bands}, but {reason}; use 1, or leave it out")))
            }
            _ => Ok(()),
        }
    }

    /// Why every step must have noise of its own; `None` where noise may be correlated.
    pub(crate) fn reason_for_one_band(&self) -> Option<&'static str> {
        let Self { privacy, optimizer, .. } = self;
        let reasons = [
            (privacy.unsafe_non_private, "a run without noise correlates none"),
            (privacy.regime != RegimeKind::Committed, "only --regime committed fixes all noise in advance"),
            (privacy.other_steps > 0, "steps of other runs (--other-steps) are no part of this run's rounds"),
            (
                privacy.geometry != GeometryKind::None,
                "--geometry changes its coordinates every step, and takes nothing back",
            ),
            (
                optimizer.optimizer == OptimizerKind::AdamBc,
                "--optimizer adam-bc takes all of a step's noise for lasting",
            ),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }

    /// [`past_bytes`] of the run, at most.
    pub fn past_bytes(&self) -> usize {
        let chosen = if self.reason_for_one_band().is_some() { 1 } else { most_chosen_bands(self.privacy.steps) };
        past_bytes(self.privacy.noise_bands.unwrap_or(chosen))
    }
}

/// Bytes a parameter of the adapter that are kept of earlier steps where noise has `bands` bands: the sum of all releases and the last of them,
/// whitened; and where there are several bands, of each step that they reach an exact sum and what was read off it.
pub fn past_bytes(bands: u64) -> usize {
    const OF_ALL: u64 = 8;
    const OF_A_STEP: u64 = 12;
    (OF_ALL + if bands == 1 { 0 } else { OF_A_STEP * bands }) as usize
}
