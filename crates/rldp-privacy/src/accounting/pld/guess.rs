//! Roughly which epsilon a sum of many rarely sampled steps has: where to look, not what holds.

use super::super::event::Event;
use super::grid::loss_variance;
use super::step::normal_tail;

/// Halvings of the search over the logarithm of epsilon.
const HALVINGS: usize = 48;

/// The epsilon below `most` at which a normal sum of all losses, or one jump of one step, takes `delta`.
pub(super) fn epsilon(events: &[Event], delta: f64, most: f64) -> f64 {
    let deviation = events.iter().map(|event| event.steps as f64 * loss_variance(event)).sum::<f64>().sqrt();
    let at = |epsilon: f64| {
        let jumps: f64 = events.iter().map(|event| event.steps as f64 * jump(event, epsilon)).sum();
        jumps + normal(deviation, epsilon)
    };
    let (mut low, mut high) = ((1e-12 * most).ln(), most.ln());
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if at(middle.exp()) > delta { low = middle } else { high = middle }
    }
    high.exp()
}

/// Delta of a normal loss.
fn normal(deviation: f64, epsilon: f64) -> f64 {
    let (middle, half) = (epsilon / deviation, 0.5 * deviation);
    (normal_tail(middle - half) - epsilon.exp() * normal_tail(middle + half)).max(0.0)
}

/// Delta of one step, of the unit's presence.
fn jump(event: &Event, epsilon: f64) -> f64 {
    let Event { sampling_rate: q, noise_multiplier: z, .. } = *event;
    let from = 0.5 + z * z * (epsilon.exp_m1() / q).ln_1p();
    (q * normal_tail((from - 1.0) / z) - (epsilon.exp_m1() + q) * normal_tail(from / z)).max(0.0)
}
