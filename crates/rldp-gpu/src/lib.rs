//! The GPU engine: losses and per-unit adapter gradients on a CUDA card, and their clipped integer sum without the gradients ever
//! leaving it.
//!
//! The passes are written once, against [`device::Device`]. A CUDA card is one; the same kernels compiled for the host, a fiber a
//! thread, are another, for tests on machines without a card. Shapes as in rldp-model: N flattened tokens of a micro-batch, C hidden
//! size, H heads, D head dimension, M width of the MLP, V vocabulary, R LoRA rank, K adapter pairs, P parameters of all pairs.
//!
//! A unit's gradient depends on that unit alone, to the bit: rows of a micro-batch never meet but in attention, which stays in a
//! sequence and counts tiles from its begin; every sum over rows goes row after row of one unit; products keep one order of depth.

mod adapter;
mod arena;
mod batch;
mod cards;
mod clip;
mod clip_ops;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
#[cfg(emulated)]
mod emulated;
mod engine;
mod error;
mod memory;
mod model;
mod ops;
mod pass;
mod units;
mod workspace;

pub use cards::{Card, cards, open_card};
pub use device::{Argument, Device, DeviceMemory, Product, Region, Span};
#[cfg(emulated)]
pub use emulated::{Emulated, Faults};
pub use engine::{GpuEngine, GpuOptions};
pub use error::{DeviceError, GpuError, OLDEST};
pub use rldp_model::cpu::Precision;

/// Whether tests have an emulated device: there was a C++ compiler, and the feature is on.
pub const EMULATED: bool = cfg!(emulated);
