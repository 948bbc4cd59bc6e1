//! Soft actor-critic in the paper's form: flat vectors, online, from scratch or from a saved policy.

mod agent;
mod network;
mod replay;
mod set;
mod settings;
mod trust;

use rldp_privacy::Observable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use set::SetController;
pub use settings::SacSettings;

use self::{
    agent::{Agent, Update},
    replay::{Replay, Transition},
    trust::Trust,
};
use crate::{
    action::{Action, ActionBounds},
    controller::Controller,
    error::ControlError,
    observation::Observation,
    state::{StateFormat, read_state, write_state},
    stream::Stream,
};

/// The SAC controller.
pub struct SacController {
    bounds: ActionBounds,
    settings: SacSettings,
    frozen: bool,
    state: SacState,
}

#[derive(Serialize, Deserialize)]
struct SacState {
    agent: Agent,
    replay: Replay,
    /// What was seen and done at the last decision, until its reward is known.
    pending: Option<(Vec<f64>, Vec<f64>)>,
    last_update: Option<Update>,
    /// Granted where the state says nothing: states were saved before there was any.
    #[serde(default = "Trust::granted")]
    trust: Trust,
    mean_move: f64,
    stream: Stream,
}

impl SacController {
    /// An untrained controller over `pairs` pairs.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(pairs: usize, bounds: ActionBounds, settings: SacSettings, seed: u64) -> Result<Self, ControlError> {
        settings.validate()?;
        let mut stream = Stream::new(seed);
        let agent = Agent::new(Observation::flat_length(pairs), Action::flat_length(pairs), &settings, stream.rng());
        let replay = Replay::new(settings.replay_capacity);
        let state = SacState {
            agent,
            replay,
            pending: None,
            last_update: None,
            trust: Trust::default(),
            mean_move: 0.0,
            stream,
        };
        Ok(Self { bounds, settings, frozen: false, state })
    }

    fn learn(&mut self) {
        let SacState { agent, replay, trust, stream, last_update, .. } = &mut self.state;
        *last_update = agent.learn(replay, trust.reward_unit(), &self.settings, stream.rng()).or(*last_update);
    }
}

impl Controller for SacController {
    fn name(&self) -> &'static str {
        "sac"
    }

    fn act(&mut self, observation: &Observation, reward: Option<Observable>, done: bool) -> Action {
        let now = observation.flat();
        if self.frozen {
            let flat = self.state.agent.mean(&now);
            self.state.mean_move = flat.iter().map(|value| value.abs()).sum::<f64>() / flat.len() as f64;
            return Action::from_flat(&flat, self.bounds);
        }
        if let (Some((state, action)), Some(reward)) = (self.state.pending.take(), reward) {
            self.state.trust.judge(self.state.agent.advantage(&state, &action), reward.value());
            let transition = Transition { state, action, reward: reward.value(), next_state: now.clone(), done };
            self.state.replay.push(transition);
        }
        self.learn();
        let own = self.state.agent.act(&now, self.state.stream.rng());
        let SacState { trust, stream, .. } = &mut self.state;
        let flat = trust.lead(0, own, stream.rng());
        self.state.mean_move = flat.iter().map(|value| value.abs()).sum::<f64>() / flat.len() as f64;
        let action = Action::from_flat(&flat, self.bounds);
        self.state.pending = Some((now, flat));
        action
    }

    fn telemetry(&self) -> Map<String, Value> {
        let mut figures = Map::new();
        figures.insert("replay".into(), json!(self.state.replay.len()));
        figures.insert("mean_move".into(), json!(self.state.mean_move));
        figures.insert("agreement".into(), json!(self.state.trust.agreement()));
        figures.insert("trust".into(), json!(self.state.trust.share()));
        for (name, value) in self.state.last_update.iter().flat_map(Update::figures) {
            figures.insert(name.into(), json!(value));
        }
        figures
    }

    fn freeze(&mut self) -> Result<(), ControlError> {
        self.frozen = true;
        Ok(())
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, self.name(), &self.state)
    }

    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        let restored: SacState = read_state(format, bytes, self.name())?;
        let (mine, theirs) = (self.state.agent.lengths(), restored.agent.lengths());
        if mine != theirs {
            return Err(ControlError::State(format!(
                "it observes {} numbers and moves {}, this run has {} and {}: flat policies fit only the same adapter pairs",
                theirs.0, theirs.1, mine.0, mine.1
            )));
        }
        restored
            .check()
            .map_err(|reason| ControlError::State(format!("{reason}; it was not written by this program")))?;
        self.state = restored;
        Ok(())
    }
}

impl SacState {
    /// Whether all parts fit one another: a saved state may have been written by anybody.
    fn check(&self) -> Result<(), String> {
        let (state, action) = self.agent.lengths();
        self.agent.check()?;
        self.replay.check(state, action)?;
        self.trust.check(1, action)?;
        match &self.pending {
            Some((seen, done)) if seen.len() != state || done.len() != action => {
                Err("its last decision is of another size".into())
            }
            _ => Ok(()),
        }
    }
}
