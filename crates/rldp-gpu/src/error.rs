//! Why a device cannot be used, or failed.

use rldp_model::{EngineError, ModelError};

/// Oldest generation of cards whose tensor cores multiply bf16.
pub const OLDEST: (u32, u32) = (8, 0);

/// What is wrong with a device, and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// This program cannot talk to any.
    #[error("this rldp was built without CUDA; use --device cpu, or a build with `--features cuda`")]
    NotBuilt,
    /// There is no driver.
    #[error("no NVIDIA driver was found (libcuda.so.1 cannot be opened); install the driver, or use --device cpu")]
    NoDriver,
    /// The driver does not start.
    #[error("the NVIDIA driver does not start ({reason}); check `nvidia-smi`, or use --device cpu")]
    DriverFails {
        /// In its words.
        reason: String,
    },
    /// There is no such card.
    #[error(
        "there is no card {asked}: the NVIDIA driver lists {found}; use --device cuda:N with N below that, or --device cpu"
    )]
    NoSuchCard {
        /// Its number.
        asked: usize,
        /// How many there are.
        found: usize,
    },
    /// The card lacks what the kernels use.
    #[error(
        "card {index} ({name}) has compute capability {major}.{minor}, but rldp needs {}.{} or later (Ampere, 2020); use --device cpu",
        OLDEST.0,
        OLDEST.1
    )]
    TooOld {
        /// The card's number.
        index: usize,
        /// Its name.
        name: String,
        /// Its generation.
        major: u32,
        /// See `major`.
        minor: u32,
    },
    /// The driver does not take the kernels.
    #[error(
        "the NVIDIA driver does not take rldp's kernels ({reason}); update it to version 525 or later, or use --device cpu"
    )]
    Kernels {
        /// In its words.
        reason: String,
    },
    /// The model and the smallest step do not fit.
    #[error(
        "{name} has {free} bytes of memory free, but {what} takes {needed}; use a smaller model or a GGUF file of it, a lower --rank, a \
         shorter --max-length, close what else runs on the card, or use --device cpu"
    )]
    TooLittleMemory {
        /// The card.
        name: String,
        /// What does not fit.
        what: &'static str,
        /// Bytes free.
        free: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// An allocation failed although there should have been room.
    #[error("{name} ran out of memory: {bytes} more bytes were refused; close what else runs on the card, and resume")]
    OutOfMemory {
        /// The card.
        name: String,
        /// What was asked for.
        bytes: usize,
    },
    /// A record does not fit the memory.
    #[error(
        "a record of {length} tokens does not fit the memory of {name}, which has room for {most} beside the model; use a smaller \
         --max-length, or a lower --rank"
    )]
    RecordTooLong {
        /// The card.
        name: String,
        /// The record's tokens.
        length: usize,
        /// Tokens that fit.
        most: usize,
    },
    /// Something else, such as a card that no longer answers.
    #[error(
        "{name} failed in {what} ({reason}); see `nvidia-smi` and the system's log, then resume the run or use --device cpu"
    )]
    Failed {
        /// The card.
        name: String,
        /// What was asked of it.
        what: &'static str,
        /// In the driver's words.
        reason: String,
    },
}

impl From<DeviceError> for EngineError {
    fn from(error: DeviceError) -> Self {
        Self::Backend(error.to_string())
    }
}

/// Why an engine cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The card has no kernels for the model.
    #[error("heads of {0} features are not supported on a card, whose kernels hold at most 256; use --device cpu")]
    HeadSize(usize),
}
