//! Soft actor-critic over a set of pairs: one small network serves every pair, so that its size does not depend on the model.
//!
//! A pair's agent sees the pair's own features, those of the run, and the mean over all pairs; it moves the pair's threshold,
//! share and step size. A second agent sees the run and mean and spread over pairs; it moves noise, learning rate, momentum,
//! averaging and the inclination to stop. Pairs share parameters, replay and reward, so one decision gives K transitions (parameter sharing as in multi-agent reinforcement
//! learning), and what was learned on one model carries over to another.

use rldp_privacy::Observable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    agent::{Agent, Update},
    replay::{Replay, Transition},
    settings::SacSettings,
    trust::Trust,
};
use crate::{
    action::{Action, ActionBounds},
    controller::Controller,
    error::ControlError,
    observation::{Observation, PairObservation},
    state::{StateFormat, read_state, write_state},
    stream::Stream,
};

const PAIR_STATE: usize = Observation::GLOBAL_FEATURES + 2 * Observation::PAIR_FEATURES;
const RUN_STATE: usize = Observation::GLOBAL_FEATURES + 2 * Observation::PAIR_FEATURES;
const PAIR_MOVES: usize = Action::PAIR_MOVES;
const RUN_MOVES: usize = Action::RUN_MOVES;

/// The policy that ships with the program; `assets/policy.md` says what it was trained on.
const PRETRAINED: &[u8] = include_bytes!("../../assets/policy.json");

/// Kind of a saved state: pretrained or not, the form is the same.
const STATE: &str = "set";

/// An agent with its memory.
#[derive(Serialize, Deserialize)]
struct Learner {
    agent: Agent,
    replay: Replay,
    last_update: Option<Update>,
    /// Granted where the state says nothing: policies were saved before there was any.
    #[serde(default = "Trust::granted")]
    trust: Trust,
}

impl Learner {
    fn new(state: usize, moves: usize, settings: &SacSettings, stream: &mut Stream) -> Self {
        let agent = Agent::new(state, moves, settings, stream.rng());
        Self { agent, replay: Replay::new(settings.replay_capacity), last_update: None, trust: Trust::default() }
    }

    fn learn(&mut self, settings: &SacSettings, stream: &mut Stream) {
        let found = self.agent.learn(&self.replay, self.trust.reward_unit(), settings, stream.rng());
        self.last_update = found.or(self.last_update);
    }
}

/// What was seen and done at one decision.
#[derive(Clone, Serialize, Deserialize)]
struct Decision {
    pair_states: Vec<Vec<f64>>,
    pair_moves: Vec<Vec<f64>>,
    run_state: Vec<f64>,
    run_moves: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct SetState {
    pairs: Learner,
    run: Learner,
    pending: Option<Decision>,
    stream: Stream,
}

impl SetState {
    /// Whether all parts fit one another: a saved state may have been written by anybody.
    fn check(&self) -> Result<(), String> {
        for (learner, state, moves) in [(&self.pairs, PAIR_STATE, PAIR_MOVES), (&self.run, RUN_STATE, RUN_MOVES)] {
            let (found, made) = learner.agent.lengths();
            if (found, made) != (state, moves) {
                return Err(format!("it observes {found} numbers and moves {made}, not {state} and {moves}"));
            }
            learner.agent.check()?;
            learner.replay.check(state, moves)?;
            // Of a policy that another model is to take over it does not matter how many moved.
            let movers = self.pending.as_ref().map_or(usize::MAX, |decision| decision.pair_moves.len().max(1));
            learner.trust.check(movers, moves)?;
        }
        match &self.pending {
            Some(decision) if !decision.fits() => Err("its last decision is of another size".into()),
            _ => Ok(()),
        }
    }
}

impl Decision {
    fn fits(&self) -> bool {
        let sizes = |rows: &[Vec<f64>], length: usize| rows.iter().all(|row| row.len() == length);
        sizes(&self.pair_states, PAIR_STATE)
            && sizes(&self.pair_moves, PAIR_MOVES)
            && self.pair_states.len() == self.pair_moves.len()
            && (self.run_state.len(), self.run_moves.len()) == (RUN_STATE, RUN_MOVES)
    }
}

/// The set policy as a controller, from scratch or from the policy that ships with the program.
pub struct SetController {
    name: &'static str,
    count: usize,
    bounds: ActionBounds,
    settings: SacSettings,
    frozen: bool,
    state: SetState,
}

impl SetController {
    /// Untrained, over `count` pairs.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn from_scratch(
        count: usize,
        bounds: ActionBounds,
        settings: SacSettings,
        seed: u64,
    ) -> Result<Self, ControlError> {
        settings.validate()?;
        let mut stream = Stream::new(seed);
        let pairs = Learner::new(PAIR_STATE, PAIR_MOVES, &settings, &mut stream);
        let run = Learner::new(RUN_STATE, RUN_MOVES, &settings, &mut stream);
        let state = SetState { pairs, run, pending: None, stream };
        Ok(Self { name: "set-scratch", count, bounds, settings, frozen: false, state })
    }

