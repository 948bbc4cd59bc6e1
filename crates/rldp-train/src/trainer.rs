//! The loop: charge, sample, clip, sum, add noise, update; every `interval` steps observe and steer.

use rldp_control::{Controller, RateSearch, RewardTracker};
use rldp_data::{PoissonSampler, PrivacyUnits};
use rldp_model::{Adapter, AdapterLayout, Engine, Sequence, UnitInput};
use rldp_privacy::{
    ClippedSum, NoiseSource, NoisyRelease, Observable, Past, Public, Released, Sensitive, Spender, StatisticSpec,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError,
    evaluate::{Evaluation, PublicRecords, evaluate},
    geometry::Geometry,
    loss_bound::LossBound,
    observe::{Observer, PublicFacts},
    optimizer::{Optimizer, UpdateSummary},
    passage::Passage,
    plan::Steering,
    post_processing::Average,
    progress::{Progress, StepView},
    raw::{RawObserver, RawSummary},
    recorder::Recorder,
    records::{ControlRecord, EvalRecord, StepRecord},
    settings::TrainSettings,
    spectrum::tail_exponents,
    steer,
    update::LastStep,
};

/// A run between two steps. Built by [`crate::start`] or [`crate::resume`].
pub struct Trainer {
    pub(crate) settings: TrainSettings,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) units: PrivacyUnits,
    pub(crate) eval: Option<PublicRecords>,
    /// The paid statistic of the first step.
    pub(crate) statistics: Option<StatisticSpec>,
    pub(crate) loss_bound: LossBound,
    pub(crate) spender: Spender,
    pub(crate) sampler: PoissonSampler,
    pub(crate) noise: NoiseSource,
    /// What earlier steps left for the noise of later ones. Private; not in any checkpoint.
    pub(crate) past: Past,
    pub(crate) geometry: Option<Box<dyn Geometry>>,
    pub(crate) adapter: Adapter,
    pub(crate) first_parameters: Vec<f32>,
    pub(crate) optimizer: Optimizer,
    pub(crate) start: Steering,
    pub(crate) now: Steering,
    /// Noise deviations of the first step (K): the unit of the optimizer's moments.
    pub(crate) first_noise_std: Vec<f64>,
    pub(crate) controller: Box<dyn Controller>,
    pub(crate) reward: RewardTracker,
    pub(crate) observer: Observer,
    pub(crate) rate_search: Option<RateSearch>,
    /// The last step, while the search for the learning rate may take it again.
    pub(crate) last_step: Option<LastStep>,
    pub(crate) average: Average,
    pub(crate) raw: Option<RawObserver>,
    pub(crate) recorder: Recorder,
    pub(crate) base_name: String,
    pub(crate) non_finite: NonFinite,
    /// The last evaluation on public records, and the step after which it was made.
    pub(crate) evaluation: Option<(u64, Evaluation)>,
}

/// Mean of the released fractions of units with a non-finite gradient, and the noise in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NonFinite {
    sum: f64,
    variance: f64,
    count: f64,
}

impl NonFinite {
    fn add(&mut self, fraction: f64, std: f64) {
        self.sum += fraction;
        self.variance += std * std;
        self.count += 1.0;
    }

    /// The mean, when it says more than its noise that most gradients were not finite: above a half, and above four
    /// deviations, which noise alone reaches once in thirty thousand runs.
    pub(crate) fn alarming(&self) -> Option<f64> {
        let mean = self.sum / self.count.max(1.0);
        (mean > 0.5 && self.sum > 4.0 * self.variance.sqrt()).then_some(mean)
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Steps charged.
    pub steps: u64,
    /// Whether all planned steps were made.
    pub finished: bool,
    /// Last evaluation on public records.
    pub evaluation: Option<Evaluation>,
    /// What a user must know, such as an adapter that did not move.
    pub warnings: Vec<String>,
}

impl Trainer {
    /// Runs until the plan is done, the filter refuses, the controller has had enough, or `progress` asks to stop.
    ///
    /// # Errors
    /// When the folder cannot be written, the ledger cannot be synced, or the engine fails. What was charged stays charged.
    pub fn run(&mut self, progress: &mut dyn Progress) -> Result<Outcome, TrainError> {
        let steps = self.settings.privacy.steps;
        self.evaluate_when_due(self.spender.steps_charged(), progress)?;
        while self.spender.steps_charged() < steps && !self.now.post.stops() && !progress.should_stop() {
            let plain = self.settings.privacy.unsafe_non_private;
            let Some(release) = (if plain { self.plain_step()? } else { self.private_step()? }) else { break };
            let step = self.spender.steps_charged();
            let update = self.update(step, &release)?;
            self.record_step(step, &release, &update, progress)?;
            if !plain && (step.is_multiple_of(self.settings.control.interval) || step == steps) {
                self.steer(step, step == steps)?;
            }
            self.evaluate_when_due(step, progress)?;
            if step.is_multiple_of(self.settings.output.checkpoint_every) {
                self.checkpoint()?;
            }
        }
        self.finish()
    }

    /// The claim in words.
    pub fn statement(&self) -> String {
        self.spender.claim().statement()
    }

