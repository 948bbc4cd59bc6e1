//! Soft actor-critic (Haarnoja et al., arXiv 1812.05905), top to bottom in the paper's order.
//!
//! One deviation: log-probabilities are averaged over the action's dimensions instead of summed, so that one temperature
//! suits adapters of any number of pairs; the target entropy is then −1 a dimension.

use rand::Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::{
    network::{Adam, Network},
    replay::{Replay, Transition},
    settings::SacSettings,
};

/// Bounds of ln σ of the Gaussian before squashing.
const LOG_STD: (f64, f64) = (-4.0, 0.5);
/// ln σ of a policy that has learned nothing.
const FIRST_LOG_STD: f64 = -1.0;
const TARGET_ENTROPY: f64 = -1.0;

/// Actor, twin critics, their targets and the temperature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Agent {
    actor: Network,
    critics: [Network; 2],
    targets: [Network; 2],
    log_temperature: f64,
    actor_adam: Adam,
    critic_adams: [Adam; 2],
    temperature_adam: Adam,
}

/// What an update found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Update {
    pub(crate) critic_loss: f64,
    pub(crate) actor_loss: f64,
    pub(crate) entropy: f64,
    pub(crate) temperature: f64,
}

impl Update {
    /// Names and values, as telemetry has them.
    pub(crate) fn figures(&self) -> [(&'static str, f64); 4] {
        [
            ("critic_loss", self.critic_loss),
            ("actor_loss", self.actor_loss),
            ("entropy", self.entropy),
            ("temperature", self.temperature),
        ]
    }
}

/// An action with what is needed to differentiate through it.
struct Sample {
    action: Vec<f64>,
    noise: Vec<f64>,
    log_std: Vec<f64>,
    /// d ln σ / d (the actor's raw output).
    log_std_slope: Vec<f64>,
    /// Mean over dimensions of ln π(a | s).
    log_probability: f64,
}

impl Agent {
    pub(crate) fn new(state: usize, action: usize, settings: &SacSettings, rng: &mut impl Rng) -> Self {
        let hidden = settings.hidden_size;
        let actor = Network::new(&[state, hidden, hidden, 2 * action], rng);
        let mut critic = || Network::new(&[state + action, hidden, hidden, 1], rng);
        let critics = [critic(), critic()];
        let parameters = critics[0].parameters().len();
        Self {
            actor_adam: Adam::new(actor.parameters().len()),
            actor,
            targets: critics.clone(),
            critics,
            log_temperature: settings.temperature.ln(),
            critic_adams: [Adam::new(parameters), Adam::new(parameters)],
            temperature_adam: Adam::new(1),
        }
    }

    /// Lengths of state and action.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let sizes = self.actor.sizes();
        (sizes.first().copied().unwrap_or(0), sizes.last().map_or(0, |last| last / 2))
    }