    /// Starts from the policy that ships with the program, which was trained on public data only.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn pretrained(
        count: usize,
        bounds: ActionBounds,
        settings: SacSettings,
        seed: u64,
    ) -> Result<Self, ControlError> {
        let mut controller = Self::from_scratch(count, bounds, settings, seed)?;
        controller.adopt(read_state(StateFormat::Json, PRETRAINED, STATE)?)?;
        controller.name = "set";
        Ok(controller)
    }

    /// Takes the agents of `saved`, whatever model they come from; memory and randomness stay this run's own.
    fn adopt(&mut self, saved: SetState) -> Result<(), ControlError> {
        Self::fits(&saved)?;
        self.state.pairs.agent = saved.pairs.agent;
        self.state.run.agent = saved.run.agent;
        self.state.pairs.trust = Trust::granted();
        self.state.run.trust = Trust::granted();
        Ok(())
    }

    fn fits(saved: &SetState) -> Result<(), ControlError> {
        saved.check().map_err(|reason| {
            ControlError::State(format!(
                "{reason}; it was not written by this version: `rldp policy train` makes a new one"
            ))
        })
    }

    fn remember(&mut self, decision: Decision, reward: f64, observed: &Views, done: bool) {
        let SetState { pairs, run, .. } = &mut self.state;
        let said = decision
            .pair_states
            .iter()
            .zip(&decision.pair_moves)
            .map(|(state, moves)| pairs.agent.advantage(state, moves));
        pairs.trust.judge(said.sum::<f64>() / decision.pair_states.len().max(1) as f64, reward);
        run.trust.judge(run.agent.advantage(&decision.run_state, &decision.run_moves), reward);
        let parts = decision.pair_states.into_iter().zip(decision.pair_moves).zip(&observed.pairs);
        for ((state, action), next) in parts {
            self.state.pairs.replay.push(Transition { state, action, reward, next_state: next.clone(), done });
        }
        let (state, action) = (decision.run_state, decision.run_moves);
        self.state.run.replay.push(Transition { state, action, reward, next_state: observed.run.clone(), done });
    }

    fn decide(&mut self, views: Views) -> Decision {
        let SetState { pairs, run, stream, .. } = &mut self.state;
        let frozen = self.frozen;
        let mut choose = |learner: &mut Learner, who: usize, state: &[f64]| {
            if frozen {
                return learner.agent.mean(state);
            }
            let own = learner.agent.act(state, stream.rng());
            learner.trust.lead(who, own, stream.rng())
        };
        let pair_moves = views.pairs.iter().enumerate().map(|(k, state)| choose(pairs, k, state)).collect();
        let run_moves = choose(run, 0, &views.run);
        Decision { pair_states: views.pairs, pair_moves, run_state: views.run, run_moves }
    }
}

/// The states of the pairs' agent (K) and of the run's.
struct Views {
    pairs: Vec<Vec<f64>>,
    run: Vec<f64>,
}

impl Views {
    fn new(observation: &Observation) -> Self {
        let global = observation.global.features();
        let pairs: Vec<_> = observation.pairs.iter().map(PairObservation::features).collect();
        let count = pairs.len().max(1) as f64;
        let column = |f: usize| pairs.iter().map(move |pair| pair[f]);
        let features = 0..Observation::PAIR_FEATURES;
        let mean: Vec<f64> = features.clone().map(|f| column(f).sum::<f64>() / count).collect();
        let spread = features.map(|f| (column(f).map(|x| (x - mean[f]).powi(2)).sum::<f64>() / count).sqrt());
        let spread: Vec<f64> = spread.collect();
        Self {
            pairs: pairs.iter().map(|pair| [&global[..], pair, &mean].concat()).collect(),
            run: [&global[..], &mean, &spread].concat(),
        }
    }
}

