//! The grid that contributions and noise lie on, and the way onto it.

use serde::{Deserialize, Serialize};

use crate::{
    allocation::Allocation,
    bands::Bands,
    error::PrivacyError,
    noise::{LARGEST_DRAW, SPACINGS_PER_DEVIATION},
};

/// Clip norms and noise deviations outside lose precision in `f64`, or leave it, when they are squared.
const RANGE: std::ops::RangeInclusive<f64> = 1e-150..=1e150;

/// Sums with noise stay below this, half of what `i64` holds.
const LARGEST_SUM: f64 = (1_u64 << 62) as f64;

/// 1.5 · 2^52, in whose neighbourhood doubles are the whole numbers.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// Contributions below take the fast way: half of what [`truncate_small`] bears, so that a factor's last bits do not matter.
const SMALL: f64 = (1_u64 << 50) as f64;

/// Spacings of contributions: noise deviations over 2^32, times the scale of the weights where noise has bands. They depend on the
/// allocation and z only, hence are public.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grid {
    /// γ_k of each pair (K).
    pub(super) spacings: Vec<f64>,
    /// Whether every contribution to the pair is below [`SMALL`] spacings (K).
    pub(super) small: Vec<bool>,
    /// γ_0 of the statistic, when there is one.
    pub(super) statistic_spacing: Option<f64>,
}

impl Grid {
    /// The grid of `allocation` at noise multiplier z under noise of `bands`, for sums of up to `most_units` contributions (public).
    ///
    /// # Errors
    /// When a number is so extreme that rounding could not be bounded, or a sum could leave 64 bits.
    pub(super) fn new(allocation: &Allocation, z: f64, bands: &Bands, most_units: usize) -> Result<Self, PrivacyError> {
        let (mut spacings, mut small) =
            (Vec::with_capacity(allocation.pairs()), Vec::with_capacity(allocation.pairs()));
        for pair in 0..allocation.pairs() {
            let (clip, deviation) = (allocation.clip_norm(pair), allocation.noise_std(z, pair));
            if !(RANGE.contains(&clip) && RANGE.contains(&deviation)) {
                return Err(PrivacyError::Shape(format!(
                    "pair {pair} is clipped at {clip:e} with noise of deviation {deviation:e}, but both must lie \
                     between 1e-150 and 1e150; change its clip norm or share"
                )));
            }
            let spacing = deviation / SPACINGS_PER_DEVIATION * bands.scale();
            check_room(&format!("pair {pair}"), clip / spacing * bands.scale() * bands.growth(), most_units)?;
            spacings.push(spacing);
            small.push(clip / spacing < SMALL);
        }
        let statistic_spacing =
            (allocation.statistics_share() > 0.0).then(|| allocation.statistics_noise_std(z) / SPACINGS_PER_DEVIATION);
        if let Some(spacing) = statistic_spacing {
            check_room("the statistic", 1.0 / spacing, most_units)?;
        }
        Ok(Self { spacings, small, statistic_spacing })
    }
}

/// Checks that `most_units` contributions of `largest` spacings, and noise, fit into 64 bits.
fn check_room(what: &str, largest: f64, most_units: usize) -> Result<(), PrivacyError> {
    // What a single unit adds must fit, too: it may have to be taken back.
    let sum = largest * most_units.max(1) as f64 + LARGEST_DRAW;
    if sum <= LARGEST_SUM {
        return Ok(());
    }
    Err(PrivacyError::Shape(format!(
        "the sum of {what} over up to {most_units} units of {largest:e} grid spacings each could reach {sum:e}, but must \
         stay below 2^62 = {LARGEST_SUM:e}; use at most {:.0} units, more noise or a smaller share",
        (LARGEST_SUM - LARGEST_DRAW) / largest
    )))
}

/// Adds `values` times `factor` to `sum`, each truncated toward zero to the grid of `spacing`; `small` says that no product reaches
/// 2^51 spacings, which is faster.
///
/// **Sensitivity.** Truncation never makes a magnitude larger; the two roundings before it (of `factor / spacing` and of
/// its product) are relative 2^-53 each, for which the factor leaves room. What was subnormal is below a spacing.
pub(super) fn add_truncated(sum: &mut [i64], values: &[f32], factor: f64, spacing: f64, small: bool) {
    let scale = factor / spacing;
    if small {
        return pulp::Arch::new().dispatch(AddSmall { sum, values, scale });
    }
    for (sum, &value) in sum.iter_mut().zip(values) {
        // Modulo 2^64: exact and in any order; `check_room` keeps it from ever mattering.
        *sum = sum.wrapping_add(truncate(scale * f64::from(value)));
    }
}

/// The same operations, hence the same integers, on every processor, on as many lanes at once as it has.
struct AddSmall<'a> {
    sum: &'a mut [i64],
    values: &'a [f32],
    scale: f64,
}

impl pulp::WithSimd for AddSmall<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (sum, &value) in self.sum.iter_mut().zip(self.values) {
            *sum = sum.wrapping_add(truncate_small(self.scale * f64::from(value)));
        }
    }
}

/// [`truncate`] of what lies within ±2^51, by operations that every vector unit has: whole numbers of that size stand in the last
/// bits of their sum with [`MAGIC`].
#[inline(always)]
pub(super) fn truncate_small(value: f64) -> i64 {
    (value.trunc() + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as i64
}

/// The integer next to `value` on zero's side.
#[inline]
pub(super) fn truncate(value: f64) -> i64 {
    value as i64
}
