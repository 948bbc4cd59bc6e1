//! Where each adapter pair lies in the flat parameter vector.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::config::LinearSpec;

/// One adapter pair (A, B) on one linear map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The adapted map.
    pub linear: LinearSpec,
    /// Range of A, row-major (R, in), in the flat vector.
    pub a: Range<usize>,
    /// Range of B, row-major (out, R), in the flat vector; starts where A ends.
    pub b: Range<usize>,
    /// Whether A is trained; B always is.
    pub trains_a: bool,
}

impl Pair {
    /// Range of what is trained: A followed by B, or B alone.
    pub fn range(&self) -> Range<usize> {
        if self.trains_a { self.a.start..self.b.end } else { self.b.clone() }
    }

    /// d_i, the number of trained parameters of the pair.
    pub fn parameter_count(&self) -> usize {
        self.range().len()
    }
}

/// The K pairs of an adapter, in model order, laid out one after another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterLayout {
    rank: usize,
    lora_alpha: f64,
    target_modules: Vec<String>,
    pairs: Vec<Pair>,
}

impl AdapterLayout {
    /// Lays out pairs of rank R over `linears`, in the order given. `target_modules` are PEFT's names, kept for export.
    pub fn new(rank: usize, lora_alpha: f64, target_modules: Vec<String>, linears: Vec<LinearSpec>) -> Self {
        let mut offset = 0;
        let mut take = |length: usize| {
            let range = offset..offset + length;
            offset = range.end;
            range
        };
        let pairs = linears
            .into_iter()
            .map(|linear| Pair {
                a: take(rank * linear.in_features),
                b: take(linear.out_features * rank),
                trains_a: true,
                linear,
            })
            .collect();
        Self { rank, lora_alpha, target_modules, pairs }
    }

    /// The same layout with every A frozen at its start (FFA-LoRA of Sun et al., arXiv 2403.12313): engines leave its
    /// gradient at zero, and it needs no noise.
    #[must_use]
    pub fn with_frozen_a(mut self) -> Self {
        self.pairs.iter_mut().for_each(|pair| pair.trains_a = false);
        self
    }

    /// R, the rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// PEFT's `lora_alpha`.
    pub fn lora_alpha(&self) -> f64 {
        self.lora_alpha
    }

    /// `lora_alpha / R`, the factor on `B A x`.
    pub fn scaling(&self) -> f32 {
        (self.lora_alpha / self.rank as f64) as f32
    }

    /// PEFT's `target_modules`.
    pub fn target_modules(&self) -> &[String] {
        &self.target_modules
    }

    /// The K pairs.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// P, the number of parameters of all pairs.
    pub fn parameter_count(&self) -> usize {
        self.pairs.last().map_or(0, |pair| pair.b.end)
    }

    /// Number of trained parameters of all pairs.
    pub fn trained_count(&self) -> usize {
        self.pairs.iter().map(Pair::parameter_count).sum()
    }
}
