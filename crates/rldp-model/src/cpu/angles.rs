//! Cosines and sines of rotary positions.

use std::{collections::BTreeMap, ops::Range};

use crate::{ModelConfig, kernels::rope};

/// The tables that some sequences need: one for all lengths that turn alike. Empty without rotary positions.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    half: usize,
    /// By [`crate::Rope::class`] of the length.
    tables: BTreeMap<usize, Table>,
    class: Option<crate::Rope>,
}

/// Cosines and sines of each position, (positions, D / 2).
#[derive(Debug, Default)]
struct Table {
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Angles {
    /// Tables for sequences of the given lengths.
    pub(crate) fn new(config: &ModelConfig, lengths: impl IntoIterator<Item = usize>) -> Self {
        let Some(rope) = &config.rope else { return Self::default() };
        let mut longest: BTreeMap<usize, usize> = BTreeMap::new();
        for length in lengths {
            let most = longest.entry(rope.class(length)).or_default();
            *most = length.max(*most);
        }
        let table = |(class, length): (usize, usize)| (class, Table::new(config, length));
        Self { half: config.head_dim / 2, tables: longest.into_iter().map(table).collect(), class: Some(rope.clone()) }
    }

    /// Turns the first `turned` columns of every row (of `width`) to its position (`sign` 1) or back (`sign` −1).
    pub(crate) fn turn(&self, sequences: &[Range<usize>], rows: &mut [f32], width: usize, turned: usize, sign: f32) {
        let Some(rope) = &self.class else { return };
        for range in sequences.iter().filter(|range| !range.is_empty()) {
            let Some(table) = self.tables.get(&rope.class(range.len())) else { continue };
            let angles = table.cosines.chunks_exact(self.half).zip(table.sines.chunks_exact(self.half));
            let rows = rows[range.start * width..range.end * width].chunks_exact_mut(width);
            for (row, (cosines, sines)) in rows.zip(angles) {
                rope::rotate(&mut row[..turned], cosines, sines, sign);
            }
        }
    }
}

impl Table {
    fn new(config: &ModelConfig, length: usize) -> Self {
        let rotation = config.rope.as_ref().map(|rope| rope.rotation(config.head_dim, length)).unwrap_or_default();
        let turn = |position: usize| rotation.at(position);
        let (sines, cosines) = (0..length).flat_map(turn).unzip();
        Self { cosines, sines }
    }
}
