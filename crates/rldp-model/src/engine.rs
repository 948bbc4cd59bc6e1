//! What an engine computes: losses, logits and per-unit adapter gradients.
//!
//! An engine knows nothing of privacy. Its outputs are exact functions of the records; callers on the private path
//! wrap them as sensitive at once.

use std::{ops::Range, sync::OnceLock};

use crate::{
    Adapter, LinearSpec, ModelConfig, Pair,
    generate::{GenerateOptions, decode},
    sink::{InOrder, UnitGradient, UnitSinks},
    sum_rule::{SumRule, UnitSum},
    token_stats::{TokenStats, token_stats},
};

/// A piece of a record: at most one block of tokens. It is not printed.
///
/// Its loss is `weight · Σ_t NLL(tokens[t] | tokens[..t])` over the positions `t ≥ max(scored_from, 1)` that are not skipped.
#[derive(Clone, Copy)]
pub struct Sequence<'a> {
    /// Token ids, (T).
    pub tokens: &'a [u32],
    /// First position whose token is scored; position 0 is never scored, having no context.
    pub scored_from: usize,
    /// Positions from `scored_from` on whose tokens are context alone, in order and without overlap: what others say between two
    /// answers.
    pub skipped: &'a [Range<usize>],
    /// Factor on every scored token's NLL; 1 / (scored tokens of the record) gives the record's mean.
    pub weight: f32,
}

impl Sequence<'_> {
    /// Number of scored tokens.
    pub fn scored_tokens(&self) -> usize {
        self.scored().count()
    }

    /// Positions whose tokens are scored, in order; the logits of the position before each predict it.
    pub fn scored(&self) -> impl Iterator<Item = usize> + '_ {
        let first = self.scored_from.max(1);
        let ends = self.skipped.iter().map(|gap| gap.start).chain([self.tokens.len()]);
        let starts = std::iter::once(first).chain(self.skipped.iter().map(|gap| gap.end));
        starts.zip(ends).flat_map(move |(start, end)| start.max(first)..end.min(self.tokens.len()))
    }
}

/// All sequences of one privacy unit; the unit's loss is the sum of theirs. It is not printed.
#[derive(Clone)]
pub struct UnitInput<'a> {
    /// The unit's blocks.
    pub sequences: Vec<Sequence<'a>>,
}

/// Loss of one sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SequenceLoss {
    /// Unweighted sum of NLL over scored tokens, in nats.
    pub nll: f64,
    /// Number of scored tokens.
    pub tokens: usize,
}

/// Error of an engine: what failed, in words.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A sequence is longer than the model's positions.
    #[error(
        "a sequence of {length} tokens exceeds the model's {limit} positions; shorten it, or the blocks that records are cut into"
    )]
    TooLong {
        /// Tokens of the sequence.
        length: usize,
        /// The model's limit.
        limit: usize,
    },
    /// A token id is outside the vocabulary.
    #[error(
        "token id {token} is outside the model's vocabulary of {vocab}; the tokenizer does not belong to this model"
    )]
    UnknownToken {
        /// The id.
        token: u32,
        /// V.
        vocab: usize,
    },
    /// A pair of the adapter sits on no map of the model.
    #[error(
        "the adapter changes `{name}`, of {fan_in} to {fan_out} features, which the model does not have; \
         use the base model that the adapter was trained on"
    )]
    UnknownMap {
        /// The map's path.
        name: String,
        /// Its inputs.
        fan_in: usize,
        /// Its outputs.
        fan_out: usize,
    },
    /// The backend reported a failure.
    #[error("{0}")]
    Backend(String),
}

impl ModelConfig {
    /// Refuses a sequence that is longer than the positions or holds a token outside the vocabulary.
    pub fn check_tokens(&self, tokens: &[u32]) -> Result<(), EngineError> {
        if tokens.len() > self.max_positions {
            return Err(EngineError::TooLong { length: tokens.len(), limit: self.max_positions });
        }
        match tokens.iter().find(|token| **token as usize >= self.vocab_size) {
            Some(&token) => Err(EngineError::UnknownToken { token, vocab: self.vocab_size }),
            None => Ok(()),
        }
    }

    /// Refuses an adapter with a pair on a map that the model does not have, or has in another size.
    pub fn check_adapter(&self, adapter: &Adapter) -> Result<(), EngineError> {
        let maps = self.linears();
        let sizes = |map: &LinearSpec| (map.in_features, map.out_features);
        for Pair { linear, .. } in adapter.layout().pairs() {
            if !maps.iter().any(|map| map.name == linear.name && sizes(map) == sizes(linear)) {
                let (fan_in, fan_out) = sizes(linear);
                return Err(EngineError::UnknownMap { name: linear.name.clone(), fan_in, fan_out });
            }
        }
        Ok(())
    }
}

