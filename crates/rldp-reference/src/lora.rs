//! The adapter as differentiable variables.

use std::collections::HashMap;

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore};
use rldp_model::{Adapter, Pair};

/// All pairs of an adapter, by the path of the map they adapt.
pub(crate) struct Lora {
    scaling: f64,
    pairs: HashMap<String, Variables>,
}

struct Variables {
    pair: Pair,
    /// (R, in).
    a: Var,
    /// (out, R).
    b: Var,
}

impl Lora {
    pub(crate) fn load(adapter: &Adapter, device: &Device) -> Result<Self> {
        let layout = adapter.layout();
        let rank = layout.rank();
        let mut pairs = HashMap::new();
        for (k, pair) in layout.pairs().iter().enumerate() {
            let a = Var::from_slice(adapter.a(k), (rank, pair.linear.in_features), device)?;
            let b = Var::from_slice(adapter.b(k), (pair.linear.out_features, rank), device)?;
            pairs.insert(pair.linear.name.clone(), Variables { pair: pair.clone(), a, b });
        }
        Ok(Self { scaling: f64::from(layout.scaling()), pairs })
    }

    /// `scaling · B (A x)` for every row of `x` (T, in); `None` when the map has no adapter.
    pub(crate) fn update(&self, path: &str, x: &Tensor) -> Result<Option<Tensor>> {
        let Some(Variables { a, b, .. }) = self.pairs.get(path) else { return Ok(None) };
        let update = x.matmul(&a.t()?)?.matmul(&b.t()?)?;
        (update * self.scaling).map(Some)
    }

    /// Adds the gradients of all variables to the flat vector (P).
    pub(crate) fn add_gradients(&self, gradients: &GradStore, flat: &mut [f32]) -> Result<()> {
        for Variables { pair, a, b } in self.pairs.values() {
            let trained = [(a, pair.a.clone()), (b, pair.b.clone())].into_iter().skip(usize::from(!pair.trains_a));
            for (variable, range) in trained {
                // A variable without a gradient does not reach the loss: its gradient is zero.
                let Some(gradient) = gradients.get(variable) else { continue };
                let values = gradient.flatten_all()?.to_vec1::<f32>()?;
                for (sum, value) in flat[range].iter_mut().zip(values) {
                    *sum += value;
                }
            }
        }
        Ok(())
    }
}
