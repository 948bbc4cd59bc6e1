//! Clip and sum on the device, by a public rule.
//!
//! **Sensitivity.** The kernels of `cuda/clip.cu` do to a unit's gradient what rldp-privacy's partial sum does, operation by
//! operation; the argument stands there. What this module adds are public numbers: the rule's, and for the histogram of norms the
//! smallest norm of each bin, found with the host's own formula, so that a bin is the same on any device.
//!
//! What comes back is the sum of all units of a step. It is a function of records without noise, like the partial sum that takes it.

use rldp_model::{Adapter, EngineError, NormRule, StatisticRule, SumRule, UnitInput, UnitSum};

use crate::{
    DeviceError, GpuEngine,
    device::{Device, Span},
    ops::Ops,
    units::Finished,
    workspace::{Backward, MOST_BINS},
};

/// A rule as the kernels take it.
struct Prepared<'a> {
    rule: &'a SumRule,
    begins: Vec<i64>,
    packed: Vec<i64>,
    /// What a unit that is not finite, a clipped pair, and a unit in a bin add.
    parts: [i64; 3],
    /// Smallest norm of each bin but the first.
    bins: Vec<f64>,
    bin_count: usize,
}

impl<'a> Prepared<'a> {
    fn new(rule: &'a SumRule) -> Self {
        let mut packed = vec![0];
        for pair in &rule.pairs {
            packed.push(packed[packed.len() - 1] + pair.len() as i64);
        }
        let whole = |weight: f64, statistic: &StatisticRule| (weight * statistic.room / statistic.grid) as i64;
        let parts = rule.statistic.as_ref().map_or([0; 3], |statistic| {
            [statistic.non_finite, statistic.clip, statistic.norm].map(|weight| whole(weight, statistic))
        });
        let bins = rule.statistic.as_ref().and_then(|statistic| statistic.bins);
        Self {
            rule,
            begins: rule.pairs.iter().map(|pair| pair.start as i64).collect(),
            packed,
            parts,
            bins: bins.as_ref().map_or_else(Vec::new, least_norms),
            bin_count: bins.map_or(0, |bins| bins.count),
        }
    }

    fn trained(&self) -> usize {
        self.packed[self.packed.len() - 1] as usize
    }

    fn statistic_length(&self) -> usize {
        if self.rule.statistic.is_some() { 2 + self.rule.pairs.len() + self.bin_count } else { 0 }
    }

    /// Copies the rule to the device, and begins the sums at zero.
    fn put(&self, device: &dyn Device, back: &Backward) -> Result<(), DeviceError> {
        let (clipping, rule) = (&back.clipping, self.rule);
        let squared: Vec<f64> = rule.clip_norms.iter().map(|bound| bound.powi(2)).collect();
        for (span, list) in [(clipping.begins, &self.begins), (clipping.packed, &self.packed)] {
            device.upload(span, bytemuck::cast_slice(list))?;
        }
        for (span, list) in [
            (clipping.bounds, &rule.clip_norms),
            (clipping.bounds_squared, &squared),
            (clipping.grid, &rule.grid),
            (clipping.bins, &self.bins),
        ] {
            device.upload(span, bytemuck::cast_slice(list))?;
        }
        device.upload(clipping.parts, bytemuck::cast_slice(&self.parts))?;
        device.fill(clipping.sum, 0)?;
        device.fill(clipping.statistic, 0)
    }