    /// Whether the parts of an agent that was read fit one another.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (state, action) = self.lengths();
        let joined = state.checked_add(action).ok_or("its sizes overflow")?;
        self.actor.check(state, 2 * action)?;
        for network in self.critics.iter().chain(&self.targets) {
            network.check(joined, 1)?;
        }
        let moments = self.critics.iter().zip(&self.targets).zip(&self.critic_adams);
        let fit = moments
            .clone()
            .all(|((critic, target), adam)| critic.sizes() == target.sizes() && adam.fits(critic.parameters().len()));
        if fit
            && self.actor_adam.fits(self.actor.parameters().len())
            && self.temperature_adam.fits(1)
            && self.log_temperature.is_finite()
        {
            Ok(())
        } else {
            Err("its networks and their moments do not fit one another".into())
        }
    }

    /// a ~ π(· | s), in (−1, 1).
    pub(crate) fn act(&self, state: &[f64], rng: &mut impl Rng) -> Vec<f64> {
        sample(self.actor.forward(state).output(), rng).action
    }

    /// tanh of the mean of π(· | s): the action of a policy that explores no more.
    pub(crate) fn mean(&self, state: &[f64]) -> Vec<f64> {
        let trace = self.actor.forward(state);
        let output = trace.output();
        output[..output.len() / 2].iter().map(|mean| mean.tanh()).collect()
    }

    /// What the critics say `action` is worth more than to leave everything as it is.
    pub(crate) fn advantage(&self, state: &[f64], action: &[f64]) -> f64 {
        let value = |action: &[f64]| {
            let joined = [state, action].concat();
            0.5 * self.critics.iter().map(|critic| critic.forward(&joined).output()[0]).sum::<f64>()
        };
        value(action) - value(&vec![0.0; action.len()])
    }

    /// An interval's updates, once the replay holds a batch; what the last of them found.
    pub(crate) fn learn(
        &mut self,
        replay: &Replay,
        reward_unit: f64,
        settings: &SacSettings,
        rng: &mut impl Rng,
    ) -> Option<Update> {
        let updates = if replay.len() < settings.batch_size { 0 } else { settings.updates_per_interval };
        let mut last = None;
        for _ in 0..updates {
            let batch = replay.sample(settings.batch_size, rng);
            last = Some(self.update(&batch, reward_unit, settings, rng));
        }
        last
    }

    /// One update on a batch, whose rewards are in units of `reward_unit`.
    pub(crate) fn update(
        &mut self,
        batch: &[&Transition],
        reward_unit: f64,
        settings: &SacSettings,
        rng: &mut impl Rng,
    ) -> Update {
        let critic_loss = self.update_critics(batch, reward_unit, settings, rng);
        let (actor_loss, entropy) = self.update_actor(batch, settings, rng);
        self.update_temperature(entropy, settings);
        for (target, critic) in self.targets.iter_mut().zip(&self.critics) {
            target.follow(critic, settings.tau);
        }
        Update { critic_loss, actor_loss, entropy, temperature: self.log_temperature.exp() }
    }

    /// Equations 5 and 6: y = r + γ (min Q̄(s', a') − α ln π(a' | s')), squared error of both critics.
    fn update_critics(
        &mut self,
        batch: &[&Transition],
        reward_unit: f64,
        settings: &SacSettings,
        rng: &mut impl Rng,
    ) -> f64 {
        let temperature = self.log_temperature.exp();
        let scale = 1.0 / batch.len() as f64;
        let mut gradients = [0, 1].map(|j| vec![0.0; self.critics[j].parameters().len()]);
        let mut loss = 0.0;
        for transition in batch {
            let next = sample(self.actor.forward(&transition.next_state).output(), rng);
            let joined = [transition.next_state.as_slice(), &next.action].concat();
            let value =
                self.targets.iter().map(|target| target.forward(&joined).output()[0]).fold(f64::INFINITY, f64::min);
            let future = if transition.done { 0.0 } else { value - temperature * next.log_probability };
            let goal = transition.reward / reward_unit + settings.discount * future;
            let joined = [transition.state.as_slice(), &transition.action].concat();
            for (critic, gradient) in self.critics.iter().zip(&mut gradients) {
                let trace = critic.forward(&joined);
                let error = trace.output()[0] - goal;
                loss += 0.5 * error * error * scale;
                critic.backward(&trace, &[error * scale], gradient);
            }
        }
        for ((critic, adam), gradient) in self.critics.iter_mut().zip(&mut self.critic_adams).zip(&gradients) {
            adam.update(critic.parameters_mut(), gradient, settings.critic_learning_rate);
        }
        loss
    }

    /// Equations 7 to 10: minimise α ln π(a | s) − min Q(s, a) through the reparametrised action.
    fn update_actor(&mut self, batch: &[&Transition], settings: &SacSettings, rng: &mut impl Rng) -> (f64, f64) {
        let temperature = self.log_temperature.exp();
        let scale = 1.0 / batch.len() as f64;
        let mut gradient = vec![0.0; self.actor.parameters().len()];
        let (mut loss, mut entropy) = (0.0, 0.0);
        for transition in batch {
            let trace = self.actor.forward(&transition.state);
            let drawn = sample(trace.output(), rng);
            let (value, value_gradient) = self.lower_critic(&transition.state, &drawn.action);
            loss += (temperature * drawn.log_probability - value) * scale;
            entropy -= drawn.log_probability * scale;
            let upstream = actor_gradient(&drawn, &value_gradient, temperature, scale);
            self.actor.backward(&trace, &upstream, &mut gradient);
        }
        self.actor_adam.update(self.actor.parameters_mut(), &gradient, settings.actor_learning_rate);
        (loss, entropy)
    }

    /// min over critics of Q(s, a), and its gradient with respect to the action.
    fn lower_critic(&self, state: &[f64], action: &[f64]) -> (f64, Vec<f64>) {
        let joined = [state, action].concat();
        let traces = [0, 1].map(|j| self.critics[j].forward(&joined));
        let lower = usize::from(traces[1].output()[0] < traces[0].output()[0]);
        let mut unused = vec![0.0; self.critics[lower].parameters().len()];
        let gradient = self.critics[lower].backward(&traces[lower], &[1.0], &mut unused);
        (traces[lower].output()[0], gradient[state.len()..].to_vec())
    }

    /// Equation 18: the temperature rises while the entropy is below its target.
    fn update_temperature(&mut self, entropy: f64, settings: &SacSettings) {
        if settings.temperature_learning_rate > 0.0 {
            let gradient = self.log_temperature.exp() * (entropy - TARGET_ENTROPY);
            let mut parameter = [self.log_temperature];
            self.temperature_adam.update(&mut parameter, &[gradient], settings.temperature_learning_rate);
            self.log_temperature = parameter[0];
        }
    }
}

/// One number of the action of a policy that has learned nothing, which no state moves: tanh(σ ξ).
pub(super) fn untrained_move(rng: &mut impl Rng) -> f64 {
    let noise: f64 = rng.sample(StandardNormal);
    (FIRST_LOG_STD.exp() * noise).tanh()
}

