//! `config.json` of the supported families: sizes, defaults, both formats of RoPE, and what is refused.

#![allow(clippy::unwrap_used)] // helpers of tests

use proptest::prelude::*;
use rldp_model::{Activation, Family, ModelConfig, RopeScaling};
use serde_json::{Value, json};

fn read(value: &Value) -> ModelConfig {
    ModelConfig::from_json(&value.to_string()).unwrap()
}

fn refusal(value: &Value) -> String {
    ModelConfig::from_json(&value.to_string()).unwrap_err().to_string()
}

fn llama_3_2_1b() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu",
        "hidden_size": 2048, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
        "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05, "rope_scaling": {
            "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"
        },
        "rope_theta": 500000.0, "tie_word_embeddings": true, "vocab_size": 128256
    })
}

#[test]
fn absent_keys_take_the_defaults_of_transformers() {
    // The defaults are GPT-2 small, Llama-2 7B and Mistral 7B v0.1, whose parameter counts are public.
    let gpt2 = read(&json!({"model_type": "gpt2"}));
    assert_eq!(gpt2.parameter_count(), 124_439_808);
    assert_eq!((gpt2.activation, gpt2.intermediate_size), (Activation::GeluTanh, 3072));
    assert!(gpt2.tie_word_embeddings && gpt2.rope.is_none());
    assert_eq!(gpt2.eos_token_ids, [50256]);

    let llama = read(&json!({"model_type": "llama"}));
    assert_eq!(llama.parameter_count(), 6_738_415_616);
    assert_eq!((llama.max_positions, llama.head_dim, llama.kv_heads), (2048, 128, 32));
    assert!(!llama.tie_word_embeddings && llama.sliding_window.is_none());
    assert_eq!((llama.bos_token_id, llama.eos_token_ids), (Some(1), vec![2]));

    let mistral = read(&json!({"model_type": "mistral"}));
    assert_eq!(mistral.parameter_count(), 7_241_732_096);
    assert_eq!((mistral.sliding_window, mistral.kv_heads, mistral.max_positions), (Some(4096), 8, 131_072));
}

#[test]
fn llama_3_2_is_read_whole() {
    let config = read(&llama_3_2_1b());
    assert_eq!(config.parameter_count(), 1_235_814_400);
    assert_eq!(config.eos_token_ids, [128001, 128008, 128009]);
    let rope = config.rope.unwrap();
    assert_eq!(
        rope.scaling,
        RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 8192.0
        }
    );
    // inv_freq of transformers 5.24's LlamaRotaryEmbedding, every eighth.
    let frequencies = rope.rotation(config.head_dim, 8).frequencies;
    for (index, expected) in [(0, 1.0), (8, 3.760603070e-02), (16, 4.295567051e-04), (24, 1.661967417e-06)] {
        let error = (f64::from(frequencies[index]) / expected - 1.0).abs();
        assert!(error < 1e-6, "frequency {index} is {}, expected {expected}", frequencies[index]);
    }
}

