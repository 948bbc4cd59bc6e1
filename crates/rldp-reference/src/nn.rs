//! The functions that blocks are made of. Rows are tokens.

use candle_core::{D, Result, Tensor};
use rldp_model::{Activation, EngineError};

/// Candle's error in the engine's terms.
#[allow(clippy::needless_pass_by_value)] // `map_err` passes it by value
pub(crate) fn backend(error: candle_core::Error) -> EngineError {
    EngineError::Backend(error.to_string())
}

/// A norm over the last axis: LayerNorm where there is a bias, RMSNorm where there is none.
pub(crate) struct Norm {
    /// The stored weight, to which `offset` is added.
    pub(crate) weight: Tensor,
    pub(crate) offset: f64,
    pub(crate) bias: Option<Tensor>,
    pub(crate) epsilon: f64,
}

impl Norm {
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let centred = match &self.bias {
            Some(_) => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
            None => x.clone(),
        };
        let scale = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.epsilon)?.sqrt()?;
        let normed = centred.broadcast_div(&scale)?.broadcast_mul(&(&self.weight + self.offset)?)?;
        match &self.bias {
            Some(bias) => normed.broadcast_add(bias),
            None => Ok(normed),
        }
    }
}

/// The activation, composed of functions whose derivative candle knows exactly: the constants in the derivative of its own
/// GELU have six digits.
pub(crate) fn activate(kind: Activation, x: &Tensor) -> Result<Tensor> {
    let gate = match kind {
        Activation::Silu => return x.silu(),
        Activation::Gelu => (x * std::f64::consts::FRAC_1_SQRT_2)?.erf()?,
        Activation::GeluTanh => {
            let cubic = (x + (x.sqr()? * x)?.affine(0.044715, 0.0)?)?;
            (cubic * (2.0 / std::f64::consts::PI).sqrt())?.tanh()?
        }
    };
    x * gate.affine(0.5, 0.5)?
}

/// softmax over the last axis.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    let exponentials = shifted(x)?.exp()?;
    exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
}

/// log softmax over the last axis.
pub(crate) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = shifted(x)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// Less the row's largest value, which changes neither function and is therefore a constant to the derivative.
fn shifted(x: &Tensor) -> Result<Tensor> {
    x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())
}
