//! Refusals of numbers out of range.

use crate::error::TrainError;

pub(super) fn positive(name: &'static str, value: f64) -> Result<(), TrainError> {
    if value > 0.0 && value.is_finite() { Ok(()) } else { Err(TrainError::setting(name, value, "positive and finite")) }
}

pub(super) fn within(name: &'static str, value: f64, low: f64, high: f64) -> Result<(), TrainError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(TrainError::setting(name, value, &format!("between {low} and {high}")))
    }
}
