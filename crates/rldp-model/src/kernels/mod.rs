//! Numerical kernels in f32 on one core; the engine runs one micro-batch on each.
//!
//! Every kernel is written once, as an inlined body over slices, and compiled three times: for AVX-512, for AVX2 with FMA,
//! and for any processor. Which one runs is decided at run time.

pub(crate) mod activation;
pub(crate) mod attention;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no kernel to feed"))]
pub(crate) mod bf16;
pub(crate) mod gemm;
pub(crate) mod lora;
pub(crate) mod math;
pub(crate) mod norm;
pub(crate) mod rope;
mod simd;
pub(crate) mod softmax;
pub(crate) mod vector;

#[cfg(test)]
pub(crate) use simd::at_level;
pub(crate) use simd::{Level, dispatch, dispatch_vectors, level};
