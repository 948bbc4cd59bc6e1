//! The metadata of a GGUF file as a `config.json`.

use serde_json::{Map, Value as Json, json};

use super::{header::Header, value::Metadata};

/// GGUF's names of supported architectures, and the classes of `transformers`.
const ARCHITECTURES: [(&str, &str, &str); 4] = [
    ("gpt2", "gpt2", "GPT2LMHeadModel"),
    ("llama", "llama", "LlamaForCausalLM"),
    ("qwen2", "qwen2", "Qwen2ForCausalLM"),
    ("qwen3", "qwen3", "Qwen3ForCausalLM"),
];

/// Context lengths and wavelength bounds of Llama 3's pretraining, which its GGUF does not state.
const LLAMA3: (f64, f64, f64) = (8192.0, 1.0, 4.0);

/// The `config.json` that the metadata describe. `factors` are those of `rope_freqs.weight`, when it is there.
pub(super) fn json(header: &Header, factors: Option<&[f32]>) -> Result<Json, String> {
    let metadata = Metadata(&header.metadata);
    let architecture =
        metadata.text("general.architecture")?.ok_or("the metadata do not name a `general.architecture`")?;
    let Some((name, model_type, class)) = ARCHITECTURES.iter().find(|(name, _, _)| *name == architecture) else {
        let supported = ARCHITECTURES.map(|(name, _, _)| name).join(", ");
        return Err(format!(
            "`general.architecture` of `{}` is not supported; supported: {supported}",
            super::header::shown(architecture)
        ));
    };
    let source = Source { metadata, name, header };
    let mut config = Map::new();
    config.insert("model_type".into(), json!(model_type));
    config.insert("architectures".into(), json!([class]));
    source.common(&mut config)?;
    if *name == "gpt2" {
        source.gpt2(&mut config)?;
    } else {
        source.rotary(&mut config, factors)?;
    }
    Ok(Json::Object(config))
}

struct Source<'a> {
    metadata: Metadata<'a>,
    name: &'a str,
    header: &'a Header,
}

