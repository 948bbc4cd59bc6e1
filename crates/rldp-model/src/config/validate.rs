//! Bounds on the sizes of a configuration, so that products cannot overflow and hostile files cannot make us allocate.

use super::{ConfigError, Family, ModelConfig, RopeScaling};

/// Largest product `heads · head_dim`, and largest width of any map.
const WIDTH: usize = 1 << 22;

/// Refuses sizes that are zero, beyond any model, or do not fit one another.
pub(super) fn check(config: &ModelConfig) -> Result<(), ConfigError> {
    let gpt2 = config.family == Family::Gpt2;
    let name = |gpt2_name, llama_name| if gpt2 { gpt2_name } else { llama_name };
    within("vocab_size", config.vocab_size, 1 << 24)?;
    within(name("n_embd", "hidden_size"), config.hidden_size, 1 << 20)?;
    within(name("n_inner", "intermediate_size"), config.intermediate_size, WIDTH)?;
    within(name("n_layer", "num_hidden_layers"), config.layers, 4096)?;
    within(name("n_head", "num_attention_heads"), config.heads, 1 << 16)?;
    within("num_key_value_heads", config.kv_heads, 1 << 16)?;
    within("head_dim", config.head_dim, 1 << 16)?;
    within(name("n_positions", "max_position_embeddings"), config.max_positions, 1 << 28)?;
    if let Some(window) = config.sliding_window {
        within("sliding_window", window, usize::MAX)?;
    }
    check_heads(config, gpt2)?;
    check_numbers(config)
}

fn check_heads(config: &ModelConfig, gpt2: bool) -> Result<(), ConfigError> {
    let ModelConfig { hidden_size, heads, kv_heads, head_dim, .. } = *config;
    if gpt2 && !hidden_size.is_multiple_of(heads) {
        return inconsistent(format!("`n_embd` of {hidden_size} is not a multiple of `n_head` = {heads}"));
    }
    if !heads.is_multiple_of(kv_heads) {
        return inconsistent(format!(
            "`num_attention_heads` of {heads} is not a multiple of `num_key_value_heads` = {kv_heads}"
        ));
    }
    if heads * head_dim > WIDTH {
        return inconsistent(format!("{heads} heads of {head_dim} features exceed a width of {WIDTH}"));
    }
    if config.rope.is_some() && !head_dim.is_multiple_of(2) {
        return inconsistent(format!("`head_dim` of {head_dim} is odd; rotary positions turn pairs of features"));
    }
    Ok(())
}

fn check_numbers(config: &ModelConfig) -> Result<(), ConfigError> {
    positive("norm epsilon", f64::from(config.norm_epsilon))?;
    let Some(rope) = &config.rope else { return Ok(()) };
    positive("rope_theta", rope.theta)?;
    match &rope.scaling {
        RopeScaling::None => Ok(()),
        &RopeScaling::Linear { factor } => positive("rope factor", factor),
        &RopeScaling::Dynamic { factor, .. } => {
            positive("rope factor", factor)?;
            if config.head_dim > 2 && factor >= 1.0 {
                return Ok(());
            }
            inconsistent(format!(
                "rope factor of {factor} with heads of {} features: dynamic positions need a factor of at least 1 and heads of \
                 more than 2 features",
                config.head_dim
            ))
        }
        &RopeScaling::Yarn { factor, beta_fast, beta_slow, original_max_positions, magnitude, .. } => {
            positive("rope factor", factor)?;
            positive("beta_fast", beta_fast)?;
            positive("beta_slow", beta_slow)?;
            positive("original_max_position_embeddings", original_max_positions)?;
            positive("attention_factor", magnitude)?;
            if rope.theta != 1.0 {
                return Ok(());
            }
            inconsistent("rope_theta of 1 leaves yarn nothing to scale".into())
        }
        RopeScaling::LongRope { short, long, original_max_positions, magnitude } => {
            positive("original_max_position_embeddings", *original_max_positions)?;
            positive("attention_factor", *magnitude)?;
            for (key, divisors) in [("short_factor", short), ("long_factor", long)] {
                divisors.iter().try_for_each(|divisor| positive(key, *divisor))?;
                if divisors.len() != config.head_dim / 2 {
                    return inconsistent(format!(
                        "`{key}` has {} numbers, but heads of {} features need {}",
                        divisors.len(),
                        config.head_dim,
                        config.head_dim / 2
                    ));
                }
            }
            Ok(())
        }
        &RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
            positive("rope factor", factor)?;
            positive("low_freq_factor", low_freq_factor)?;
            positive("original_max_position_embeddings", original_max_positions)?;
            if high_freq_factor > low_freq_factor {
                return Ok(());
            }
            inconsistent(format!(
                "`high_freq_factor` of {high_freq_factor} does not exceed `low_freq_factor` = {low_freq_factor}"
            ))
        }
    }
}

fn within(key: &'static str, value: usize, limit: usize) -> Result<(), ConfigError> {
    if (1..=limit).contains(&value) { Ok(()) } else { Err(ConfigError::Size { key, value, limit }) }
}

fn positive(what: &str, value: f64) -> Result<(), ConfigError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    inconsistent(format!("{what} of {value} is not a positive finite number"))
}

fn inconsistent(words: String) -> Result<(), ConfigError> {
    Err(ConfigError::Inconsistent(words))
}
