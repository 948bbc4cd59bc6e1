//! Decoding with a cache of keys and values.

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use crate::{
    Adapter, EngineError, ModelConfig,
    config::LinearKind,
    cpu::{
        Columns, CpuEngine, Prepared, Products, all_logits, embed, find, head_groups,
        head_norm::{self, HeadNormCache},
        pair_index,
    },
    kernels::{activation, attention, norm, norm::RowStatistics},
};

pub use crate::sampling::Sampling;

/// How text is continued.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens to add.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Seed of the sampling.
    pub seed: u64,
    /// Tokens that end the text; they are not returned.
    pub stop_tokens: Vec<u32>,
}

/// Continues `prompt`; returns the new tokens only. Stops early at the model's last position.
///
/// # Errors
/// When the prompt is empty, longer than the model's positions, or holds an unknown token.
pub fn generate(
    engine: &CpuEngine,
    adapter: Option<&Adapter>,
    prompt: &[u32],
    options: &GenerateOptions,
) -> Result<Vec<u32>, EngineError> {
    let mut decoder = Decoder::new(engine, adapter)?;
    decode(&engine.model().config, prompt, options, |tokens| Ok(decoder.feed(tokens)))
}

/// The same with any decoder: `feed` adds tokens to what it has read, and returns the logits after the last one (V).
///
/// # Errors
/// When the prompt is empty, longer than the model's positions, or holds an unknown token; or the decoder fails.
pub fn decode(
    config: &ModelConfig,
    prompt: &[u32],
    options: &GenerateOptions,
    mut feed: impl FnMut(&[u32]) -> Result<Vec<f32>, EngineError>,
) -> Result<Vec<u32>, EngineError> {
    config.check_tokens(prompt)?;
    if prompt.is_empty() {
        return Err(EngineError::Backend("the prompt has no tokens; give at least one word".into()));
    }
    let mut rng = ChaCha12Rng::seed_from_u64(options.seed);
    let mut logits = finite(feed(prompt)?)?;
    let mut text = prompt.to_vec();
    while text.len() - prompt.len() < options.max_new_tokens {
        let token = options.sampling.next(&logits, &text, &mut rng);
        if options.stop_tokens.contains(&token) {
            break;
        }
        text.push(token);
        if text.len() >= config.max_positions {
            break;
        }
        logits = finite(feed(&[token])?)?;
    }
    Ok(text.split_off(prompt.len()))
}

/// Logits of damaged weights say nothing: the likeliest of them would be a token as any other.
fn finite(logits: Vec<f32>) -> Result<Vec<f32>, EngineError> {
    if logits.iter().all(|logit| logit.is_finite()) {
        return Ok(logits);
    }
    Err(EngineError::Backend(
        "the model's logits are not finite; its weights are damaged or of another architecture".into(),
    ))
}

/// A sequence in progress: fused rows of queries, keys and values of every block.
struct Decoder<'a> {
    engine: &'a CpuEngine,
    adapter: Option<Prepared<'a>>,
    pairs: Vec<Vec<Option<usize>>>,
    cache: Vec<Vec<f32>>,
    length: usize,
    /// In f32: for one row, rounding the matrices to bf16 would cost more than the products.
    products: Products,
}

impl<'a> Decoder<'a> {
    fn new(engine: &'a CpuEngine, adapter: Option<&'a Adapter>) -> Result<Self, EngineError> {
        let model = engine.model();
        Ok(Self {
            engine,
            pairs: pair_index(model, adapter)?,
            adapter: adapter.map(Prepared::new),
            cache: vec![Vec::new(); model.blocks.len()],
            length: 0,
            products: Products::default(),
        })
    }

    /// Adds tokens; returns the logits after the last one (V).
    fn feed(&mut self, tokens: &[u32]) -> Vec<f32> {
        let model = self.engine.model();
        let positions: Vec<usize> = (self.length..self.length + tokens.len()).collect();
        let mut stream = Vec::new();
        embed(model, tokens, &positions, &mut stream);
        for layer in 0..model.blocks.len() {
            self.attention(layer, &positions, &mut stream);
            self.mlp(layer, tokens.len(), &mut stream);
        }
        self.length += tokens.len();
        let last = stream.split_off(stream.len() - model.config.hidden_size);
        let normed = self.normed(&model.final_norm, &last);
        all_logits(model, &mut self.products, &normed)
    }

