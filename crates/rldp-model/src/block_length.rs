//! How many tokens a record is read in at once, when nobody says.

use crate::{Family, ModelConfig};

/// Shorter blocks tell a model too little, whatever the memory.
const LEAST: usize = 128;
/// Longer blocks are left to the person who asks for them: attention costs their square.
const MOST: usize = 1024;
/// Memory for the activations of one block on one core at most, in bytes.
const ACTIVATION_BYTES: usize = 1 << 30;

impl ModelConfig {
    /// The block length that suits the model and a memory of `core_bytes` for each core: the longest power of two from 128 to 1,024
    /// tokens whose activations take a quarter of that memory and a GiB at most, within the model's positions. It depends on no record.
    pub fn default_block_length(&self, core_bytes: usize) -> usize {
        let mlp = if self.family == Family::Gpt2 { 1 } else { 2 } * self.intermediate_size;
        let projected = 2 * (self.heads + self.kv_heads) * self.head_dim;
        let token_bytes = 4 * self.layers * (2 * self.hidden_size + projected + mlp);
        let fitting = (core_bytes / 4).min(ACTIVATION_BYTES) / token_bytes.max(1);
        let mut length = LEAST;
        while length < MOST && 2 * length <= fitting {
            length *= 2;
        }
        length.min(self.max_positions)
    }
}