/// Squashed Gaussian: a = tanh(μ + σ ξ), ln π = ln N(ξ) − ln σ − ln(1 − a²), averaged over dimensions.
fn sample(output: &[f64], rng: &mut impl Rng) -> Sample {
    let (means, raw) = output.split_at(output.len() / 2);
    let (middle, half) = (0.5 * (LOG_STD.0 + LOG_STD.1), 0.5 * (LOG_STD.1 - LOG_STD.0));
    let shift = ((FIRST_LOG_STD - middle) / half).atanh();
    let squashed: Vec<f64> = raw.iter().map(|raw| (raw + shift).tanh()).collect();
    let log_std: Vec<f64> = squashed.iter().map(|t| middle + half * t).collect();
    let log_std_slope = squashed.iter().map(|t| half * (1.0 - t * t)).collect();
    let noise: Vec<f64> = means.iter().map(|_| rng.sample(StandardNormal)).collect();
    let parts = means.iter().zip(&log_std).zip(&noise);
    let action: Vec<f64> = parts.map(|((mean, log_std), noise)| (mean + log_std.exp() * noise).tanh()).collect();
    let half_log_two_pi = 0.5 * (2.0 * std::f64::consts::PI).ln();
    let densities = noise.iter().zip(&log_std).zip(&action);
    let total: f64 = densities
        .map(|((noise, log_std), action)| {
            -0.5 * noise * noise - log_std - half_log_two_pi - (1.0 - action * action + 1e-6).ln()
        })
        .sum();
    Sample { log_probability: total / means.len() as f64, action, noise, log_std, log_std_slope }
}

/// ∂(α ln π − Q)/∂(μ, raw ln σ), times `scale`.
fn actor_gradient(drawn: &Sample, value_gradient: &[f64], temperature: f64, scale: f64) -> Vec<f64> {
    let dimensions = drawn.action.len();
    let mut gradient = vec![0.0; 2 * dimensions];
    for d in 0..dimensions {
        let a = drawn.action[d];
        let slope = 1.0 - a * a;
        // d(−ln(1 − a² + ε))/du with da/du = 1 − a².
        let density = 2.0 * a * slope / (slope + 1e-6);
        let by_u = temperature * density / dimensions as f64 - value_gradient[d] * slope;
        let std = drawn.log_std[d].exp();
        gradient[d] = scale * by_u;
        let by_log_std = by_u * std * drawn.noise[d] - temperature / dimensions as f64;
        gradient[dimensions + d] = scale * by_log_std * drawn.log_std_slope[d];
    }
    gradient
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha12Rng;

    use super::{super::replay::Replay, *};

    /// A one-step task: reward −|a − goal(s)|²; the best policy is known.
    fn mean_reward(learn: bool, seed: u64) -> f64 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let settings = SacSettings {
            batch_size: 32,
            actor_learning_rate: 3e-3,
            critic_learning_rate: 3e-3,
            discount: 0.0,
            ..SacSettings::default()
        };
        let mut agent = Agent::new(2, 3, &settings, &mut rng);
        let mut replay = Replay::new(2000);
        let (mut total, mut count) = (0.0, 0);
        for round in 0..700 {
            let state = vec![rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)];
            let goal = [0.6 * state[0], -0.6 * state[1], 0.5];
            let action = agent.act(&state, &mut rng);
            let reward = -action.iter().zip(goal).map(|(a, g)| (a - g) * (a - g)).sum::<f64>();
            if round >= 500 {
                total += reward;
                count += 1;
            }
            replay.push(Transition { next_state: state.clone(), state, action, reward, done: true });
            if learn && replay.len() >= 32 {
                for _ in 0..2 {
                    let batch = replay.sample(32, &mut rng);
                    agent.update(&batch, 1.0, &settings, &mut rng);
                }
            }
        }
        total / f64::from(count)
    }

    #[test]
    fn learns_a_task_whose_best_policy_is_known() {
        let learned: Vec<f64> = (0..3).map(|seed| mean_reward(true, seed)).collect();
        let idle: Vec<f64> = (0..3).map(|seed| mean_reward(false, seed)).collect();
        for (learned, idle) in learned.iter().zip(&idle) {
            assert!(*learned > 0.5 * idle, "learned {learned}, untrained {idle}");
        }
    }

    #[test]
    fn actor_gradient_agrees_with_finite_differences() {
        let output = [0.3, -0.2, 0.1, -0.4];
        let value_gradient = [0.7, -1.1];
        let temperature = 0.3;
        // Q is linear in the action here; the same noise is drawn for every evaluation.
        let loss = |output: &[f64]| {
            let drawn = sample(output, &mut ChaCha12Rng::seed_from_u64(5));
            let value: f64 = drawn.action.iter().zip(value_gradient).map(|(a, g)| a * g).sum();
            temperature * drawn.log_probability - value
        };
        let drawn = sample(&output, &mut ChaCha12Rng::seed_from_u64(5));
        let gradient = actor_gradient(&drawn, &value_gradient, temperature, 1.0);
        for index in 0..4 {
            let h = 1e-6;
            let (mut up, mut down) = (output, output);
            up[index] += h;
            down[index] -= h;
            let numeric = (loss(&up) - loss(&down)) / (2.0 * h);
            assert!((numeric - gradient[index]).abs() < 1e-6, "{index}: {numeric} against {}", gradient[index]);
        }
    }
}