/// Whether what an engine finds of a privacy unit depends on that unit alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitInvariance {
    /// To the bit: a unit's loss and gradient are the same whoever else is in the batch, in whatever order, and however the
    /// work is cut. A unit that comes or goes then moves the sum of clipped gradients by its own contribution and nothing else,
    /// which is what a proof of sensitivity takes for granted.
    Exact,
    /// Nothing is promised: the arithmetic is a library's, which may choose an order of sums by the shape of a batch.
    Unknown,
}

/// Computes losses and per-unit gradients of one model.
pub trait Engine: Send {
    /// The model's architecture.
    fn config(&self) -> &ModelConfig;

    /// Whether a unit's gradient depends on that unit alone; a run that promises privacy takes no engine that cannot say so.
    fn unit_invariance(&self) -> UnitInvariance;

    /// Loss of each sequence, in input order. `adapter` of `None` means the base model.
    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError>;

    /// Gives every unit's gradient to a part of `sinks`, one part for each worker. A unit without scored tokens has gradient
    /// zero.
    ///
    /// Memory does not grow with the number of units: sequences are processed in micro-batches, and a unit larger than a
    /// micro-batch is accumulated over several.
    ///
    /// # Errors
    /// When a sequence does not fit the model, or the backend fails. Some units were given then.
    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError>;

    /// Calls `visit(index, gradient)` once for every unit, in input order.
    ///
    /// # Errors
    /// As [`Engine::unit_gradients`].
    fn for_each_unit_gradient(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        visit: &mut (dyn FnMut(usize, UnitGradient) + Send),
    ) -> Result<(), EngineError> {
        self.unit_gradients(adapter, units, &InOrder::new(visit))
    }

    /// The integer sum of all units by a public rule, from an engine whose gradients are far from the caller: on a device. It is
    /// equal to the bit to what the caller's own sum of the same gradients would be. `None` where the engine leaves it to the
    /// caller, which it may decide from call to call.
    ///
    /// # Errors
    /// As [`Engine::unit_gradients`].
    fn summed(
        &mut self,
        _adapter: &Adapter,
        _units: &[UnitInput],
        _rule: &SumRule,
    ) -> Result<Option<UnitSum>, EngineError> {
        Ok(None)
    }

    /// Resident bytes that training takes at most, where the engine knows: with an adapter of `adapter_parameters` numbers,
    /// `past_bytes` of each kept of earlier steps, and sequences of `longest` tokens.
    fn peak_memory(&self, _adapter_parameters: usize, _past_bytes: usize, _longest: usize) -> Option<usize> {
        None
    }

    /// Continues `prompt`; returns the new tokens only. Reads the whole text again for every token, unless the engine keeps what it
    /// has read.
    ///
    /// # Errors
    /// When the prompt is empty, longer than the model's positions, or holds an unknown token; or the backend fails.
    fn generate(
        &mut self,
        adapter: Option<&Adapter>,
        prompt: &[u32],
        options: &GenerateOptions,
    ) -> Result<Vec<u32>, EngineError> {
        let (config, mut read) = (self.config().clone(), Vec::new());
        decode(&config, prompt, options, |tokens| {
            read.extend_from_slice(tokens);
            let mut logits = self.logits(adapter, &read)?;
            Ok(logits.split_off(logits.len() - config.vocab_size))
        })
    }

    /// Logits of every position of one sequence, row-major (T, V).
    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError>;

    /// Calls `visit(index, logits)` once for every sequence, in any order and from any thread. Unlike a list of all logits, this
    /// needs memory for as many as are visited at once.
    fn for_each_logits(
        &mut self,
        adapter: Option<&Adapter>,
        sequences: &[&[u32]],
        visit: &(dyn Fn(usize, &[f32]) + Sync),
    ) -> Result<(), EngineError> {
        for (index, tokens) in sequences.iter().enumerate() {
            visit(index, &self.logits(adapter, tokens)?);
        }
        Ok(())
    }

    /// What the model says of the scored tokens of every sequence, in input order; of a sequence alone, whoever else is asked about.
    ///
    /// # Errors
    /// As [`Engine::losses`].
    fn token_statistics(
        &mut self,
        adapter: Option<&Adapter>,
        sequences: &[Sequence],
    ) -> Result<Vec<Vec<TokenStats>>, EngineError> {
        let found: Vec<OnceLock<Vec<TokenStats>>> = sequences.iter().map(|_| OnceLock::new()).collect();
        let tokens: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.tokens).collect();
        self.for_each_logits(adapter, &tokens, &|index, logits| {
            found[index].get_or_init(|| token_stats(logits, tokens[index], sequences[index].scored()));
        })?;
        Ok(found.into_iter().map(|stats| stats.into_inner().expect("an engine visits every sequence")).collect())
    }
}