    /// One private step: charge, sample, clip and sum, add noise. `None` when the budget refuses.
    ///
    /// The charge is durable before a record is touched; a sum begins with it and leaves with the noise it paid for.
    pub(crate) fn private_step(&mut self) -> Result<Option<NoisyRelease>, TrainError> {
        let allocation = self.now.allocation()?;
        self.now.noise_multiplier = self.spender.nearest_noise(self.now.noise_multiplier);
        let Some(charge) = self.spender.charge(self.now.noise_multiplier)? else { return Ok(None) };
        let statistics = self.statistics.as_ref().map(|first| self.loss_bound.apply(first));
        let sum = ClippedSum::new(charge, &self.pair_sizes(), allocation, statistics, self.units.len())?;
        let batch = self.sampled();
        let sum = self.add_units(sum, &batch)?;
        let release = sum.release(&mut self.noise, &mut self.past, self.settings.privacy.batch_size)?;
        if let (Some(first), Some(released)) = (&self.statistics, &release.statistics) {
            self.loss_bound.follow(first, released);
        }
        let inner_noise = release.noise_std.clone();
        let release = Passage::new(self.adapter.layout(), self.geometry.as_deref()).back(release);
        if let Some(geometry) = &mut self.geometry {
            let layout = self.adapter.layout();
            let gradient = release.mean_gradient.get();
            let trained = layout.pairs().iter().flat_map(|pair| &gradient[pair.range()]).copied();
            geometry.learn(&trained.collect::<Vec<_>>(), &inner_noise);
        }
        Ok(Some(release))
    }

    /// d_i, parameters of each pair (K).
    pub(crate) fn pair_sizes(&self) -> Vec<usize> {
        self.adapter.layout().pairs().iter().map(rldp_model::Pair::parameter_count).collect()
    }

    /// A Poisson sample of the units whose turn it is in the step that was charged, without those that are held out: they
    /// contribute nothing.
    pub(crate) fn sampled(&mut self) -> Vec<usize> {
        let classes = self.spender.bands().count() as u64;
        let turn = (self.spender.steps_charged() + classes - 1) % classes;
        let batch = self.sampler.sample(self.units.len());
        let due = |unit: &usize| self.units.class(*unit, classes) == turn && self.units.includes(*unit);
        batch.indices().iter().copied().filter(due).collect()
    }

    fn add_units(&mut self, mut sum: ClippedSum, batch: &[usize]) -> Result<ClippedSum, TrainError> {
        let inputs: Vec<UnitInput> = batch.iter().map(|&unit| unit_input(&self.units, unit)).collect();
        let mut passage = Passage::new(self.adapter.layout(), self.geometry.as_deref());
        let raw = &mut self.raw;
        self.engine.unit_gradients(&self.adapter, &inputs, &mut |_, unit| {
            if let Some(raw) = raw {
                raw.add(self.adapter.layout(), unit.gradient, unit.loss);
            }
            sum.add_unit(Sensitive::new(passage.forth(unit.gradient)), Sensitive::new(unit.loss));
        })?;
        Ok(sum)
    }

    fn record_step(
        &mut self,
        step: u64,
        release: &NoisyRelease,
        update: &UpdateSummary,
        progress: &mut dyn Progress,
    ) -> Result<(), TrainError> {
        let statistics = release.statistics.as_ref();
        if let Some(statistics) = statistics {
            self.non_finite.add(*statistics.non_finite_fraction.get(), statistics.non_finite_fraction_std);
        }
        let record = StepRecord {
            kind: "step",
            step,
            epsilon_spent: self.spender.spent_epsilon(),
            noise_multiplier: self.now.noise_multiplier,
            learning_rate: update.learning_rate,
            loss: statistics.map(|statistics| *statistics.mean_loss.get()),
            loss_bound: statistics.map(|statistics| statistics.loss_high),
            loss_std: statistics.map(|statistics| statistics.mean_loss_std),
            non_finite_fraction: statistics.map(|statistics| *statistics.non_finite_fraction.get()),
            snr: global_snr(self.adapter.layout(), release),
            update_norm: update.update_norm,
        };
        self.recorder.metric(&record)?;
        self.recorder.time(step)?;
        progress.step(&StepView {
            step,
            steps: self.settings.privacy.steps,
            batch_size: self.settings.privacy.batch_size,
            record: &record,
        });
        Ok(())
    }

