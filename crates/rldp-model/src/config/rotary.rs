//! `config.json` of the families with rotary positions: Llama and its descendants.

use super::{Activation, ConfigError, Family, ModelConfig, json::activation, keys::Keys, rope};

/// What `transformers` takes for absent keys.
struct Defaults {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    layers: usize,
    heads: usize,
    /// As many as query heads when `None`.
    kv_heads: Option<usize>,
    /// The heads share the hidden size when `None`.
    head_dim: Option<usize>,
    max_positions: usize,
    tied: bool,
}

const LLAMA: Defaults = Defaults {
    vocab_size: 32000,
    hidden_size: 4096,
    intermediate_size: 11008,
    layers: 32,
    heads: 32,
    kv_heads: None,
    head_dim: None,
    max_positions: 2048,
    tied: false,
};

const QWEN: Defaults =
    Defaults { vocab_size: 151936, intermediate_size: 22016, kv_heads: Some(32), max_positions: 32768, ..LLAMA };

impl Defaults {
    fn of(family: Family) -> Self {
        match family {
            Family::Mistral => Self { intermediate_size: 14336, kv_heads: Some(8), max_positions: 131072, ..LLAMA },
            Family::Qwen2 => QWEN,
            Family::Qwen3 => Self { head_dim: Some(128), ..QWEN },
            Family::Gemma => Self {
                vocab_size: 256000,
                hidden_size: 3072,
                intermediate_size: 24576,
                layers: 28,
                heads: 16,
                kv_heads: Some(16),
                head_dim: Some(256),
                max_positions: 8192,
                tied: true,
            },
            Family::Llama | Family::Gpt2 => LLAMA,
        }
    }
}

/// Reads the configuration of any family but GPT-2.
pub(super) fn read(keys: Keys, family: Family) -> Result<ModelConfig, ConfigError> {
    let defaults = Defaults::of(family);
    let hidden_size = keys.size("hidden_size")?.unwrap_or(defaults.hidden_size);
    let heads = keys.size("num_attention_heads")?.unwrap_or(defaults.heads);
    let kv_heads = if keys.has("num_key_value_heads") { keys.size("num_key_value_heads")? } else { defaults.kv_heads };
    let max_positions = keys.size("max_position_embeddings")?.unwrap_or(defaults.max_positions);
    let [attention_bias, mlp_bias] = biases(keys, family)?;
    let rope = rope::read(keys, max_positions)?;
    Ok(ModelConfig {
        family,
        vocab_size: keys.size("vocab_size")?.unwrap_or(defaults.vocab_size),
        hidden_size,
        intermediate_size: keys.size("intermediate_size")?.unwrap_or(defaults.intermediate_size),
        layers: keys.size("num_hidden_layers")?.unwrap_or(defaults.layers),
        heads,
        kv_heads: kv_heads.unwrap_or(heads),
        head_dim: head_dim(keys, hidden_size, heads, defaults.head_dim)?,
        max_positions: rope.reach(max_positions),
        norm_epsilon: keys.number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
        activation: gate(keys, family)?,
        rope: Some(rope),
        sliding_window: window(keys, family)?,
        tie_word_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(defaults.tied),
        attention_bias,
        mlp_bias,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    })
}

/// Biases of the attention's maps, and of the MLP's.
fn biases(keys: Keys, family: Family) -> Result<[bool; 2], ConfigError> {
    let flag = |key| keys.flag(key).map(|flag| flag.unwrap_or(false));
    match family {
        Family::Llama => Ok([flag("attention_bias")?, flag("mlp_bias")?]),
        Family::Qwen3 | Family::Gemma => Ok([flag("attention_bias")?, false]),
        Family::Qwen2 => Ok([true, false]),
        Family::Mistral | Family::Gpt2 => {
            keys.only("attention_bias", false)?;
            keys.only("mlp_bias", false)?;
            Ok([false; 2])
        }
    }
}

/// The gate's activation. Gemma's older files say `gelu` where `transformers` computes the tanh approximation, and its
/// `hidden_activation` is read by nobody.
fn gate(keys: Keys, family: Family) -> Result<Activation, ConfigError> {
    if family != Family::Gemma {
        return activation(keys, "hidden_act", "silu");
    }
    match keys.text("hidden_act")? {
        Some("gelu") => Ok(Activation::GeluTanh),
        _ => activation(keys, "hidden_act", "gelu_pytorch_tanh"),
    }
}

/// Size of one head; without key or default, the heads share the hidden size.
fn head_dim(keys: Keys, hidden_size: usize, heads: usize, default: Option<usize>) -> Result<usize, ConfigError> {
    match keys.size("head_dim")?.or(default) {
        Some(size) => Ok(size),
        None if hidden_size.is_multiple_of(heads) => Ok(hidden_size / heads.max(1)),
        None => Err(ConfigError::Inconsistent(format!(
            "`hidden_size` of {hidden_size} is not a multiple of `num_attention_heads` = {heads}"
        ))),
    }
}

/// Mistral's window: 4096 when the key is absent, none when it is `null`. Qwen's is refused when it is in use, and layers of
/// different reach always.
fn window(keys: Keys, family: Family) -> Result<Option<usize>, ConfigError> {
    let window = match family {
        Family::Mistral if keys.has("sliding_window") => keys.size("sliding_window")?,
        Family::Mistral => Some(4096),
        Family::Qwen2 | Family::Qwen3 => {
            keys.only("use_sliding_window", false)?;
            None
        }
        Family::Llama | Family::Gemma | Family::Gpt2 => return Ok(None),
    };
    let uniform = if window.is_some() { "sliding_attention" } else { "full_attention" };
    match keys.texts("layer_types")?.unwrap_or_default().into_iter().find(|kind| *kind != uniform) {
        Some(kind) => Err(ConfigError::Unsupported {
            key: "layer_types".into(),
            value: kind.into(),
            supported: format!("`{uniform}` in every layer, as `sliding_window` says"),
        }),
        None => Ok(window),
    }
}
