//! Reads Hugging Face's `config.json` with the defaults of `transformers` 5 for absent keys.

use serde_json::Value;

use super::{Activation, Family, ModelConfig, keys::Keys, rotary, validate};

/// Why a `config.json` was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON.
    #[error("not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("the top level is not a JSON object")]
    NotAnObject,
    /// Neither `model_type` nor `architectures` says what the model is.
    #[error("neither `model_type` nor `architectures` names the architecture; supported: {supported}")]
    NoArchitecture {
        /// The list of what is supported.
        supported: String,
    },
    /// A key without default is absent.
    #[error("`{key}` is missing")]
    MissingKey {
        /// Path of the key.
        key: String,
    },
    /// A key has a value of the wrong type.
    #[error("`{key}` should be {expected}, but is {found}")]
    WrongType {
        /// Path of the key.
        key: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The value is well formed but this project does not implement it.
    #[error("`{key}` of `{value}` is not supported; supported: {supported}")]
    Unsupported {
        /// Path of the key.
        key: String,
        /// The refused value.
        value: String,
        /// What is supported instead.
        supported: String,
    },
    /// A size is zero or beyond any model.
    #[error("`{key}` of {value} is outside 1..={limit}")]
    Size {
        /// Name of the key.
        key: &'static str,
        /// The refused value.
        value: usize,
        /// Largest accepted value.
        limit: usize,
    },
    /// Sizes that do not fit one another, or a number outside its range.
    #[error("{0}")]
    Inconsistent(String),
}

impl ModelConfig {
    /// Reads the text of a `config.json`.
    ///
    /// Absent keys take the defaults of `transformers`. Options that change the mathematics are honoured or refused by
    /// name; dropout, cache and initialisation settings are ignored, since nothing here depends on them. Special tokens
    /// outside the vocabulary are dropped: the model can neither read nor emit them.
    ///
    /// ```
    /// use rldp_model::{Family, ModelConfig};
    ///
    /// let config = ModelConfig::from_json(r#"{"model_type": "qwen3", "num_hidden_layers": 2}"#).unwrap();
    /// assert_eq!((config.family, config.head_dim, config.linears().len()), (Family::Qwen3, 128, 14));
    /// assert!(ModelConfig::from_json(r#"{"model_type": "bert"}"#).is_err());
    /// ```
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let value: Value = serde_json::from_str(text)?;
        let keys = Keys::new(value.as_object().ok_or(ConfigError::NotAnObject)?, "");
        let family = family(keys)?;
        if keys.get("quantization_config").is_some() {
            return Err(ConfigError::Unsupported {
                key: "quantization_config".into(),
                value: "quantized weights".into(),
                supported: "unquantized f32, f16 or bf16 weights".into(),
            });
        }
        let mut config = match family {
            Family::Gpt2 => gpt2(keys)?,
            family => rotary::read(keys, family)?,
        };
        validate::check(&config)?;
        let (bos, eos) = match family {
            Family::Gpt2 => (Some(50256), Some(50256)),
            Family::Llama | Family::Mistral => (Some(1), Some(2)),
            Family::Qwen2 | Family::Qwen3 => (None, None),
            Family::Gemma => (Some(2), Some(1)),
        };
        config.bos_token_id = config.inside(special(keys, "bos_token_id", bos)?).first().copied();
        config.eos_token_ids = config.inside(special(keys, "eos_token_id", eos)?);
        Ok(config)
    }

    /// Takes the tokens that end a sequence from the text of a `generation_config.json`, which goes before `config.json`.
    pub(crate) fn take_generation(&mut self, text: &str) -> Result<(), ConfigError> {
        let value: Value = serde_json::from_str(text)?;
        let keys = Keys::new(value.as_object().ok_or(ConfigError::NotAnObject)?, "");
        if let Some(ends) = keys.tokens("eos_token_id")? {
            self.eos_token_ids = self.inside(ends);
        }
        Ok(())
    }

    fn inside(&self, ids: Vec<usize>) -> Vec<u32> {
        ids.into_iter().filter(|id| *id < self.vocab_size).map(|id| id as u32).collect()
    }
}

