//! Long work on behalf of a program that called can be stopped between its pieces.

use rldp_model::{
    Adapter, Engine, EngineError, ModelConfig, Sequence, SequenceLoss, SumRule, UnitInput, UnitInvariance, UnitSinks,
    UnitSum, generate::GenerateOptions,
};

use crate::host;

/// The engine as it is, or where a program called, one that asks it between pieces whether to go on.
pub(crate) fn watched(engine: Box<dyn Engine>) -> Box<dyn Engine> {
    if host::current().is_some() { Box::new(Watched(engine)) } else { engine }
}

/// Sequences of a piece, for each of the machine's threads.
const PIECE: usize = 16;

struct Watched(Box<dyn Engine>);

impl Watched {
    /// Refuses to go on when the program wants so.
    fn ask() -> Result<(), EngineError> {
        if host::wants_to_stop() { Err(EngineError::Backend("stopped".into())) } else { Ok(()) }
    }
}

fn piece() -> usize {
    PIECE * std::thread::available_parallelism().map_or(1, usize::from)
}

impl Engine for Watched {
    fn config(&self) -> &ModelConfig {
        self.0.config()
    }

    fn unit_invariance(&self) -> UnitInvariance {
        self.0.unit_invariance()
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        let mut found = Vec::with_capacity(sequences.len());
        for piece in sequences.chunks(piece()) {
            Self::ask()?;
            found.extend(self.0.losses(adapter, piece)?);
        }
        Ok(found)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        Self::ask()?;
        self.0.unit_gradients(adapter, units, sinks)
    }

    fn summed(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        rule: &SumRule,
    ) -> Result<Option<UnitSum>, EngineError> {
        Self::ask()?;
        self.0.summed(adapter, units, rule)
    }

    fn peak_memory(&self, adapter_parameters: usize, past_bytes: usize, longest: usize) -> Option<usize> {
        self.0.peak_memory(adapter_parameters, past_bytes, longest)
    }

    fn generate(
        &mut self,
        adapter: Option<&Adapter>,
        prompt: &[u32],
        options: &GenerateOptions,
    ) -> Result<Vec<u32>, EngineError> {
        Self::ask()?;
        self.0.generate(adapter, prompt, options)
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        Self::ask()?;
        self.0.logits(adapter, tokens)
    }

    fn for_each_logits(
        &mut self,
        adapter: Option<&Adapter>,
        sequences: &[&[u32]],
        visit: &(dyn Fn(usize, &[f32]) + Sync),
    ) -> Result<(), EngineError> {
        Self::ask()?;
        self.0.for_each_logits(adapter, sequences, visit)
    }
}
