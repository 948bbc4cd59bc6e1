//! Random moves within SAC's bounds: what any gain of SAC has to be compared with.

use rand::Rng as _;
use rldp_privacy::Observable;

use crate::{
    action::{Action, ActionBounds},
    controller::Controller,
    error::ControlError,
    observation::Observation,
    state::{StateFormat, read_state, write_state},
    stream::Stream,
};

/// Draws every move uniformly.
pub struct RandomController {
    pairs: usize,
    bounds: ActionBounds,
    stream: Stream,
}

impl RandomController {
    /// Over `pairs` pairs, from a public seed.
    pub fn new(pairs: usize, bounds: ActionBounds, seed: u64) -> Self {
        Self { pairs, bounds, stream: Stream::new(seed) }
    }
}

impl Controller for RandomController {
    fn name(&self) -> &'static str {
        "random"
    }

    fn act(&mut self, _observation: &Observation, _reward: Option<Observable>, _done: bool) -> Action {
        let rng = self.stream.rng();
        let flat: Vec<f64> = (0..Action::flat_length(self.pairs)).map(|_| rng.random_range(-1.0..=1.0)).collect();
        Action::from_flat(&flat, self.bounds)
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, self.name(), &self.stream)
    }

    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        self.stream = read_state(format, bytes, self.name())?;
        Ok(())
    }
}
