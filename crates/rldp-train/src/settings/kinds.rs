//! Choices between named things.

use rldp_privacy::choices;

choices! {
    /// Whether noise multipliers are fixed before the first step or chosen while training.
    pub enum RegimeKind as "regime" {
        /// All noise is fixed in advance; numerical (PLD) accounting is valid.
        Committed = "committed",
        /// A fixed set of noise levels, whose order the controller chooses: the price of the committed plan.
        Deck = "deck",
        /// The controller also moves the noise; a Rényi filter stands before every step and costs more.
        Adaptive = "adaptive",
    }
}

choices! {
    /// How a unit's gradient is bounded.
    pub enum ClippingKind as "clipping" {
        /// Every adapter pair has its own threshold and its own share of the budget.
        PairWise = "pair-wise",
        /// One threshold for the whole gradient, in which a controller may move the scale of every pair.
        Joint = "joint",
        /// One threshold for the whole gradient (the usual DP-SGD), and a controller moves nothing but it.
        Flat = "flat",
    }
}

choices! {
    /// Learning-rate schedule after warm-up.
    pub enum Decay as "decay" {
        /// Linear to zero at the last step.
        Linear = "linear",
        /// Half a cosine to zero at the last step.
        Cosine = "cosine",
        /// No decay.
        Constant = "constant",
    }
}

choices! {
    /// In which coordinates a unit's gradient is bounded and gets its noise.
    pub enum GeometryKind as "geometry" {
        /// The gradient's own.
        None = "none",
        /// Every coordinate on a scale learned from releases (AdaClip).
        Adaclip = "adaclip",
        /// The eigenbasis of released gradients (GeoClip).
        Geoclip = "geoclip",
    }
}

choices! {
    /// What is trained of every adapter pair.
    pub enum Trainable as "trainable" {
        /// A and B.
        Both = "both",
        /// B alone; A stays at its random start (FFA-LoRA).
        B = "b",
    }
}

choices! {
    /// How A begins; B begins at zero, so that the base model is unchanged.
    pub enum Initialization as "initialization" {
        /// Uniform, PEFT's own.
        Default = "default",
        /// Normal with deviation 1/R.
        Gaussian = "gaussian",
    }
}

choices! {
    /// How a released gradient becomes an update.
    pub enum OptimizerKind as "optimizer" {
        /// AdamW.
        Adamw = "adamw",
        /// AdamW whose second moment has the noise's known variance taken off (DP-AdamBC).
        AdamBc = "adam-bc",
        /// Gradient descent with momentum beta1.
        Sgd = "sgd",
    }
}

choices! {
    /// Which engine computes gradients.
    pub enum EngineKind as "engine" {
        /// The fast CPU engine.
        Cpu = "cpu",
        /// The readable autodiff engine, for checks.
        Reference = "reference",
    }
}

choices! {
    /// How the products with the frozen base model are computed. Per-unit gradients, sums, noise and the optimizer are f32
    /// or better either way.
    pub enum PrecisionKind as "precision" {
        /// Everywhere.
        F32 = "f32",
        /// Operands rounded to bf16, sums in f32.
        Bf16 = "bf16",
    }
}
