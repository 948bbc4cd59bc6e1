//! Choices between named things.

use serde::{Deserialize, Serialize};

/// Whether noise multipliers are fixed before the first step or chosen while training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegimeKind {
    /// All noise multipliers are fixed in advance; numerical (PLD) accounting is valid.
    Committed,
    /// A fixed multiset of noise multipliers, whose order the controller chooses: the price of the committed plan.
    Deck,
    /// The controller also moves the noise multiplier; a fixed-order Rényi filter stands before every step.
    Adaptive,
}

/// How a unit's gradient is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClippingKind {
    /// Every adapter pair has its own threshold and its own share of the budget.
    PairWise,
    /// One threshold for the whole gradient, in which a controller may move the scale of every pair.
    Joint,
    /// One threshold for the whole gradient (the usual DP-SGD), and a controller moves nothing but it.
    Flat,
}

/// Learning-rate schedule after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Linear to zero at the last step.
    Linear,
    /// Half a cosine to zero at the last step.
    Cosine,
    /// No decay.
    Constant,
}

/// In which coordinates a unit's gradient is bounded and gets its noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeometryKind {
    /// The gradient's own.
    #[default]
    None,
    /// Every coordinate on a scale learned from releases (AdaClip).
    Adaclip,
    /// The eigenbasis of released gradients (GeoClip).
    Geoclip,
}

/// What is trained of every adapter pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trainable {
    /// A and B.
    #[default]
    Both,
    /// B alone; A stays at its random start (FFA-LoRA).
    B,
}

/// How a released gradient becomes an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// AdamW.
    #[default]
    Adamw,
    /// AdamW whose second moment has the noise's known variance taken off.
    AdamBc,
    /// Gradient descent with momentum `beta1`.
    Sgd,
}

/// Which engine computes gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// The fast CPU engine.
    Cpu,
    /// The readable autodiff engine, for checks.
    Reference,
}

/// How the products with the frozen base model are computed. Per-unit gradients, sums, noise and the optimizer are f32 or
/// better either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionKind {
    /// Everywhere.
    F32,
    /// Operands rounded to bf16, sums in f32.
    Bf16,
}
