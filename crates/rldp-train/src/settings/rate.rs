//! The learning rate of a run whose user gives none.

/// Longer runs get a smaller learning rate, by the root of their length, so that the noise that all steps carry into the
/// adapter together stays the same; and a larger `lora_alpha` a smaller one, because it scales what a step does to the model.
const SCALED_BY_ROOT_OF_STEPS: f64 = 1.6;

/// Shorter runs than this would by the same rule move so far in a step that the loss grows.
const FEWEST_STEPS: u64 = 25;

/// Learning rate of AdamW for a run of `steps` steps, 1.6 / (`lora_alpha` √T) and never more than at 25 steps:
/// `docs/results/controller.md`.
pub fn default_learning_rate(steps: u64, lora_alpha: f64) -> f64 {
    SCALED_BY_ROOT_OF_STEPS / (lora_alpha * (steps.max(FEWEST_STEPS) as f64).sqrt())
}
