//! Stored tensors that the configuration has no place for.
//!
//! Left out, they make another model than the one that was trained, without a word. Those of the decoder are refused; heads
//! of other tasks beside it change nothing that is computed here and are only named.

use std::collections::HashSet;

use super::{HEAD, Weights};
use crate::{Family, ModelConfig, ModelError};

/// First parts of names that belong to the decoder, with or without its leading module.
const DECODER: [&str; 11] = [
    "model.",
    "transformer.",
    "base_model.",
    "layers.",
    "h.",
    "embed_tokens.",
    "norm.",
    "wte.",
    "wpe.",
    "ln_f.",
    "lm_head.",
];

impl Weights {
    /// Names of stored tensors outside the decoder, which nothing here computes with.
    ///
    /// # Errors
    /// When a tensor of the decoder has no place in `config`.
    pub(crate) fn strays(&self, config: &ModelConfig) -> Result<Vec<String>, ModelError> {
        let tensors = config.tensors();
        let known: HashSet<&str> =
            tensors.iter().filter_map(|spec| self.stored_name(&spec.name)).chain([HEAD]).collect();
        let strays = self.names().into_iter().filter(|name| !known.contains(name) && !is_buffer(name, config.family));
        let (inside, outside): (Vec<&str>, Vec<&str>) =
            strays.partition(|name| name.contains("lora_") || DECODER.iter().any(|part| name.starts_with(part)));
        match inside.first() {
            Some(name) => Err(ModelError::StrayTensor {
                name: (*name).to_owned(),
                others: inside.len() - 1,
                hint: hint(name, config),
            }),
            None => Ok(outside.into_iter().map(str::to_owned).collect()),
        }
    }
}

/// Tables that older versions of `transformers` stored and that follow from the configuration.
fn is_buffer(name: &str, family: Family) -> bool {
    let masks = [".attn.bias", ".attn.masked_bias"];
    name.ends_with("rotary_emb.inv_freq") || (family == Family::Gpt2 && masks.iter().any(|mask| name.ends_with(mask)))
}

fn hint(name: &str, config: &ModelConfig) -> String {
    let layer = name.split('.').find_map(|part| part.parse::<usize>().ok()).filter(|layer| *layer >= config.layers);
    match layer {
        _ if name.contains("lora_") => {
            "an adapter is no part of a model: name its folder with --adapter, or merge it in Python by merge_and_unload"
                .into()
        }
        Some(_) => format!("config.json has {} layers", config.layers),
        None if name.rsplit('.').next() == Some("bias") => {
            "config.json gives this map no bias; set `attention_bias` or `mlp_bias` to what the model was trained with".into()
        }
        None => "config.json is of another model, or the file holds more than the model".into(),
    }
}
