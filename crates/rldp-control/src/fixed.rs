//! The controller that changes nothing: ordinary DP-AdamW.

use rldp_privacy::Observable;

use crate::{
    action::Action,
    controller::Controller,
    error::ControlError,
    observation::Observation,
    state::{StateFormat, read_state, write_state},
};

/// Leaves the mechanism as it began.
#[derive(Debug)]
pub struct FixedController {
    pairs: usize,
}

impl FixedController {
    /// Over `pairs` pairs.
    pub fn new(pairs: usize) -> Self {
        Self { pairs }
    }
}

impl Controller for FixedController {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn act(&mut self, _observation: &Observation, _reward: Option<Observable>, _done: bool) -> Action {
        Action::idle(self.pairs)
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, self.name(), &())
    }

    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        read_state::<()>(format, bytes, self.name())
    }
}
