//! Transitions, kept in a ring.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::state::floats;

/// (s, a, r, s', done).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transition {
    #[serde(with = "floats")]
    pub(crate) state: Vec<f64>,
    #[serde(with = "floats")]
    pub(crate) action: Vec<f64>,
    pub(crate) reward: f64,
    #[serde(with = "floats")]
    pub(crate) next_state: Vec<f64>,
    pub(crate) done: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replay {
    capacity: usize,
    next: usize,
    transitions: Vec<Transition>,
}

impl Replay {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, next: 0, transitions: Vec::new() }
    }

    /// Whether a replay that was read is a ring of transitions of these lengths.
    pub(crate) fn check(&self, state: usize, action: usize) -> Result<(), String> {
        let fits =
            |kept: &Transition| (kept.state.len(), kept.action.len(), kept.next_state.len()) == (state, action, state);
        if self.next >= self.capacity || self.transitions.len() > self.capacity || !self.transitions.iter().all(fits) {
            return Err("its replay is no ring of this run's transitions".into());
        }
        Ok(())
    }

    pub(crate) fn push(&mut self, transition: Transition) {
        if self.transitions.len() < self.capacity {
            self.transitions.push(transition);
        } else {
            self.transitions[self.next] = transition;
        }
        self.next = (self.next + 1) % self.capacity;
    }

    pub(crate) fn len(&self) -> usize {
        self.transitions.len()
    }

    /// `count` transitions drawn with replacement.
    pub(crate) fn sample<'a>(&'a self, count: usize, rng: &mut impl Rng) -> Vec<&'a Transition> {
        (0..count).map(|_| &self.transitions[rng.random_range(0..self.transitions.len())]).collect()
    }
}
