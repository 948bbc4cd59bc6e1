//! LoRA adapters in PEFT's terms (Hu et al., arXiv 2106.09685).

use std::f64::consts::PI;

use rand::Rng;

mod layout;
pub mod peft;
mod settings;

pub use layout::{AdapterLayout, Pair};
pub use settings::{LoraSettings, MAX_RANK};

/// The trainable parameters: for each adapted map `y = W x + (lora_alpha / R) · B (A x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    layout: AdapterLayout,
    parameters: Vec<f32>,
}

impl Adapter {
    /// PEFT's start: A uniform in ±1/√in (Kaiming with a = √5), B zero, so that the model is unchanged at first.
    pub fn initialize(layout: AdapterLayout, rng: &mut impl Rng) -> Self {
        let mut parameters = vec![0.0; layout.parameter_count()];
        for pair in layout.pairs() {
            let bound = 1.0 / (pair.linear.in_features as f32).sqrt();
            parameters[pair.a.clone()].fill_with(|| rng.random_range(-bound..=bound));
        }
        Self { layout, parameters }
    }

    /// PEFT's `gaussian`: A normal with deviation 1/R, B zero.
    pub fn initialize_normal(layout: AdapterLayout, rng: &mut impl Rng) -> Self {
        let deviation = 1.0 / layout.rank() as f64;
        let mut parameters = vec![0.0; layout.parameter_count()];
        for pair in layout.pairs() {
            // Box and Muller's pairs, of which one is taken.
            parameters[pair.a.clone()].fill_with(|| {
                let (radius, angle): (f64, f64) = (1.0 - rng.random_range(0.0..1.0), rng.random_range(0.0..2.0 * PI));
                (deviation * (-2.0 * radius.ln()).sqrt() * angle.cos()) as f32
            });
        }
        Self { layout, parameters }
    }

    /// An adapter with the given flat parameters (length P, order of [`AdapterLayout`]).
    ///
    /// # Panics
    /// When the length is not the layout's P.
    pub fn from_parameters(layout: AdapterLayout, parameters: Vec<f32>) -> Self {
        assert_eq!(parameters.len(), layout.parameter_count(), "adapter parameters do not fit the layout");
        Self { layout, parameters }
    }

    /// Where each pair lies.
    pub fn layout(&self) -> &AdapterLayout {
        &self.layout
    }

    /// All parameters, flat (P).
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// All parameters, flat (P), for the optimizer.
    pub fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }

    /// A of pair `k`, row-major (R, in).
    pub fn a(&self, k: usize) -> &[f32] {
        &self.parameters[self.layout.pairs()[k].a.clone()]
    }

    /// B of pair `k`, row-major (out, R).
    pub fn b(&self, k: usize) -> &[f32] {
        &self.parameters[self.layout.pairs()[k].b.clone()]
    }
}