impl Controller for SetController {
    fn name(&self) -> &'static str {
        self.name
    }

    fn act(&mut self, observation: &Observation, reward: Option<Observable>, done: bool) -> Action {
        let views = Views::new(observation);
        if !self.frozen {
            if let (Some(decision), Some(reward)) = (self.state.pending.take(), reward) {
                self.remember(decision, reward.value(), &views, done);
            }
            let SetState { pairs, run, stream, .. } = &mut self.state;
            pairs.learn(&self.settings, stream);
            run.learn(&self.settings, stream);
        }
        let decision = self.decide(views);
        let of_pairs = |index: usize| decision.pair_moves.iter().map(move |pair| pair[index]);
        let flat: Vec<f64> = (0..PAIR_MOVES).flat_map(of_pairs).chain(decision.run_moves.iter().copied()).collect();
        let action = Action::from_flat(&flat, self.bounds);
        self.state.pending = (!self.frozen).then_some(decision);
        action
    }

    fn telemetry(&self) -> Map<String, Value> {
        let mut figures = Map::new();
        for (name, learner) in [("pairs", &self.state.pairs), ("run", &self.state.run)] {
            figures.insert(format!("{name}_replay"), json!(learner.replay.len()));
            figures.insert(format!("{name}_agreement"), json!(learner.trust.agreement()));
            figures.insert(format!("{name}_trust"), json!(learner.trust.share()));
            for (figure, value) in learner.last_update.iter().flat_map(Update::figures) {
                figures.insert(format!("{name}_{figure}"), json!(value));
            }
        }
        figures
    }

    fn freeze(&mut self) -> Result<(), ControlError> {
        self.frozen = true;
        Ok(())
    }

    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError> {
        write_state(format, STATE, &self.state)
    }

    /// A checkpoint is continued exactly, and so is a state that stands between two decisions over as many pairs; of any other, such as
    /// the policy of another model, the agents are taken.
    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError> {
        let restored: SetState = read_state(format, bytes, STATE)?;
        let own = restored.pending.as_ref().map(|decision| decision.pair_states.len() == self.count);
        if own.unwrap_or(format == StateFormat::MessagePack) {
            Self::fits(&restored)?;
            self.state = restored;
            return Ok(());
        }
        self.adopt(restored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{controller::ControllerKind, observation::testing::observation};

    fn build(kind: ControllerKind, pairs: usize) -> Box<dyn Controller> {
        crate::controller::controller(kind, pairs, 12, &SacSettings::default(), 3).unwrap()
    }

    #[test]
    fn one_decision_gives_a_transition_for_every_pair() {
        let mut set = build(ControllerKind::SetScratch, 5);
        let reward = |value: f64| Some(rldp_privacy::Public::declare(value).into());
        set.act(&observation(5), None, false);
        for round in 1..4 {
            set.act(&observation(5), reward(0.1), false);
            let figures = set.telemetry();
            assert_eq!(
                (figures["pairs_replay"].clone(), figures["run_replay"].clone()),
                (json!(5 * round), json!(round))
            );
        }
    }

    #[test]
    fn a_policy_carries_over_to_a_model_with_other_pairs() {
        let mut small = build(ControllerKind::SetScratch, 2);
        small.act(&observation(2), None, false);
        let mut large = build(ControllerKind::SetScratch, 7);
        let policy = small.state(StateFormat::Json).unwrap();
        large.restore(StateFormat::Json, &policy).unwrap();
        small.freeze().unwrap();
        large.freeze().unwrap();
        let (few, many) = (small.act(&observation(2), None, false), large.act(&observation(7), None, false));
        assert_eq!(few.noise_log_delta, many.noise_log_delta);
        assert!(many.clip_log_delta.iter().all(|delta| *delta == few.clip_log_delta[0]));
    }

    #[test]
    fn the_shipped_policy_is_not_an_untrained_one() {
        let (mut shipped, mut scratch) = (build(ControllerKind::Set, 3), build(ControllerKind::SetScratch, 3));
        shipped.freeze().unwrap();
        scratch.freeze().unwrap();
        let seen = observation(3);
        assert_ne!(shipped.act(&seen, None, false), scratch.act(&seen, None, false));
    }
}
