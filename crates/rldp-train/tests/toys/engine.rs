//! A toy engine: one file, and nothing else in the repository knows of it.
//!
//! Its model predicts a number of the next token, sin(token), by a linear function of the adapter's parameters; its loss is half the
//! square of what is missing. It hands over every unit's gradient, and lets the caller clip and sum.

use rldp_model::{
    Adapter, Engine, ModelConfig, Sequence, SequenceLoss, UnitGradient, UnitInput, UnitSinks,
    engine::{EngineError, UnitInvariance},
};

/// A model without weights.
pub(crate) struct Line {
    pub(crate) config: ModelConfig,
}

/// What parameter `index` is multiplied by after `token`.
fn feature(index: usize, token: u32) -> f64 {
    (0.7 * index as f64 + 1.3 * f64::from(token) + 0.4).sin()
}

fn prediction(adapter: Option<&Adapter>, token: u32) -> f64 {
    let parameters = adapter.map_or(&[][..], Adapter::parameters);
    parameters.iter().enumerate().map(|(index, p)| f64::from(*p) * feature(index, token)).sum()
}

/// What is missing at every scored position, with the token before it.
fn residuals<'a>(adapter: Option<&'a Adapter>, sequence: &'a Sequence) -> impl Iterator<Item = (u32, f64)> + 'a {
    (sequence.scored_from.max(1)..sequence.tokens.len()).map(move |at| {
        let before = sequence.tokens[at - 1];
        (before, f64::from(sequence.tokens[at]).sin() - prediction(adapter, before))
    })
}

impl Engine for Line {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Every unit is computed by itself.
    fn unit_invariance(&self) -> UnitInvariance {
        UnitInvariance::Exact
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        let loss = |sequence: &Sequence| SequenceLoss {
            nll: residuals(adapter, sequence).map(|(_, missing)| 0.5 * missing * missing).sum(),
            tokens: sequence.scored_tokens(),
        };
        Ok(sequences.iter().map(loss).collect())
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        let mut sink = sinks.fork();
        for (index, unit) in units.iter().enumerate() {
            let (mut loss, mut gradient) = (0.0, vec![0.0_f32; adapter.parameters().len()]);
            for sequence in &unit.sequences {
                for (before, missing) in residuals(Some(adapter), sequence) {
                    let weight = f64::from(sequence.weight);
                    loss += 0.5 * weight * missing * missing;
                    let slopes = gradient.iter_mut().enumerate();
                    slopes.for_each(|(i, g)| *g -= (weight * missing * feature(i, before)) as f32);
                }
            }
            sink.add(index, UnitGradient { loss, gradient: &gradient });
        }
        Ok(())
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        let row = |token: &u32| {
            let predicted = prediction(adapter, *token);
            (0..self.config.vocab_size).map(move |v| (-(v as f64).sin() * predicted) as f32).collect::<Vec<_>>()
        };
        Ok(tokens.iter().flat_map(row).collect())
    }
}
