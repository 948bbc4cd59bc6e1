//! The adapter on the device.

use rldp_model::{Adapter, AdapterLayout};

use crate::{
    DeviceError,
    arena::{Arena, padded},
    device::{Device, Span},
    model::GpuModel,
};

/// The factors of one pair, both row-major with R rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CardPair {
    /// A (R, in).
    pub(crate) a: Span,
    /// Bᵀ (R, out).
    pub(crate) b: Span,
}

/// All pairs, and which of them sits on which map.
pub(crate) struct CardAdapter {
    pub(crate) layout: AdapterLayout,
    pub(crate) pairs: Vec<CardPair>,
    /// `places[layer][map]`.
    pub(crate) places: Vec<Vec<Option<usize>>>,
    arena: Arena,
}

impl CardAdapter {
    /// Room for an adapter of this layout.
    pub(crate) fn new(device: &dyn Device, model: &GpuModel, layout: &AdapterLayout) -> Result<Self, DeviceError> {
        let (pairs, bytes) = (layout.pairs(), |range: &std::ops::Range<usize>| 4 * range.len());
        let size = pairs.iter().map(|pair| padded(bytes(&pair.a)) + padded(bytes(&pair.b))).sum();
        let mut arena = Arena::new(device, size)?;
        let pairs = pairs.iter().map(|pair| CardPair { a: arena.take(bytes(&pair.a)), b: arena.take(bytes(&pair.b)) });
        let pairs = pairs.collect();
        let find = |name: &str| layout.pairs().iter().position(|pair| pair.linear.name == name);
        let places = model.blocks.iter().map(|block| block.linears.iter().map(|map| find(&map.spec.name)).collect());
        Ok(Self { layout: layout.clone(), pairs, places: places.collect(), arena })
    }

    /// Copies an adapter of this layout to the device.
    pub(crate) fn put(&self, device: &dyn Device, adapter: &Adapter) -> Result<(), DeviceError> {
        let rank = self.layout.rank();
        for (k, pair) in self.pairs.iter().enumerate() {
            let b = adapter.b(k);
            let out = b.len() / rank;
            let turned: Vec<f32> = (0..b.len()).map(|i| b[i % out * rank + i / out]).collect();
            device.upload(pair.a, bytemuck::cast_slice(adapter.a(k)))?;
            device.upload(pair.b, bytemuck::cast_slice(&turned))?;
        }
        Ok(())
    }

    /// The pair on a map.
    pub(crate) fn pair(&self, layer: usize, map: usize) -> Option<CardPair> {
        Some(self.pairs[self.places[layer][map]?])
    }

    /// Whether nothing wrote beside the factors.
    pub(crate) fn is_intact(&self, device: &dyn Device) -> Result<bool, DeviceError> {
        self.arena.is_intact(device)
    }
}
