//! The average of iterates.

use std::borrow::Cow;

use rldp_model::Adapter;
use serde::{Deserialize, Serialize};

/// The average of iterates, kept while its horizon is longer than one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Average(#[serde(with = "crate::run::numbers::optional")] Option<Vec<f32>>);

impl Average {
    /// The mean (P), when there is one.
    pub(crate) fn get(&self) -> Option<&[f32]> {
        self.0.as_deref()
    }

    /// The adapter that is evaluated and kept: the mean where there is one, else the last iterate.
    pub(crate) fn of<'a>(&self, last: &'a Adapter) -> Cow<'a, Adapter> {
        match &self.0 {
            None => Cow::Borrowed(last),
            Some(mean) => Cow::Owned(Adapter::from_parameters(last.layout().clone(), mean.clone())),
        }
    }

    /// Takes in the iterate after a step: mean ← mean + (iterate − mean) / horizon.
    pub(crate) fn add(&mut self, iterate: &[f32], horizon: f64) {
        if horizon <= 1.0 {
            self.0 = None;
            return;
        }
        match &mut self.0 {
            Some(mean) => {
                let weight = 1.0 / horizon;
                mean.iter_mut().zip(iterate).for_each(|(mean, new)| {
                    *mean = (f64::from(*mean) + weight * (f64::from(*new) - f64::from(*mean))) as f32;
                });
            }
            none => *none = Some(iterate.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_the_iterates() {
        let mut average = Average::default();
        average.add(&[1.0], 1.0);
        assert_eq!(average.get(), None);
        average.add(&[1.0], 4.0);
        average.add(&[5.0], 4.0);
        assert_eq!(average.get(), Some([2.0_f32].as_slice()));
        average.add(&[7.0], 1.0);
        assert_eq!(average, Average::default());
    }
}
