//! GGUF's names of tensors, and Hugging Face's.

use crate::Family;

/// Hugging Face's name of a tensor; `None` for one that the family does not have.
pub(super) fn hugging_face(family: Family, name: &str) -> Option<String> {
    let (module, part) = name.rsplit_once('.')?;
    if let Some(rest) = module.strip_prefix("blk.") {
        let (layer, module) = rest.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        return in_block(family, module).map(|module| match family {
            Family::Gpt2 => format!("transformer.h.{layer}.{module}.{part}"),
            _ => format!("model.layers.{layer}.{module}.{part}"),
        });
    }
    outside(family, module).map(|module| format!("{module}.{part}"))
}

fn outside(family: Family, module: &str) -> Option<&'static str> {
    Some(match (module, family) {
        ("output", _) => "lm_head",
        ("token_embd", Family::Gpt2) => "transformer.wte",
        ("position_embd", Family::Gpt2) => "transformer.wpe",
        ("output_norm", Family::Gpt2) => "transformer.ln_f",
        ("token_embd", _) => "model.embed_tokens",
        ("output_norm", _) => "model.norm",
        _ => return None,
    })
}

fn in_block(family: Family, module: &str) -> Option<&'static str> {
    Some(match (module, family) {
        ("attn_norm", Family::Gpt2) => "ln_1",
        ("attn_qkv", Family::Gpt2) => "attn.c_attn",
        ("attn_output", Family::Gpt2) => "attn.c_proj",
        ("ffn_norm", Family::Gpt2) => "ln_2",
        ("ffn_up", Family::Gpt2) => "mlp.c_fc",
        ("ffn_down", Family::Gpt2) => "mlp.c_proj",
        (_, Family::Gpt2) => return None,
        ("attn_norm", _) => "input_layernorm",
        ("attn_q", _) => "self_attn.q_proj",
        ("attn_k", _) => "self_attn.k_proj",
        ("attn_v", _) => "self_attn.v_proj",
        ("attn_q_norm", _) => "self_attn.q_norm",
        ("attn_k_norm", _) => "self_attn.k_norm",
        ("attn_output", _) => "self_attn.o_proj",
        ("ffn_norm", _) => "post_attention_layernorm",
        ("ffn_gate", _) => "mlp.gate_proj",
        ("ffn_up", _) => "mlp.up_proj",
        ("ffn_down", _) => "mlp.down_proj",
        _ => return None,
    })
}
