//! An engine whose losses and token statistics are computed by all ranks.

use rldp_model::{
    Adapter, Engine, EngineError, ModelConfig, Sequence, SequenceLoss, SumRule, TokenStats, UnitInput, UnitInvariance,
    UnitSinks, UnitSum, generate::GenerateOptions,
};

use super::leader::Team;

/// Rank 0's engine: losses and token statistics are divided among ranks, everything else is its own.
pub struct SpreadEngine {
    inner: Box<dyn Engine>,
    team: Team,
}

impl SpreadEngine {
    /// Divides the losses of `inner`.
    pub fn new(inner: Box<dyn Engine>, team: Team) -> Self {
        Self { inner, team }
    }
}

impl Engine for SpreadEngine {
    fn config(&self) -> &ModelConfig {
        self.inner.config()
    }

    fn unit_invariance(&self) -> UnitInvariance {
        self.inner.unit_invariance()
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        Ok(self.team.losses(self.inner.as_mut(), adapter, sequences)?)
    }

    fn token_statistics(
        &mut self,
        adapter: Option<&Adapter>,
        sequences: &[Sequence],
    ) -> Result<Vec<Vec<TokenStats>>, EngineError> {
        Ok(self.team.token_statistics(self.inner.as_mut(), adapter, sequences)?)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        self.inner.unit_gradients(adapter, units, sinks)
    }

    fn summed(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        rule: &SumRule,
    ) -> Result<Option<UnitSum>, EngineError> {
        self.inner.summed(adapter, units, rule)
    }

    fn peak_memory(&self, adapter_parameters: usize, past_bytes: usize, longest: usize) -> Option<usize> {
        self.inner.peak_memory(adapter_parameters, past_bytes, longest)
    }

    fn generate(
        &mut self,
        adapter: Option<&Adapter>,
        prompt: &[u32],
        options: &GenerateOptions,
    ) -> Result<Vec<u32>, EngineError> {
        self.inner.generate(adapter, prompt, options)
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.inner.logits(adapter, tokens)
    }

    fn for_each_logits(
        &mut self,
        adapter: Option<&Adapter>,
        sequences: &[&[u32]],
        visit: &(dyn Fn(usize, &[f32]) + Sync),
    ) -> Result<(), EngineError> {
        self.inner.for_each_logits(adapter, sequences, visit)
    }
}
