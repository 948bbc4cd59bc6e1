//! A toy controller: one file, and nothing else in the repository knows of it.

use rldp_control::{Action, ControlError, Controller, Observation, StateFormat};
use rldp_privacy::Observable;

/// Halves the learning rate at every decision, and counts them.
#[derive(Default)]
pub(crate) struct Halver {
    decisions: u64,
}

impl Controller for Halver {
    fn name(&self) -> &'static str {
        "halver"
    }

    fn act(&mut self, observation: &Observation, _reward: Option<Observable>, _done: bool) -> Action {
        self.decisions += 1;
        Action { learning_rate_log_gain: -std::f64::consts::LN_2, ..Action::idle(observation.pairs.len()) }
    }

    fn telemetry(&self) -> serde_json::Map<String, serde_json::Value> {
        [("decisions".to_owned(), self.decisions.into())].into_iter().collect()
    }

    fn state(&self, _format: StateFormat) -> Result<Vec<u8>, ControlError> {
        Ok(self.decisions.to_string().into_bytes())
    }

    fn restore(&mut self, _format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        let text = std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
        self.decisions = text.ok_or_else(|| ControlError::State("it is no count of decisions".into()))?;
        Ok(())
    }
}