#[test]
fn rope_reads_alike_in_old_and_new_format() {
    let mut new = llama_3_2_1b();
    let mut parameters = new["rope_scaling"].take();
    parameters["rope_theta"] = new["rope_theta"].take();
    new["rope_parameters"] = parameters;
    assert_eq!(read(&new), read(&llama_3_2_1b()));

    let linear = json!({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 4.0}});
    let rope = read(&linear).rope.unwrap();
    assert_eq!((rope.theta, &rope.scaling), (10000.0, &RopeScaling::Linear { factor: 4.0 }));
    assert_eq!(rope.rotation(64, 8).frequencies[0], 0.25);

    let plain = json!({"model_type": "mistral", "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}});
    let rope = read(&plain).rope.unwrap();
    assert_eq!((rope.theta, rope.scaling), (1e6, RopeScaling::None));
}

#[test]
fn rope_for_long_contexts_takes_its_defaults_from_what_is_given() {
    let rope = |scaling: Value| {
        read(&json!({"model_type": "llama", "max_position_embeddings": 4096, "rope_scaling": scaling})).rope.unwrap()
    };
    let magnitude = |scaling: Value| f64::from(rope(scaling).rotation(128, 8).magnitude);
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
    near(magnitude(json!({"type": "yarn", "factor": 4.0})), 0.1 * 4f64.ln() + 1.0);
    near(
        magnitude(json!({"type": "yarn", "factor": null, "original_max_position_embeddings": 512})),
        0.1 * 8f64.ln() + 1.0,
    );
    near(magnitude(json!({"type": "yarn", "factor": 4.0, "attention_factor": 0.5})), 0.5);
    near(magnitude(json!({"type": "yarn", "factor": 40.0, "mscale": 0.707, "mscale_all_dim": 0.707})), 1.0);
    let ones = vec![1.0; 64];
    let long =
        json!({"type": "longrope", "short_factor": ones, "long_factor": ones, "original_max_position_embeddings": 512});
    near(magnitude(long), (1.0 + 8f64.ln() / 512f64.ln()).sqrt());

    // The longest sequence of dynamic positions is beyond that of pretraining.
    let dynamic = read(&json!({
        "model_type": "llama", "max_position_embeddings": 4096, "rope_scaling": {"type": "dynamic", "factor": 2.0}
    }));
    assert_eq!(dynamic.max_positions, 8192);
    let rope = dynamic.rope.unwrap();
    assert_eq!(rope.rotation(128, 10), rope.rotation(128, 4096));
    assert!(rope.rotation(128, 4097).frequencies[9] < rope.rotation(128, 4096).frequencies[9]);
    assert_eq!([10, 4096, 4097].map(|length| rope.class(length)), [0, 0, 4097]);
}

#[test]
fn gemma_reads_one_name_of_its_activation_as_transformers_does() {
    let gemma = |key: &str, value: &str| read(&json!({"model_type": "gemma", key: value})).activation;
    assert_eq!(gemma("hidden_act", "gelu"), Activation::GeluTanh);
    assert_eq!(gemma("hidden_act", "silu"), Activation::Silu);
    assert_eq!(gemma("hidden_activation", "gelu"), Activation::GeluTanh);
}

#[test]
fn null_and_absent_differ_where_transformers_says_so() {
    assert_eq!(read(&json!({"model_type": "mistral", "sliding_window": null})).sliding_window, None);
    assert_eq!(read(&json!({"model_type": "mistral", "num_key_value_heads": null})).kv_heads, 32);
    assert_eq!(read(&json!({"model_type": "llama", "num_key_value_heads": null})).kv_heads, 32);
    assert_eq!(read(&json!({"model_type": "llama", "eos_token_id": null})).eos_token_ids, [0u32; 0]);
    // Llama has no window, whatever a file says.
    assert_eq!(read(&json!({"model_type": "llama", "sliding_window": 8})).sliding_window, None);
}

#[test]
fn the_architecture_may_be_named_by_class_alone() {
    assert_eq!(read(&json!({"architectures": ["MistralForCausalLM"]})).family, Family::Mistral);
}

#[test]
fn special_tokens_outside_the_vocabulary_are_dropped() {
    let config = read(&json!({"model_type": "gpt2", "vocab_size": 100, "eos_token_id": [7, 50256]}));
    assert_eq!((config.bos_token_id, config.eos_token_ids), (None, vec![7]));
}

#[test]
fn options_that_leave_the_mathematics_alone_are_accepted() {
    let config = json!({
        "model_type": "gpt2", "reorder_and_upcast_attn": true, "resid_pdrop": 0.3, "use_cache": false, "n_ctx": 7,
        "scale_attn_weights": true, "scale_attn_by_inverse_layer_idx": false,
    });
    assert_eq!(read(&config), read(&json!({"model_type": "gpt2"})));
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let cases = [
        (
            json!({"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"]}),
            "`model_type` of `gemma2` is not supported; supported: gpt2, llama, mistral, qwen2, qwen3, gemma",
        ),
        (json!({"hidden_size": 8}), "neither `model_type` nor `architectures`"),
        (
            json!({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}),
            "`architectures` of `LlamaForSequenceClassification` is not supported; supported: GPT2LMHeadModel",
        ),
        (json!({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": true}), "scale_attn_by_inverse_layer_idx"),
        (json!({"model_type": "gpt2", "scale_attn_weights": false}), "`scale_attn_weights` of `false`"),
        (json!({"model_type": "gpt2", "add_cross_attention": true}), "add_cross_attention"),
        (json!({"model_type": "gpt2", "activation_function": "relu"}), "`activation_function` of `relu`"),
        (json!({"model_type": "llama", "hidden_act": "mish"}), "supported: gelu_new"),
        (
            json!({"model_type": "llama", "rope_scaling": {"rope_type": "su", "factor": 4.0}}),
            "`rope_scaling.rope_type` of `su` is not supported; supported: default, linear, dynamic, llama3, yarn, longrope",
        ),
        (json!({"model_type": "llama", "partial_rotary_factor": 0.5}), "partial_rotary_factor"),
        (json!({"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}), "quantization_config"),
        (json!({"model_type": "mistral", "layer_types": ["sliding_attention", "full_attention"]}), "layer_types"),
        (json!({"model_type": "mistral", "attention_bias": true}), "`attention_bias` of `true`"),
    ];
    for (config, expected) in cases {
        let message = refusal(&config);
        assert!(message.contains(expected), "{config}: {message}");
    }
}

#[test]
fn broken_values_are_refused_with_their_key() {
    let cases = [
        (json!([1]), "not a JSON object"),
        (json!({"model_type": "gpt2", "n_head": 7}), "`n_embd` of 768 is not a multiple of `n_head` = 7"),
        (json!({"model_type": "gpt2", "n_head": 0}), "`n_head` of 0 is outside 1..=65536"),
        (json!({"model_type": "gpt2", "n_layer": 1_000_000}), "`n_layer` of 1000000 is outside 1..=4096"),
        (
            json!({"model_type": "gpt2", "vocab_size": "many"}),
            "`vocab_size` should be a whole number ≥ 0, but is \"many\"",
        ),
        (json!({"model_type": "gpt2", "vocab_size": -1}), "`vocab_size` should be"),
        (json!({"model_type": "llama", "num_key_value_heads": 5}), "not a multiple of `num_key_value_heads` = 5"),
        (json!({"model_type": "llama", "num_attention_heads": 3}), "not a multiple of `num_attention_heads` = 3"),
        (json!({"model_type": "llama", "head_dim": 7}), "`head_dim` of 7 is odd"),
        (json!({"model_type": "llama", "rms_norm_eps": 0.0}), "norm epsilon of 0"),
        (json!({"model_type": "llama", "rope_theta": -1.0}), "rope_theta of -1"),
        (json!({"model_type": "llama", "rope_scaling": {"rope_type": "linear"}}), "`rope_scaling.factor` is missing"),
        (
            json!({"model_type": "llama", "rope_scaling":
                {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}}),
            "does not exceed `low_freq_factor`",
        ),
    ];
    for (config, expected) in cases {
        let message = refusal(&config);
        assert!(message.contains(expected), "{config}: {message}");
    }
    assert!(ModelConfig::from_json("{\"model_type\": ").unwrap_err().to_string().starts_with("not valid JSON"));
}

const KEYS: [&str; 12] = [
    "vocab_size",
    "hidden_size",
    "n_embd",
    "n_inner",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "sliding_window",
    "rope_scaling",
];

fn hostile_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(|x| json!(x)),
        (0u64..5000).prop_map(|x| json!(x)),
        any::<i64>().prop_map(|x| json!(x)),
        any::<f64>().prop_map(|x| json!(x)),
        Just(json!(null)),
        Just(json!({"rope_type": "linear", "factor": 0.0})),
        Just(json!([])),
    ]
}

proptest! {
    /// Whatever a file holds, it is refused or gives sizes whose products neither overflow nor lack a bound.
    #[test]
    fn hostile_files_neither_panic_nor_overflow(
        family in prop::sample::select(vec!["gpt2", "llama", "mistral"]),
        values in prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), hostile_value(), 0..4),
    ) {
        let mut object = json!({"model_type": family});
        for (key, value) in values {
            object[key] = value;
        }
        if let Ok(config) = ModelConfig::from_json(&object.to_string()) {
            prop_assert!(config.parameter_count() < 1 << 62);
            prop_assert!(config.linears().len() <= 4096 * 7);
            prop_assert_eq!(config.heads % config.kv_heads, 0);
        }
    }
}