    /// The controller's turn: reward for the last interval, observation, action.
    pub(crate) fn steer(&mut self, step: u64, done: bool) -> Result<(), TrainError> {
        let raw = self.raw.as_mut().and_then(|raw| raw.finish(&self.now.clip_norms));
        let reward = self.reward_of_interval(raw.as_ref());
        let record_of_interval = ControlRecord {
            kind: "control",
            step,
            clip_norms: self.now.clip_norms.clone(),
            shares: self.now.shares.clone(),
            noise_std: self.noise_std()?,
            snr: self.observer.signal_to_noise().map(Released::into_inner),
            clip_fractions: self.observer.clip_fractions().map(Released::into_inner),
            noise_multiplier: self.now.noise_multiplier,
            learning_rate_gain: self.now.post.learning_rate_gain,
            step_gains: self.now.post.step_factors(),
            beta1: self.now.post.beta1(self.settings.optimizer.beta1),
            averaging_horizon: self.now.post.averaging_horizon,
            stop: self.now.post.stop,
            persistence: self.observer.persistence().map(Observable::value),
            reward: reward.map(Observable::value),
            projected: false,
            controller: serde_json::Map::new(),
        };
        let facts = PublicFacts {
            step_fraction: step as f64 / self.settings.privacy.steps as f64,
            budget_fraction: self.spender.spent_fraction(),
            start: &self.start,
            now: &self.now,
            last_reward: reward,
            drift: self.drift(),
            spectral_tails: tail_exponents(&self.adapter),
            noise_energy: self.noise_energy()?,
            norm_bins: self.statistics.as_ref().and_then(|spec| spec.norms.as_ref()),
        };
        let Some(mut observation) = self.observer.finish(&facts) else { return Ok(()) };
        if let Some(raw) = raw {
            raw.replace(&mut observation);
        }
        let action = self.controller.act(&observation, reward, done);
        let projected = steer::apply(&mut self.now, &self.start, &action, self.settings.privacy.regime);
        if self.now.post.stops() && !done {
            // Nothing follows a move that ends the run, and nothing is what it earns.
            self.controller.act(&observation, Some(Public::declare(0.0).into()), true);
        }
        self.recorder.metric(&ControlRecord {
            projected,
            controller: self.controller.telemetry(),
            ..record_of_interval
        })
    }

    fn reward_of_interval(&mut self, raw: Option<&RawSummary>) -> Option<Observable> {
        let utility: Option<Observable> = if let Some(raw) = raw {
            Some(raw.loss.combine(raw.loss, |loss, _| -loss))
        } else if self.settings.control.public_probe {
            self.evaluation.map(|(_, evaluation)| Public::declare(-evaluation.nll).into())
        } else {
            self.observer.mean_loss().map(|loss| loss.map(|loss| -loss).into())
        };
        self.reward.observe(utility?, Public::declare(self.spender.spent_fraction()).into())
    }

    /// Standard deviation of the noise on each coordinate of the mean gradient of a step (K), public. Where noise has bands, it is
    /// smaller in the first steps after it began anew.
    pub(crate) fn noise_std(&self) -> Result<Vec<f64>, TrainError> {
        let allocation = self.now.allocation()?;
        let scale = self.spender.bands().deviation() / self.settings.privacy.batch_size;
        Ok((0..self.now.clip_norms.len()).map(|k| allocation.noise_std(self.now.noise_multiplier, k) * scale).collect())
    }

    /// Σ d_i s_i² of the mean gradient, public.
    fn noise_energy(&self) -> Result<f64, TrainError> {
        let pairs = self.adapter.layout().pairs().iter().zip(self.noise_std()?);
        Ok(pairs.map(|(pair, std)| pair.parameter_count() as f64 * std * std).sum())
    }

    /// Each pair's distance from its start over √d_i, from released updates only (K).
    fn drift(&self) -> Vec<f64> {
        let (now, first) = (self.adapter.parameters(), &self.first_parameters);
        let pairs = self.adapter.layout().pairs();
        pairs
            .iter()
            .map(|pair| {
                let squares: f64 = pair.range().map(|i| f64::from(now[i] - first[i]).powi(2)).sum();
                (squares / pair.parameter_count() as f64).sqrt()
            })
            .collect()
    }

    /// Evaluates on the public records when the step asks for it, and not again after a resume.
    fn evaluate_when_due(&mut self, step: u64, progress: &mut dyn Progress) -> Result<(), TrainError> {
        let due = step.is_multiple_of(self.settings.output.eval_every) || step == self.settings.privacy.steps;
        let known = self.evaluation.is_some_and(|(at, _)| at == step);
        let Some(records) = self.eval.as_ref().filter(|_| due && !known) else { return Ok(()) };
        let evaluation = evaluate(self.engine.as_mut(), Some(&self.average.of(&self.adapter)), records)?;
        self.recorder.metric(&EvalRecord::new(step, evaluation))?;
        progress.evaluated(step, &evaluation);
        self.evaluation = Some((step, evaluation));
        Ok(())
    }
}

/// Energy of the released gradient over its noise's, minus 1, over all pairs.
fn global_snr(layout: &AdapterLayout, release: &NoisyRelease) -> f64 {
    let energy: f64 = release.mean_gradient.get().iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
    let pairs = layout.pairs().iter().zip(&release.noise_std);
    let noise: f64 = pairs.map(|(pair, std)| pair.parameter_count() as f64 * std * std).sum();
    if noise > 0.0 { energy / noise - 1.0 } else { 0.0 }
}

pub(crate) fn unit_input(units: &PrivacyUnits, unit: usize) -> UnitInput<'_> {
    let blocks = units.unit(unit).blocks.iter();
    let sequences =
        blocks.map(|block| Sequence { tokens: &block.tokens, scored_from: block.scored_from, weight: block.weight });
    UnitInput { sequences: sequences.collect() }
}
