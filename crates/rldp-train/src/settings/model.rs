//! The base model and its adapter.

use std::path::PathBuf;

use rldp_model::{AdapterLayout, DeviceChoice, LoraSettings, ModelConfig, error::LoraError};

use super::{
    EngineKind, Initialization, MemorySize, PrecisionKind, Trainable,
    describe::{at_least, choice, default, derived, positive, required, settings, unset, whole},
};

settings! {
    /// The base model and its adapter.
    #[section("model", "Model and adapter")]
    pub struct ModelSettings {
        /// Hugging Face model directory, GGUF file, or name on the hub (owner/name).
        model: PathBuf = required(),
        /// PEFT adapter to start from; rank, alpha and modules are its own.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        adapter: Option<PathBuf> = unset(),
        /// Run to go on from: its adapter, and a statement of what both runs promise together.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        after: Option<PathBuf> = unset(),
        /// R, LoRA rank.
        rank: usize = default(8).bound(whole(1, 1024)),
        /// LoRA's alpha.
        lora_alpha: f64 = default(16.0).bound(positive()),
        /// Adapted modules by PEFT's names, separated by commas.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        target_modules: Option<Vec<String>> = derived("the family's, as in PEFT"),
        /// Scale updates by alpha over the root of the rank (rsLoRA).
        use_rslora: bool = default(false),
        /// How A begins.
        init_lora_weights: Initialization = choice(Initialization::Default),
        /// What is trained of every adapter pair.
        trainable: Trainable = choice(Trainable::Both),
        /// Which engine computes gradients.
        engine: EngineKind = choice(EngineKind::Cpu),
        /// Where it computes: auto (the first card that can be used, or the CPU), cpu, cuda or cuda:N.
        device: DeviceChoice = default("auto"),
        /// Products with the frozen base model.
        precision: PrecisionKind = derived("the faster one that the device has"),
        /// Tokens processed at once; bounds memory, changes no result.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        micro_batch_tokens: Option<usize> = unset().bound(at_least(1, "; leave it out for no bound of your own")),
        /// Memory that the run may take, such as 6GiB; chooses the micro-batch, which changes no result, and the longest block where --max-length does not.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        memory_limit: Option<MemorySize> = unset(),
    }
}

impl ModelSettings {
    /// The alpha that, over the rank, is the scaling of updates.
    pub fn scaled_alpha(&self) -> f64 {
        if self.use_rslora { self.lora_alpha * (self.rank as f64).sqrt() } else { self.lora_alpha }
    }

    /// The layout of the adapter on a model.
    ///
    /// # Errors
    /// When the model does not have the modules that are to be adapted.
    pub fn layout(&self, config: &ModelConfig) -> Result<AdapterLayout, LoraError> {
        let target_modules = self.target_modules.clone();
        let lora = LoraSettings { rank: self.rank, lora_alpha: self.scaled_alpha(), target_modules };
        let layout = AdapterLayout::for_model(config, &lora)?;
        Ok(if self.trainable == Trainable::B { layout.with_frozen_a() } else { layout })
    }
}