    fn attention(&mut self, layer: usize, positions: &[usize], stream: &mut [f32]) {
        let model = self.engine.model();
        let config = &model.config;
        let (rows, width, out_width) = (positions.len(), model.fused_width(), model.attention_width());
        let input = self.normed(&model.blocks[layer].norms[0], stream);
        let mut fused = vec![0.0; rows * width];
        for kind in [LinearKind::QueryKeyValue, LinearKind::Query, LinearKind::Key, LinearKind::Value] {
            let offset = match kind {
                LinearKind::Key => config.heads * config.head_dim,
                LinearKind::Value => (config.heads + config.kv_heads) * config.head_dim,
                _ => 0,
            };
            self.apply(layer, kind, rows, &input, &mut fused, Columns { offset, stride: width });
        }
        head_norm::forward(model, &model.blocks[layer], &mut fused, &mut HeadNormCache::default());
        self.turn(positions, &mut fused);
        self.cache[layer].extend(&fused);
        let mut attended = vec![0.0; rows * out_width];
        let mut lse = vec![0.0; rows * config.heads];
        for group in head_groups(model) {
            attention::forward(
                group,
                &self.cache[layer],
                rows,
                &mut attended[group.query..],
                out_width,
                &mut lse,
                rows,
            );
        }
        self.branch(layer, LinearKind::AttentionOutput, rows, &attended, stream);
    }

    /// Turns queries and keys of new rows; those of former rows stay as they were turned.
    fn turn(&self, positions: &[usize], fused: &mut [f32]) {
        let model = self.engine.model();
        let Some(rope) = &model.config.rope else { return };
        let rotation = rope.rotation(model.config.head_dim, positions.last().map_or(0, |last| last + 1));
        let turned = model.turned_width();
        for (row, &position) in fused.chunks_exact_mut(model.fused_width()).zip(positions) {
            let (sines, cosines): (Vec<f32>, Vec<f32>) = rotation.at(position).unzip();
            crate::kernels::rope::rotate(&mut row[..turned], &cosines, &sines, 1.0);
        }
    }

    fn mlp(&mut self, layer: usize, rows: usize, stream: &mut [f32]) {
        let model = self.engine.model();
        let width = model.config.intermediate_size;
        let input = self.normed(&model.blocks[layer].norms[1], stream);
        let (mut first, mut second) = (vec![0.0; rows * width], vec![0.0; rows * width]);
        self.apply(layer, LinearKind::MlpUp, rows, &input, &mut second, Columns::all(width));
        let gated = self.apply(layer, LinearKind::MlpGate, rows, &input, &mut first, Columns::all(width));
        let mut activated = vec![0.0; rows * width];
        let kind = model.config.activation;
        if gated {
            activation::forward(kind, &first, Some(&second), &mut activated);
        } else {
            activation::forward(kind, &second, None, &mut activated);
        }
        self.branch(layer, LinearKind::MlpDown, rows, &activated, stream);
    }

    /// Runs the block's map of a kind; tells whether there is one.
    fn apply(
        &mut self,
        layer: usize,
        kind: LinearKind,
        rows: usize,
        x: &[f32],
        out: &mut [f32],
        columns: Columns,
    ) -> bool {
        let model = self.engine.model();
        let Some((map, linear)) = find(&model.blocks[layer], kind) else { return false };
        let pair = self.adapter.as_ref().zip(self.pairs[layer][map]).map(|(adapter, index)| adapter.pair(index));
        linear.forward(model, &mut self.products, rows, x, pair, &mut Vec::new(), out, columns, false);
        true
    }

    fn branch(&mut self, layer: usize, kind: LinearKind, rows: usize, x: &[f32], stream: &mut [f32]) {
        let mut out = vec![0.0; stream.len()];
        self.apply(layer, kind, rows, x, &mut out, Columns::all(stream.len() / rows));
        stream.iter_mut().zip(&out).for_each(|(stream, out)| *stream += out);
    }

    fn normed(&self, norm: &crate::cpu::Norm, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        let mut statistics = vec![RowStatistics::default(); x.len() / norm.weight.len()];
        let epsilon = self.engine.model().config.norm_epsilon;
        norm::forward(x, &norm.weight, norm.bias.as_deref(), epsilon, &mut out, &mut statistics);
        out
    }
}
