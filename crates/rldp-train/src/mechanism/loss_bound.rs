//! How large a unit's loss may be to count in the paid statistic.

use rldp_privacy::{ReleasedStatistics, StatisticSpec};
use serde::{Deserialize, Serialize};

/// Losses are cut off at this many times their mean. Noise and the random size of a batch cost in proportion to it, and what
/// is cut off makes the released mean too small: of losses spread as an exponential by 6 %, of narrower ones by less.
const TIMES: f64 = 3.0;
/// Deviations of its noise that are added to a released mean, which may be too small.
const DEVIATIONS: f64 = 2.0;
/// Of the first bound, what there is at least.
const LEAST: f64 = 1e-3;

/// The upper bound of the paid loss: ln V at first, then some times the mean loss that was released last.
///
/// Noise in the released loss is a fixed fraction of the bound. ln V, the loss of a uniform guess, is safe but far off: a model that has
/// learned its data has a tenth of it.
///
/// **Guarantee.** The bound of a step is a function of what earlier steps released, fixed before the step is charged. Whatever it is, a
/// unit's statistic has norm at most 1 ([`StatisticSpec`]), so sensitivity and price of a step do not depend on it; that later steps
/// are chosen by the outcome of earlier ones is what the accountant's adaptive composition allows, as with clip norms. A
/// non-private step has the first bound: it has no noise to save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossBound(Option<f64>);

impl LossBound {
    /// The statistic of the next step; `first` is that of the first one.
    pub(crate) fn apply(self, first: &StatisticSpec) -> StatisticSpec {
        let room = first.loss_high - first.loss_low;
        let above = self.0.map_or(room, |above| above.clamp(LEAST * room, room));
        StatisticSpec { loss_high: first.loss_low + above, ..first.clone() }
    }

    /// Takes note of what a step released.
    pub(crate) fn follow(&mut self, first: &StatisticSpec, released: &ReleasedStatistics) {
        let mean = (released.mean_loss.get() - first.loss_low).max(0.0);
        self.0 = Some(TIMES * (mean + DEVIATIONS * released.mean_loss_std));
    }
}
