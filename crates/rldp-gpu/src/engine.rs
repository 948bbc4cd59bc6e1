//! The engine on a device.

use rldp_model::{
    Adapter, Engine, EngineError, ModelConfig, ModelFiles, Sequence, SequenceLoss, SumRule, UnitGradient, UnitInput,
    UnitInvariance, UnitSinks, UnitSum,
    generate::{GenerateOptions, decode},
};

use crate::{
    DeviceError, GpuError, Precision,
    adapter::CardAdapter,
    batch::Batch,
    device::Device,
    memory::{Wanted, for_decoding, plan},
    model::GpuModel,
    pass::Pass,
    workspace::{Purpose, Workspace},
};

/// Largest size of a head that the attention's kernels hold.
const LARGEST_HEAD: usize = 256;

/// Precision, and settings that bound memory and change no result.
#[derive(Clone, Copy, Debug, Default)]
pub struct GpuOptions {
    /// Precision of the products with the frozen base model.
    pub precision: Precision,
    /// Rows of a micro-batch at most; chosen from the card's memory when absent.
    pub micro_batch_tokens: Option<usize>,
    /// Tokens of the longest sequence, where it is known: room for it is kept.
    pub longest: Option<usize>,
    /// Bytes of the card that the engine may take beside the model.
    pub memory_limit: Option<usize>,
}

/// The engine.
pub struct GpuEngine {
    // Fields are dropped in this order: what lies on the device goes before it.
    workspace: Option<Workspace>,
    adapter: Option<CardAdapter>,
    model: GpuModel,
    device: Box<dyn Device>,
    options: GpuOptions,
}

impl GpuEngine {
    /// An engine on a device; the model is copied to it.
    ///
    /// # Errors
    /// When the model does not fit the device, or the device has no kernels for it.
    pub fn new(device: Box<dyn Device>, files: &ModelFiles, options: GpuOptions) -> Result<Self, GpuError> {
        if files.config.head_dim > LARGEST_HEAD {
            return Err(GpuError::HeadSize(files.config.head_dim));
        }
        let model = GpuModel::new(&*device, files, options.precision)?;
        Ok(Self { workspace: None, adapter: None, model, device, options })
    }

    /// Name of the device.
    pub fn device_name(&self) -> &str {
        self.device.name()
    }

    /// Whether no kernel has written beside a buffer, for tests.
    pub fn is_intact(&self) -> Result<bool, DeviceError> {
        let device = &*self.device;
        let adapter = self.adapter.as_ref().map_or(Ok(true), |adapter| adapter.is_intact(device))?;
        let workspace = self.workspace.as_ref().map_or(Ok(true), |workspace| workspace.is_intact(device))?;
        Ok(adapter && workspace && self.model.is_intact(device)?)
    }

    /// Whether the buffers at hand are those of a pass that makes activations again, for tests.
    pub fn recomputes(&self) -> bool {
        self.workspace.as_ref().is_some_and(Workspace::recomputes)
    }

    /// The device.
    pub(crate) fn device(&self) -> &dyn Device {
        &*self.device
    }

    /// The model on it.
    pub(crate) fn model(&self) -> &GpuModel {
        &self.model
    }

    /// Puts the adapter on the device.
    pub(crate) fn put_adapter(&mut self, adapter: Option<&Adapter>) -> Result<(), EngineError> {
        let Some(adapter) = adapter else { return Ok(()) };
        self.model.config.check_adapter(adapter)?;
        if self.adapter.as_ref().is_none_or(|held| held.layout != *adapter.layout()) {
            (self.workspace, self.adapter) = (None, None);
            self.adapter = Some(CardAdapter::new(&*self.device, &self.model, adapter.layout())?);
        }
        self.adapter.as_ref().map_or(Ok(()), |held| Ok(held.put(&*self.device, adapter)?))
    }

    /// Makes buffers for passes with sequences of up to `longest` tokens, unless there are some.
    pub(crate) fn make_room(
        &mut self,
        adapter: Option<&Adapter>,
        longest: usize,
        gradients: bool,
    ) -> Result<(), DeviceError> {
        let layout = adapter.map(Adapter::layout);
        let rank = layout.map_or(0, rldp_model::AdapterLayout::rank);
        let fits = |held: &Workspace| {
            let purpose = held.sizes.purpose;
            let serves = purpose == Purpose::Losses && !gradients || matches!(purpose, Purpose::Gradients { .. });
            let parameters = layout.map_or(0, rldp_model::AdapterLayout::parameter_count);
            let serves = serves && (!gradients || held.sizes.parameters == parameters);
            serves && held.sizes.rank >= rank && held.sizes.rows >= longest
        };
        if self.workspace.as_ref().is_some_and(fits) {
            return Ok(());
        }
        self.workspace = None;
        let wanted = Wanted {
            rows: self.options.micro_batch_tokens,
            longest: longest.max(self.options.longest.unwrap_or(0)),
            rank,
            parameters: layout.map_or(0, rldp_model::AdapterLayout::parameter_count),
            pairs: layout.map_or(0, |layout| layout.pairs().len()),
            limit: self.options.memory_limit,
        };
        let sizes = plan(&*self.device, &self.model, gradients, wanted)?;
        self.workspace = Some(Workspace::new(&*self.device, &self.model, sizes)?);
        Ok(())
    }

    /// Bytes of the device that nobody uses now.
    pub fn free_memory(&self) -> Result<usize, DeviceError> {
        Ok(self.device.memory()?.free)
    }

