//! The tensors that a configuration needs, by their Hugging Face names.

use super::{Family, LinearSpec, ModelConfig};

/// Name and shape of one tensor of the base model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Full name, such as `model.layers.0.input_layernorm.weight`.
    pub name: String,
    /// Shape as stored.
    pub shape: Vec<usize>,
}

impl LinearSpec {
    /// Shape of the stored weight: (out, in), or (in, out) when `transposed`.
    pub fn weight_shape(&self) -> [usize; 2] {
        if self.transposed { [self.in_features, self.out_features] } else { [self.out_features, self.in_features] }
    }
}

impl ModelConfig {
    /// Name of the token embedding, (V, C).
    pub fn embedding_name(&self) -> &'static str {
        match self.family {
            Family::Gpt2 => "transformer.wte.weight",
            _ => "model.embed_tokens.weight",
        }
    }

    /// Name of the output head's matrix, (V, C): the embedding when tied.
    pub fn head_name(&self) -> &'static str {
        if self.tie_word_embeddings { self.embedding_name() } else { "lm_head.weight" }
    }

    /// Name of the learned position embedding, (positions, C); `None` where positions are rotary.
    pub fn position_name(&self) -> Option<&'static str> {
        (self.family == Family::Gpt2).then_some("transformer.wpe.weight")
    }

    /// Modules of the norms of one block: before attention and before the MLP. GPT-2's have `.weight` and `.bias`, the
    /// others `.weight` alone.
    pub fn block_norms(&self, layer: usize) -> [String; 2] {
        match self.family {
            Family::Gpt2 => ["ln_1", "ln_2"].map(|name| format!("transformer.h.{layer}.{name}")),
            _ => ["input_layernorm", "post_attention_layernorm"].map(|name| format!("model.layers.{layer}.{name}")),
        }
    }

    /// Modules of the norms of a block's query and key heads, whose weights are (D); only Qwen 3 has them.
    pub fn head_norms(&self, layer: usize) -> Option<[String; 2]> {
        let norms = ["q_norm", "k_norm"].map(|name| format!("model.layers.{layer}.self_attn.{name}"));
        (self.family == Family::Qwen3).then_some(norms)
    }

    /// Module of the norm before the output head.
    pub fn final_norm(&self) -> &'static str {
        match self.family {
            Family::Gpt2 => "transformer.ln_f",
            _ => "model.norm",
        }
    }

    /// Every tensor of the base model, in the order of the forward pass; a tied head is not listed again.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let (v, c) = (self.vocab_size, self.hidden_size);
        let mut tensors = vec![spec(self.embedding_name(), &[v, c])];
        tensors.extend(self.position_name().map(|name| spec(name, &[self.max_positions, c])));
        for layer in 0..self.layers {
            for norm in self.block_norms(layer) {
                self.push_norm(&norm, &mut tensors);
            }
            for norm in self.head_norms(layer).into_iter().flatten() {
                tensors.push(spec(&format!("{norm}.weight"), &[self.head_dim]));
            }
            for linear in self.block_linears(layer) {
                tensors.push(spec(&format!("{}.weight", linear.name), &linear.weight_shape()));
                if linear.bias {
                    tensors.push(spec(&format!("{}.bias", linear.name), &[linear.out_features]));
                }
            }
        }
        self.push_norm(self.final_norm(), &mut tensors);
        if !self.tie_word_embeddings {
            tensors.push(spec(self.head_name(), &[v, c]));
        }
        tensors
    }

    /// Parameters of the base model, a tied head counted once.
    pub fn parameter_count(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }

    fn push_norm(&self, module: &str, tensors: &mut Vec<TensorSpec>) {
        tensors.push(spec(&format!("{module}.weight"), &[self.hidden_size]));
        if self.family == Family::Gpt2 {
            tensors.push(spec(&format!("{module}.bias"), &[self.hidden_size]));
        }
    }
}

fn spec(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), shape: shape.to_vec() }
}