impl Source<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn has(&self, tensor: &str) -> bool {
        self.header.tensors.iter().any(|found| found.name == tensor)
    }

    fn common(&self, config: &mut Map<String, Json>) -> Result<(), String> {
        if self.metadata.size("split.count")?.unwrap_or(1) > 1 {
            return Err("the model is split over several files; join them with `llama-gguf-split --merge`".into());
        }
        if self.metadata.size(&self.key("expert_count"))?.unwrap_or(0) > 0 {
            return Err("mixtures of experts are not supported".into());
        }
        let embedding = self.header.tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
        let vocab =
            embedding.and_then(|tensor| tensor.shape.first()).ok_or("there is no tensor `token_embd.weight`")?;
        config.insert("vocab_size".into(), json!(vocab));
        config.insert("tie_word_embeddings".into(), json!(!self.has("output.weight")));
        for special in ["bos", "eos"] {
            let id = self.metadata.size(&format!("tokenizer.ggml.{special}_token_id"))?;
            config.insert(format!("{special}_token_id"), json!(id));
        }
        Ok(())
    }

    fn gpt2(&self, config: &mut Map<String, Json>) -> Result<(), String> {
        for (theirs, ours) in [
            ("n_embd", "embedding_length"),
            ("n_layer", "block_count"),
            ("n_head", "attention.head_count"),
            ("n_positions", "context_length"),
            ("n_inner", "feed_forward_length"),
        ] {
            config.insert(theirs.into(), json!(self.metadata.needed_size(&self.key(ours))?));
        }
        let epsilon = self.needed_number("attention.layer_norm_epsilon")?;
        config.insert("layer_norm_epsilon".into(), json!(epsilon));
        config.insert("activation_function".into(), json!("gelu_new"));
        Ok(())
    }

    fn rotary(&self, config: &mut Map<String, Json>, factors: Option<&[f32]>) -> Result<(), String> {
        let needed = |key: &str| self.metadata.needed_size(&self.key(key));
        let (hidden, heads) = (needed("embedding_length")?, needed("attention.head_count")?);
        let kv_heads = self.metadata.size(&self.key("attention.head_count_kv"))?.unwrap_or(heads);
        let head_dim = self.metadata.size(&self.key("attention.key_length"))?.unwrap_or(hidden / heads.max(1));
        for key in ["rope.dimension_count", "attention.value_length"] {
            let size = self.metadata.size(&self.key(key))?.unwrap_or(head_dim);
            if size != head_dim {
                return Err(format!("`{}` of {size} is not the heads' size {head_dim}", self.key(key)));
            }
        }
        for (key, value) in [
            ("hidden_size", hidden),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
            ("head_dim", head_dim),
            ("num_hidden_layers", needed("block_count")?),
            ("intermediate_size", needed("feed_forward_length")?),
            ("max_position_embeddings", needed("context_length")?),
        ] {
            config.insert(key.into(), json!(value));
        }
        let epsilon = self.needed_number("attention.layer_norm_rms_epsilon")?;
        config.insert("rms_norm_eps".into(), json!(epsilon));
        config.insert("hidden_act".into(), json!("silu"));
        if self.name == "llama" {
            config.insert("attention_bias".into(), json!(self.has("blk.0.attn_q.bias")));
            config.insert("mlp_bias".into(), json!(self.has("blk.0.ffn_up.bias")));
        }
        config.insert("rope_parameters".into(), self.rope(factors, head_dim)?);
        Ok(())
    }

    fn needed_number(&self, key: &str) -> Result<f64, String> {
        let key = self.key(key);
        let number = self.metadata.number(&key)?.ok_or_else(|| format!("the metadata have no `{key}`"))?;
        // Stored as f32: the shortest decimal that gives it is what the model's own configuration says.
        Ok((number as f32).to_string().parse().unwrap_or(number))
    }

    fn rope(&self, factors: Option<&[f32]>, head_dim: u64) -> Result<Json, String> {
        let theta = self.metadata.number(&self.key("rope.freq_base"))?.unwrap_or(10000.0);
        let scaling = self.metadata.text(&self.key("rope.scaling.type"))?.unwrap_or("none");
        match (scaling, factors) {
            ("none", None) => Ok(json!({"rope_type": "default", "rope_theta": theta})),
            ("linear", None) => {
                let factor = self.needed_number("rope.scaling.factor")?;
                Ok(json!({"rope_type": "linear", "rope_theta": theta, "factor": factor}))
            }
            ("none", Some(factors)) => llama3(theta, head_dim, factors),
            (other, _) => Err(format!(
                "`{}` of `{other}` is not supported; supported: none, linear",
                self.key("rope.scaling.type")
            )),
        }
    }
}

/// Llama 3's scaling, recognised by the factors that it gives.
fn llama3(theta: f64, head_dim: u64, factors: &[f32]) -> Result<Json, String> {
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    let (original, low, high) = LLAMA3;
    let expected = |pair: usize| {
        let frequency = theta.powf(-((2 * pair) as f64) / head_dim as f64);
        let turns = original * frequency / (2.0 * std::f64::consts::PI);
        let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        1.0 / ((1.0 - keep) / factor + keep)
    };
    let near = |(pair, found): (usize, &f32)| (f64::from(*found) / expected(pair) - 1.0).abs() < 1e-3;
    if factors.len() as u64 != head_dim / 2 || !factors.iter().enumerate().all(near) {
        return Err("`rope_freqs.weight` is not Llama 3's scaling of rotary frequencies, the only one supported".into());
    }
    Ok(json!({
        "rope_type": "llama3", "rope_theta": theta, "factor": factor, "low_freq_factor": low,
        "high_freq_factor": high, "original_max_position_embeddings": original as u64,
    }))
}