    /// A step up to its gradients, which are dropped; for measuring what comes after.
    pub fn discard_gradients(&mut self, adapter: &Adapter, units: &[UnitInput]) -> Result<(), EngineError> {
        self.for_finished_units(adapter, units, &mut |engine, back, _| {
            // Waits for the device.
            Ok(engine.device.download(back.losses, &mut [0; 8])?)
        })
    }

    /// Everything of a pass over a batch.
    pub(crate) fn pass<'a>(&'a self, workspace: &'a Workspace, with_adapter: bool, batch: &'a Batch) -> Pass<'a> {
        Pass {
            device: &*self.device,
            model: &self.model,
            adapter: self.adapter.as_ref().filter(|_| with_adapter),
            buffers: &workspace.buffers,
            capacity: workspace.sizes.rows,
            batch,
        }
    }

    pub(crate) fn workspace(&self) -> Result<&Workspace, EngineError> {
        self.workspace.as_ref().ok_or_else(|| EngineError::Backend("the engine has no buffers".into()))
    }

    /// Runs micro-batches of sequences: calls `visit` with the first sequence of each and its pass, after the forward pass.
    fn for_batches(
        &self,
        with_adapter: bool,
        sequences: &[Sequence],
        mut visit: impl FnMut(usize, &Pass) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let workspace = self.workspace()?;
        let mut first = 0;
        while first < sequences.len() {
            let mut batch = Batch::default();
            let mut end = first;
            while let Some(next) = sequences.get(end)
                && (end == first || batch.rows() + next.tokens.len() <= workspace.sizes.rows)
            {
                batch.push(next);
                end += 1;
            }
            if batch.rows() > 0 {
                let pass = self.pass(workspace, with_adapter, &batch);
                pass.put_lists()?;
                pass.forward()?;
                visit(first, &pass)?;
            }
            first = end;
        }
        Ok(())
    }
}

/// Tokens of the longest of some sequences.
fn longest<'a>(sequences: impl IntoIterator<Item = &'a Sequence<'a>>) -> usize {
    sequences.into_iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0)
}

impl Engine for GpuEngine {
    fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// Rows meet in no kernel but attention's, which stays in a sequence; a library's products are checked on the card.
    fn unit_invariance(&self) -> UnitInvariance {
        UnitInvariance::Exact
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        sequences.iter().try_for_each(|sequence| self.model.config.check_tokens(sequence.tokens))?;
        self.put_adapter(adapter)?;
        self.make_room(adapter, longest(sequences), false)?;
        let mut found = vec![SequenceLoss::default(); sequences.len()];
        self.for_batches(adapter.is_some(), sequences, |first, pass| {
            pass.cross_entropy(false)?;
            let nll = pass.read_nll()?;
            for (loss, predictions) in found[first..].iter_mut().zip(&pass.batch.predictions) {
                loss.tokens = predictions.len();
                loss.nll = nll[predictions.clone()].iter().map(|nll| f64::from(*nll)).sum();
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        let parameters = adapter.layout().parameter_count();
        let mut part = sinks.fork();
        let mut gradient = vec![0.0_f32; parameters];
        self.for_finished_units(adapter, units, &mut |engine, back, finished| {
            for &(unit, slot) in finished {
                let mut loss = [0.0_f64];
                let place = back.gradients.part(4 * slot * parameters, 4 * parameters);
                engine.device.download(place, bytemuck::cast_slice_mut(&mut gradient))?;
                engine.device.download(back.losses.part(8 * slot, 8), bytemuck::cast_slice_mut(&mut loss))?;
                part.add(unit, UnitGradient { loss: loss[0], gradient: &gradient });
            }
            Ok(())
        })
    }

    fn summed(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        rule: &SumRule,
    ) -> Result<Option<UnitSum>, EngineError> {
        self.sum_units(adapter, units, rule)
    }

    /// Every token is read once: the blocks' keys and values stay on the device.
    fn generate(
        &mut self,
        adapter: Option<&Adapter>,
        prompt: &[u32],
        options: &GenerateOptions,
    ) -> Result<Vec<u32>, EngineError> {
        let config = self.model.config.clone();
        let rows = (prompt.len() + options.max_new_tokens).min(config.max_positions);
        self.put_adapter(adapter)?;
        self.workspace = None;
        let rank = adapter.map_or(0, |adapter| adapter.layout().rank());
        let sizes = for_decoding(&*self.device, &self.model, rows.max(1), rank)?;
        let workspace = Workspace::new(&*self.device, &self.model, sizes)?;
        let mut read = 0;
        decode(&config, prompt, options, |tokens| {
            let batch = Batch::next_tokens(read, tokens);
            let pass = self.pass(&workspace, adapter.is_some(), &batch);
            pass.put_lists()?;
            pass.forward()?;
            read += tokens.len();
            Ok(pass.all_logits(tokens.len() - 1)?)
        })
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.model.config.check_tokens(tokens)?;
        self.put_adapter(adapter)?;
        self.make_room(adapter, tokens.len(), false)?;
        let mut found = Vec::new();
        let sequence = Sequence { tokens, scored_from: tokens.len(), skipped: &[], weight: 0.0 };
        self.for_batches(adapter.is_some(), &[sequence], |_, pass| {
            found = pass.all_logits(0)?;
            Ok(())
        })?;
        Ok(found)
    }
}
