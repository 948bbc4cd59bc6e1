//! What the paper's controller is said to see: norms of units' gradients and their losses, without noise. Research only: a
//! run that uses this claims no guarantee, and cannot be built otherwise.

use rldp_control::Observation;
use rldp_model::AdapterLayout;
use rldp_privacy::{NoGuarantee, Observable, Sensitive};

/// Numbers about each pair in a summary: mean norm, median norm, fraction above the threshold.
const OF_A_PAIR: usize = 3;

/// Collects an interval's raw values.
pub(crate) struct RawObserver {
    admission: NoGuarantee,
    units: Option<Sensitive<Vec<Unit>>>,
    previous_loss: Option<Observable>,
}

/// Raw values of one unit.
struct Unit {
    loss: f64,
    /// Of each pair (K).
    norms: Vec<f64>,
}

/// Raw values of an interval.
pub(crate) struct RawSummary {
    /// Mean loss of the sampled units, in nats.
    pub(crate) loss: Observable,
    loss_change: Option<Observable>,
    /// About each pair, one after another.
    pairs: Vec<Observable>,
}

impl RawObserver {
    pub(crate) fn new(admission: NoGuarantee) -> Self {
        Self { admission, units: None, previous_loss: None }
    }

    /// Adds one unit's gradient (P) and loss, unless they are not finite.
    pub(crate) fn add(&mut self, layout: &AdapterLayout, gradient: &[f32], loss: f64) {
        let norm = |values: &[f32]| values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let norms: Vec<f64> = layout.pairs().iter().map(|pair| norm(&gradient[pair.range()])).collect();
        if !loss.is_finite() || norms.iter().any(|norm| !norm.is_finite()) {
            return;
        }
        let units = self.units.take().unwrap_or_else(|| Sensitive::new(Vec::new()));
        self.units = Some(units.map(|mut units| {
            units.push(Unit { loss, norms });
            units
        }));
    }

    /// The interval's summary at thresholds `clip_norms` (K); `None` when no unit was sampled. Starts the next interval.
    pub(crate) fn finish(&mut self, clip_norms: &[f64]) -> Option<RawSummary> {
        let numbers = self.units.take()?.map(|units| summary(&units, clip_norms));
        let mut numbers = Observable::unsafe_raw(numbers, self.admission);
        let pairs = numbers.split_off(1);
        let loss = numbers[0];
        let before = self.previous_loss.replace(loss);
        Some(RawSummary { loss, loss_change: before.map(|before| loss.combine(before, |now, then| now - then)), pairs })
    }
}

impl RawSummary {
    /// Puts raw values where the released ones stood: the mean norm over its threshold in place of the signal-to-noise
    /// estimate, the median one in place of the cosine of two releases, and the exact clip fractions, loss and its change.
    pub(crate) fn replace(&self, observation: &mut Observation) {
        for (pair, raw) in observation.pairs.iter_mut().zip(self.pairs.chunks_exact(OF_A_PAIR)) {
            (pair.snr, pair.previous_cosine, pair.clip_fraction) = (raw[0], raw[1], raw[2]);
        }
        observation.global.loss = self.loss;
        if let Some(change) = self.loss_change {
            observation.global.loss_change = change;
        }
    }
}

/// Mean loss, then each pair's numbers, norms over their thresholds. `units` is not empty.
fn summary(units: &[Unit], clip_norms: &[f64]) -> Vec<f64> {
    let count = units.len() as f64;
    let mut numbers = vec![units.iter().map(|unit| unit.loss).sum::<f64>() / count];
    for (k, clip) in clip_norms.iter().enumerate() {
        let mut norms: Vec<f64> = units.iter().map(|unit| unit.norms[k] / clip).collect();
        norms.sort_by(f64::total_cmp);
        let above = norms.iter().filter(|norm| **norm > 1.0).count() as f64;
        numbers.extend([norms.iter().sum::<f64>() / count, norms[norms.len() / 2], above / count]);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_exact() {
        let unit = |loss, norm| Unit { loss, norms: vec![norm, 2.0 * norm] };
        let found = summary(&[unit(1.0, 3.0), unit(2.0, 1.0), unit(6.0, 2.0)], &[2.0, 1.0]);
        assert_eq!(found, [3.0, 1.0, 1.0, 1.0 / 3.0, 4.0, 4.0, 1.0]);
    }
}
