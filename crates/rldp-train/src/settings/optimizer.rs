//! The optimizer and its schedule.

use super::{
    Decay, OptimizerKind,
    describe::{choice, default, derived, positive, settings, within},
};

settings! {
    /// The optimizer and its schedule (post-processing, free of privacy cost).
    #[section("optimizer", "Optimizer")]
    pub struct OptimizerSettings {
        /// The update rule.
        optimizer: OptimizerKind = choice(OptimizerKind::Adamw),
        /// Peak learning rate.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        learning_rate: Option<f64> =
            derived("1.6/(lora_alpha·√steps), with 25 steps at least, and less where noise leaves little signal").bound(positive()),
        /// Fraction of the steps over which the learning rate rises from zero.
        warmup: f64 = default(0.0).bound(within(0.0, 1.0)),
        /// Schedule after warm-up.
        decay: Decay = choice(Decay::Linear),
        /// Decay of the first moment.
        beta1: f64 = default(0.3).bound(within(0.0, 0.999_999)),
        /// Decay of the second moment.
        beta2: f64 = default(0.999).bound(within(0.0, 0.999_999)),
        /// Added to the root of the second moment, in units of the gradient.
        adam_epsilon: f64 = default(1e-8).bound(positive()),
        /// Least corrected second moment of adam-bc, over the noise's variance.
        noise_floor: f64 = default(0.25).bound(positive()),
        /// Decoupled weight decay.
        weight_decay: f64 = default(0.0).bound(within(0.0, 1.0)),
    }
}
