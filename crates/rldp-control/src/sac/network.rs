//! Small dense networks with explicit backpropagation and Adam.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::state::floats;

/// Affine layers with ReLU between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Network {
    sizes: Vec<usize>,
    /// Layer after layer: weights row-major (out, in), then biases (out).
    #[serde(with = "floats")]
    parameters: Vec<f64>,
}

/// Inputs of every layer, kept for the backward pass.
pub(crate) struct Trace {
    inputs: Vec<Vec<f64>>,
    output: Vec<f64>,
}

impl Trace {
    pub(crate) fn output(&self) -> &[f64] {
        &self.output
    }
}

impl Network {
    /// Weights uniform in ±1/√in; the last layer ten times smaller, so that first outputs are near zero.
    pub(crate) fn new(sizes: &[usize], rng: &mut impl Rng) -> Self {
        let mut parameters = Vec::new();
        let layers = sizes.len() - 1;
        for (index, pair) in sizes.windows(2).enumerate() {
            let bound = if index + 1 == layers { 0.1 } else { 1.0 } / (pair[0] as f64).sqrt();
            parameters.extend((0..pair[0] * pair[1]).map(|_| rng.random_range(-bound..bound)));
            parameters.extend(std::iter::repeat_n(0.0, pair[1]));
        }
        Self { sizes: sizes.to_vec(), parameters }
    }

    /// Whether a network that was read has the parameters that its sizes ask for, from `inputs` to `outputs` numbers.
    pub(crate) fn check(&self, inputs: usize, outputs: usize) -> Result<(), String> {
        let layer = |pair: &[usize]| pair[0].checked_mul(pair[1])?.checked_add(pair[1]);
        let expected = self.sizes.windows(2).try_fold(0_usize, |sum, pair| sum.checked_add(layer(pair)?));
        let ends = (self.sizes.first(), self.sizes.last()) == (Some(&inputs), Some(&outputs));
        if self.sizes.len() < 2 || self.sizes.contains(&0) || !ends || expected != Some(self.parameters.len()) {
            return Err(format!(
                "a network of sizes {:?} with {} parameters is not one from {inputs} to {outputs} numbers",
                self.sizes,
                self.parameters.len()
            ));
        }
        if self.parameters.iter().all(|parameter| parameter.is_finite()) {
            Ok(())
        } else {
            Err("a network has parameters that are not finite".into())
        }
    }

    pub(crate) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    pub(crate) fn parameters(&self) -> &[f64] {
        &self.parameters
    }

    pub(crate) fn parameters_mut(&mut self) -> &mut [f64] {
        &mut self.parameters
    }

    /// Offset of each layer's weights.
    fn layers(&self) -> Vec<(usize, usize, usize)> {
        let mut offset = 0;
        self.sizes
            .windows(2)
            .map(|pair| {
                let at = offset;
                offset += pair[0] * pair[1] + pair[1];
                (at, pair[0], pair[1])
            })
            .collect()
    }

    pub(crate) fn forward(&self, input: &[f64]) -> Trace {
        let layers = self.layers();
        let mut inputs = Vec::with_capacity(layers.len());
        let mut current = input.to_vec();
        for (index, &(at, fan_in, fan_out)) in layers.iter().enumerate() {
            let (weights, biases) = self.parameters[at..at + fan_in * fan_out + fan_out].split_at(fan_in * fan_out);
            let rows = weights.chunks_exact(fan_in).zip(biases);
            let next: Vec<f64> = rows.map(|(row, bias)| bias + dot(row, &current)).collect();
            let last = index + 1 == layers.len();
            let next = if last { next } else { next.into_iter().map(|value| value.max(0.0)).collect() };
            inputs.push(std::mem::replace(&mut current, next));
        }
        Trace { inputs, output: current }
    }

