//! [`Engine`] by automatic differentiation.

use candle_core::{Device, Tensor};
use rldp_model::{
    Adapter, Engine, EngineError, ModelConfig, ModelFiles, Sequence, SequenceLoss, UnitGradient, UnitInput,
    UnitInvariance, UnitSinks,
};

use crate::{
    lora::Lora,
    model::Model,
    nn::{backend, log_softmax},
};

/// The readable engine.
pub struct ReferenceEngine {
    model: Model,
}

impl ReferenceEngine {
    /// Loads a model onto the CPU, its weights converted to f32.
    pub fn new(files: &ModelFiles) -> Result<Self, EngineError> {
        Self::on(files, Device::Cpu)
    }

    /// Loads a model onto any candle device, its weights converted to f32.
    pub fn on(files: &ModelFiles, device: Device) -> Result<Self, EngineError> {
        Ok(Self { model: Model::load(files, device)? })
    }

    /// NLL of each scored token, (scored tokens); `None` when none is scored.
    fn nll(&self, lora: Option<&Lora>, sequence: &Sequence) -> Result<Option<Tensor>, EngineError> {
        self.model.config.check_tokens(sequence.tokens)?;
        // The logits at position t predict the token at t + 1.
        let rows: Vec<u32> = sequence.scored().map(|position| position as u32 - 1).collect();
        let scored = rows.len();
        if scored == 0 {
            return Ok(None);
        }
        let targets: Vec<u32> = sequence.scored().map(|position| sequence.tokens[position]).collect();
        let nll = || {
            let logits = self.model.logits(sequence.tokens, lora)?;
            let rows = Tensor::from_vec(rows, scored, &self.model.device)?;
            let log_probabilities = log_softmax(&logits.index_select(&rows, 0)?)?;
            let targets = Tensor::from_vec(targets, (scored, 1), &self.model.device)?;
            log_probabilities.gather(&targets, 1)?.neg()?.flatten_all()
        };
        nll().map(Some).map_err(backend)
    }

    fn sequence_loss(&self, lora: Option<&Lora>, sequence: &Sequence) -> Result<SequenceLoss, EngineError> {
        let Some(nll) = self.nll(lora, sequence)? else { return Ok(SequenceLoss::default()) };
        let values = nll.to_vec1::<f32>().map_err(backend)?;
        Ok(SequenceLoss { nll: values.iter().copied().map(f64::from).sum(), tokens: values.len() })
    }

    /// Adds the gradient of one sequence's weighted loss and returns that loss.
    fn accumulate(&self, lora: &Lora, sequence: &Sequence, gradient: &mut [f32]) -> Result<f64, EngineError> {
        let Some(nll) = self.nll(Some(lora), sequence)? else { return Ok(0.0) };
        let weight = f64::from(sequence.weight);
        let mut run = || {
            let loss = (nll.sum_all()? * weight)?;
            lora.add_gradients(&loss.backward()?, gradient)?;
            nll.to_vec1::<f32>()
        };
        let values = run().map_err(backend)?;
        Ok(weight * values.iter().copied().map(f64::from).sum::<f64>())
    }

    fn lora(&self, adapter: Option<&Adapter>) -> Result<Option<Lora>, EngineError> {
        adapter.map(|adapter| self.load(adapter)).transpose()
    }

    fn load(&self, adapter: &Adapter) -> Result<Lora, EngineError> {
        self.model.config.check_adapter(adapter)?;
        Lora::load(adapter, &self.model.device).map_err(backend)
    }
}

impl Engine for ReferenceEngine {
    fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// It takes one sequence after another, but candle promises no order of sums.
    fn unit_invariance(&self) -> UnitInvariance {
        UnitInvariance::Unknown
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        let lora = self.lora(adapter)?;
        sequences.iter().map(|sequence| self.sequence_loss(lora.as_ref(), sequence)).collect()
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        let lora = self.load(adapter)?;
        let mut sink = sinks.fork();
        for (index, unit) in units.iter().enumerate() {
            let mut gradient = vec![0.0; adapter.layout().parameter_count()];
            let mut loss = 0.0;
            for sequence in &unit.sequences {
                loss += self.accumulate(&lora, sequence, &mut gradient)?;
            }
            sink.add(index, UnitGradient { loss, gradient: &gradient });
        }
        Ok(())
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        self.model.config.check_tokens(tokens)?;
        let lora = self.lora(adapter)?;
        let logits = self.model.logits(tokens, lora.as_ref());
        logits.and_then(|logits| logits.flatten_all()?.to_vec1()).map_err(backend)
    }
}