    /// Adds the units in some slots.
    fn add(&self, ops: Ops, back: &Backward, parameters: usize, units: usize) -> Result<(), DeviceError> {
        let (clipping, rule, pairs) = (&back.clipping, self.rule, self.rule.pairs.len());
        let gradients = (back.gradients, parameters);
        let places = [clipping.begins, clipping.packed];
        ops.squares(gradients, (clipping.slots, units), places, (clipping.squares, pairs))?;
        let stability = if rule.pair_wise { rule.stability } else { rule.joint_stability };
        let numbers = [stability, 1.0 + rule.room, 1.0 - rule.room];
        ops.unit_factors(clipping, back.losses, (units, pairs), [!rule.pair_wise, rule.normalizes], numbers)?;
        ops.clip_sum(gradients, clipping, (units, pairs), self.trained())?;
        let Some(statistic) = &rule.statistic else { return Ok(()) };
        let (low, high) = statistic.loss_bounds;
        let (centre, half) = (0.5 * (low + high), 0.5 * (high - low));
        let numbers = [low, high, centre, half, statistic.loss, statistic.room, statistic.grid];
        ops.statistic_sum(clipping, back.losses, (units, pairs, self.bin_count), numbers)
    }
}

/// The bin of a norm.
fn bin(bins: &NormRule, norm: f64) -> usize {
    let position = ((norm / bins.lowest).ln() / bins.ratio.ln()).floor();
    // Saturating: below the first bin, and ln 0, go to the first.
    (position as usize).min(bins.count - 1)
}

/// The smallest norm of each bin but the first, infinity where a bin has none: bins grow with norms, and the bits of positive floats
/// with their values.
fn least_norms(bins: &NormRule) -> Vec<f64> {
    let least = |wanted: usize| {
        let (mut low, mut high) = (0, f64::INFINITY.to_bits());
        while low < high {
            let middle = low + (high - low) / 2;
            if bin(bins, f64::from_bits(middle)) >= wanted {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        f64::from_bits(low)
    };
    (1..bins.count).map(least).collect()
}

impl GpuEngine {
    /// The integer sum of all units by `rule`, equal to the bit to the host's of the same gradients. `None` for a histogram of more
    /// bins than there is room for.
    pub(crate) fn sum_units(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        rule: &SumRule,
    ) -> Result<Option<UnitSum>, EngineError> {
        let (prepared, parameters) = (Prepared::new(rule), adapter.layout().parameter_count());
        let inside = rule.pairs.iter().all(|pair| pair.start <= pair.end && pair.end <= parameters);
        if !(inside && rule.pairs.len() == adapter.layout().pairs().len()) {
            return Err(EngineError::Backend("the rule of the sum does not fit the adapter".into()));
        }
        if prepared.bin_count > MOST_BINS {
            return Ok(None);
        }
        let mut begun = false;
        self.for_finished_units(adapter, units, &mut |engine, back, finished: &[Finished]| {
            if !begun {
                prepared.put(engine.device(), back)?;
                begun = true;
            }
            let slots: Vec<i32> = finished.iter().map(|(_, slot)| *slot as i32).collect();
            engine.device().upload(back.clipping.slots, bytemuck::cast_slice(&slots))?;
            Ok(prepared.add(Ops(engine.device()), back, parameters, slots.len())?)
        })?;
        let mut sum =
            UnitSum { gradient: vec![0; prepared.trained()], statistic: vec![0; prepared.statistic_length()] };
        if let (true, Some(back)) = (begun, &self.workspace()?.buffers.backward) {
            let device = self.device();
            let read = |span: Span, values: &mut [i64]| device.download(span, bytemuck::cast_slice_mut(values));
            read(back.clipping.sum, &mut sum.gradient)?;
            read(back.clipping.statistic, &mut sum.statistic)?;
        }
        Ok(Some(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_norms_are_where_bins_begin() {
        let bins = NormRule { lowest: 0.5 / 64.0, ratio: 4096_f64.powf(1.0 / 24.0), count: 24 };
        let least = least_norms(&bins);
        assert_eq!(least.len(), 23);
        for (index, norm) in least.iter().enumerate() {
            assert_eq!(bin(&bins, *norm), index + 1);
            assert_eq!(bin(&bins, norm.next_down()), index);
        }
        let flat = NormRule { count: 1, ..bins };
        assert!(least_norms(&flat).is_empty());
    }
}