    /// Adds ∂loss/∂parameters to `gradient` and returns ∂loss/∂input, given ∂loss/∂output.
    pub(crate) fn backward(&self, trace: &Trace, output_gradient: &[f64], gradient: &mut [f64]) -> Vec<f64> {
        let mut upstream = output_gradient.to_vec();
        for (index, &(at, fan_in, fan_out)) in self.layers().iter().enumerate().rev() {
            let input = &trace.inputs[index];
            let (weights_gradient, biases_gradient) =
                gradient[at..at + fan_in * fan_out + fan_out].split_at_mut(fan_in * fan_out);
            let mut downstream = vec![0.0; fan_in];
            for (row, &g) in upstream.iter().enumerate() {
                biases_gradient[row] += g;
                let weights = &self.parameters[at + row * fan_in..at + (row + 1) * fan_in];
                axpy(g, input, &mut weights_gradient[row * fan_in..(row + 1) * fan_in]);
                axpy(g, weights, &mut downstream);
            }
            if index > 0 {
                // The input of a hidden layer is a ReLU's output: where it is zero, nothing flows.
                for (value, input) in downstream.iter_mut().zip(input) {
                    if *input <= 0.0 {
                        *value = 0.0;
                    }
                }
            }
            upstream = downstream;
        }
        upstream
    }

    /// Moves every parameter by `tau` of the way to `source` (soft target update).
    pub(crate) fn follow(&mut self, source: &Self, tau: f64) {
        for (own, other) in self.parameters.iter_mut().zip(&source.parameters) {
            *own += tau * (other - *own);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn axpy(factor: f64, x: &[f64], y: &mut [f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// Adam (Kingma & Ba, arXiv 1412.6980).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Adam {
    #[serde(with = "floats")]
    first: Vec<f64>,
    #[serde(with = "floats")]
    second: Vec<f64>,
    updates: i32,
}

impl Adam {
    pub(crate) fn new(parameters: usize) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], updates: 0 }
    }

    /// Whether it is of `parameters` parameters.
    pub(crate) fn fits(&self, parameters: usize) -> bool {
        self.first.len() == parameters && self.second.len() == parameters && (0..i32::MAX).contains(&self.updates)
    }

    pub(crate) fn update(&mut self, parameters: &mut [f64], gradient: &[f64], learning_rate: f64) {
        const BETA1: f64 = 0.9;
        const BETA2: f64 = 0.999;
        self.updates += 1;
        let (correct1, correct2) = (1.0 - BETA1.powi(self.updates), 1.0 - BETA2.powi(self.updates));
        for (index, &g) in gradient.iter().enumerate() {
            self.first[index] = BETA1 * self.first[index] + (1.0 - BETA1) * g;
            self.second[index] = BETA2 * self.second[index] + (1.0 - BETA2) * g * g;
            let step = (self.first[index] / correct1) / ((self.second[index] / correct2).sqrt() + 1e-8);
            parameters[index] -= learning_rate * step;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn backward_agrees_with_finite_differences() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let mut network = Network::new(&[5, 7, 6, 3], &mut rng);
        let input: Vec<f64> = (0..5).map(|_| rng.random_range(-1.0..1.0)).collect();
        let weights: Vec<f64> = (0..3).map(|_| rng.random_range(-1.0..1.0)).collect();
        let loss = |network: &Network, input: &[f64]| dot(network.forward(input).output(), &weights);
        let mut gradient = vec![0.0; network.parameters().len()];
        let trace = network.forward(&input);
        let input_gradient = network.backward(&trace, &weights, &mut gradient);
        let h = 1e-6;
        for index in 0..gradient.len() {
            let saved = network.parameters[index];
            network.parameters[index] = saved + h;
            let up = loss(&network, &input);
            network.parameters[index] = saved - h;
            let down = loss(&network, &input);
            network.parameters[index] = saved;
            assert!(((up - down) / (2.0 * h) - gradient[index]).abs() < 1e-6, "parameter {index}");
        }
        for index in 0..input.len() {
            let mut moved = input.clone();
            moved[index] += h;
            let up = loss(&network, &moved);
            moved[index] -= 2.0 * h;
            let down = loss(&network, &moved);
            assert!(((up - down) / (2.0 * h) - input_gradient[index]).abs() < 1e-6, "input {index}");
        }
    }
}