/// Special tokens; an explicit `null` means that the model has none.
fn special(keys: Keys, key: &str, default: Option<usize>) -> Result<Vec<usize>, ConfigError> {
    if !keys.has(key) {
        return Ok(default.into_iter().collect());
    }
    Ok(keys.tokens(key)?.unwrap_or_default())
}

/// Class names of `architectures` whose decoder is one of the families.
const ARCHITECTURES: [(&str, Family); 12] = [
    ("GPT2LMHeadModel", Family::Gpt2),
    ("GPT2Model", Family::Gpt2),
    ("LlamaForCausalLM", Family::Llama),
    ("LlamaModel", Family::Llama),
    ("MistralForCausalLM", Family::Mistral),
    ("MistralModel", Family::Mistral),
    ("Qwen2ForCausalLM", Family::Qwen2),
    ("Qwen2Model", Family::Qwen2),
    ("Qwen3ForCausalLM", Family::Qwen3),
    ("Qwen3Model", Family::Qwen3),
    ("GemmaForCausalLM", Family::Gemma),
    ("GemmaModel", Family::Gemma),
];

fn family(keys: Keys) -> Result<Family, ConfigError> {
    let supported = || Family::ALL.map(Family::model_type).join(", ");
    let model_type = keys.text("model_type")?.filter(|name| !name.is_empty());
    let architecture = keys.texts("architectures")?.and_then(|names| names.first().copied());
    let by_class = architecture
        .map(|name| {
            ARCHITECTURES.iter().find(|(class, _)| *class == name).map(|(_, family)| *family).ok_or_else(|| {
                ConfigError::Unsupported {
                    key: "architectures".into(),
                    value: name.into(),
                    supported: ARCHITECTURES.map(|(class, _)| class).join(", "),
                }
            })
        })
        .transpose();
    let Some(model_type) = model_type else {
        return by_class?.ok_or_else(|| ConfigError::NoArchitecture { supported: supported() });
    };
    let family = Family::ALL.into_iter().find(|family| family.model_type() == model_type).ok_or_else(|| {
        ConfigError::Unsupported { key: "model_type".into(), value: model_type.into(), supported: supported() }
    })?;
    // As in transformers, `model_type` decides; the class only has to be one whose decoder is known here.
    by_class?;
    Ok(family)
}

fn gpt2(keys: Keys) -> Result<ModelConfig, ConfigError> {
    keys.only("scale_attn_weights", true)?;
    keys.only("scale_attn_by_inverse_layer_idx", false)?;
    keys.only("add_cross_attention", false)?;
    let hidden_size = keys.first_size(&["n_embd", "hidden_size"])?.unwrap_or(768);
    let heads = keys.first_size(&["n_head", "num_attention_heads"])?.unwrap_or(12);
    Ok(ModelConfig {
        family: Family::Gpt2,
        vocab_size: keys.size("vocab_size")?.unwrap_or(50257),
        hidden_size,
        intermediate_size: keys.size("n_inner")?.unwrap_or_else(|| hidden_size.saturating_mul(4)),
        layers: keys.first_size(&["n_layer", "num_hidden_layers"])?.unwrap_or(12),
        heads,
        kv_heads: heads,
        head_dim: hidden_size / heads.max(1),
        max_positions: keys.first_size(&["n_positions", "max_position_embeddings"])?.unwrap_or(1024),
        norm_epsilon: keys.number("layer_norm_epsilon")?.unwrap_or(1e-5) as f32,
        activation: activation(keys, "activation_function", "gelu_new")?,
        rope: None,
        sliding_window: None,
        tie_word_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(true),
        attention_bias: true,
        mlp_bias: true,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    })
}

pub(super) fn activation(keys: Keys, key: &str, default: &str) -> Result<Activation, ConfigError> {
    Ok(match keys.text(key)?.unwrap_or(default) {
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" => Activation::GeluTanh,
        "gelu" | "gelu_python" => Activation::Gelu,
        "silu" | "swish" => Activation::Silu,
        other => {
            return Err(ConfigError::Unsupported {
                key: keys.path(key),
                value: other.into(),
                supported: "gelu_new, gelu_pytorch_tanh, gelu, silu, swish".into(),
            });
        }
    })
}
