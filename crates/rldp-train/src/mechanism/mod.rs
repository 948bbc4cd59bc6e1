//! The private mechanism: from a charge to a release. What a step is, is written here and nowhere else.
//!
//! Everything that reads records lives in this room, and what leaves it is a [`NoisyRelease`].

pub(crate) mod controls;
pub(crate) mod geometry;
mod loss_bound;
mod passage;
mod plain;
pub mod plan;
mod raw;
mod summation;
mod units;

use rldp_data::{PoissonSampler, PrivacyUnits, SampledBatch};
use rldp_model::{Adapter, Engine};
use rldp_privacy::{ClippedSum, NoiseSource, NoisyRelease, Past, Secrecy, Sensitive, Spender, StatisticSpec};
use serde::{Deserialize, Serialize};

pub use self::summation::{SumTask, Summation, sum_units};
pub(crate) use self::{
    controls::{CLIP_RANGE, Controls},
    loss_bound::LossBound,
    raw::{RawObserver, RawSummary},
    summation::Here,
    units::unit_input,
};
use self::{geometry::Geometry, passage::Passage, summation::sum_on_workers};
use crate::error::TrainError;

/// Fewer draws take less time than a thread that makes them.
const WORTH_A_THREAD: usize = 1 << 14;

/// The mechanism of a run, between two steps.
pub(crate) struct Mechanism {
    /// Guards the claim: nothing is touched before it has charged the step.
    pub(crate) spender: Spender,
    /// Who takes part, from secret randomness.
    pub(crate) sampler: PoissonSampler,
    pub(crate) noise: NoiseSource,
    /// What earlier steps left for the noise of later ones. Private; not in any checkpoint.
    pub(crate) past: Past,
    /// The records, by unit.
    pub(crate) units: PrivacyUnits,
    /// B, expected units of a step; public.
    pub(crate) batch_size: f64,
    /// The paid statistic of the first step.
    pub(crate) statistics: Option<StatisticSpec>,
    /// What the controls were before the first step.
    pub(crate) start: Controls,
    /// What they are now.
    pub(crate) now: Controls,
    pub(crate) loss_bound: LossBound,
    /// Coordinates in which a unit is bounded; `None` for the gradient's own.
    pub(crate) geometry: Option<Box<dyn Geometry>>,
    /// Where a batch is summed.
    pub(crate) summation: Box<dyn Summation>,
    /// Looks at units before they are clipped, in a run that guarantees nothing.
    pub(crate) raw: Option<RawObserver>,
}

/// What of the mechanism a run goes on with: public values, and functions of released ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MechanismState {
    pub(crate) controls: Controls,
    pub(crate) loss_bound: LossBound,
    /// What the geometry learned; empty without one.
    #[serde(with = "crate::run::numbers")]
    pub(crate) geometry: Vec<f32>,
}

/// Noise in a step's mean gradient, by what is public about it.
#[derive(Clone, Debug)]
pub(crate) struct NoiseLevels {
    /// Standard deviation on each coordinate (K). Where noise has bands, it is smaller in the first steps after it began anew.
    pub(crate) std: Vec<f64>,
    /// What of it stays in a sum over steps, over √steps ([`rldp_privacy::Bands::lasting`]).
    pub(crate) lasting: f64,
}

impl Mechanism {
    /// One step: charge, sample, clip and sum, add noise. `None` when the budget refuses, or all steps are made.
    ///
    /// # Errors
    /// When the ledger cannot be synced, or the engine fails. What was charged stays charged.
    pub(crate) fn step(
        &mut self,
        engine: &mut dyn Engine,
        adapter: &Adapter,
    ) -> Result<Option<NoisyRelease>, TrainError> {
        if self.promises_nothing() { self.plain_step(engine, adapter) } else { self.private_step(engine, adapter) }
    }

    /// The step of a run that promises something.
    ///
    /// The charge is durable before a record is touched; a sum begins with it and leaves with the noise it paid for.
    pub(crate) fn private_step(
        &mut self,
        engine: &mut dyn Engine,
        adapter: &Adapter,
    ) -> Result<Option<NoisyRelease>, TrainError> {
        let allocation = self.now.allocation()?;
        let Some(charge) = self.spender.charge(self.now.wanted_noise_multiplier(), self.secrecy())? else {
            return Ok(None);
        };
        self.now.noise_multiplier = charge.noise_multiplier();
        let statistics = self.statistics.as_ref().map(|first| self.loss_bound.apply(first));
        let mut sum = ClippedSum::new(charge, &pair_sizes(adapter), allocation, statistics, self.units.len())?;
        let batch = self.sampled();
        let Self { noise, raw, units, geometry, summation, .. } = self;
        let (geometry, draws) = (geometry.as_deref(), sum.frame().coordinates());
        // Noise depends on nothing but its generator, so it is drawn while records are summed, here or in other processes.
        std::thread::scope(|scope| {
            if draws >= WORTH_A_THREAD {
                scope.spawn(|| noise.draw_ahead(draws));
            }
            add_units(&mut sum, Source { raw, units, geometry, summation, batch: &batch }, engine, adapter)
        })?;
        let release = sum.release(&mut self.noise, &mut self.past, self.batch_size)?;
        Ok(Some(self.learn(release, adapter)))
    }

    /// Of noise and sampling together.
    fn secrecy(&self) -> Secrecy {
        let sampling = if self.sampler.is_secret() { Secrecy::Secret } else { Secrecy::Known };
        self.noise.secrecy().and(sampling)
    }

    /// What the next steps take from a release, which is brought into the gradient's own coordinates.
    fn learn(&mut self, release: NoisyRelease, adapter: &Adapter) -> NoisyRelease {
        if let (Some(first), Some(released)) = (&self.statistics, &release.statistics) {
            self.loss_bound.follow(first, released);
        }
        let inner_noise = release.noise_std.clone();
        let release = Passage::new(adapter.layout(), self.geometry.as_deref()).back(release);
        if let Some(geometry) = &mut self.geometry {
            let gradient = release.mean_gradient.get();
            let trained = adapter.layout().pairs().iter().flat_map(|pair| &gradient[pair.range()]).copied();
            geometry.learn(&trained.collect::<Vec<_>>(), &inner_noise);
        }
        release
    }

    /// Whether the run's claim is none: nothing is clipped and there is no noise.
    pub(crate) fn promises_nothing(&self) -> bool {
        matches!(self.spender.claim().regime, rldp_privacy::Regime::NonPrivate)
    }

    /// Public levels of the noise in a step's mean gradient as the controls stand.
    ///
    /// # Errors
    /// When the controls are no valid allocation.
    pub(crate) fn noise_levels(&self) -> Result<NoiseLevels, TrainError> {
        let bands = self.spender.bands();
        let std = self.now.allocation()?.released_noise_std(self.now.noise_multiplier, bands, None, self.batch_size);
        Ok(NoiseLevels { std, lasting: bands.lasting() })
    }

    /// What a later process goes on with.
    pub(crate) fn state(&self) -> MechanismState {
        MechanismState {
            controls: self.now.clone(),
            loss_bound: self.loss_bound,
            geometry: self.geometry.as_ref().map_or_else(Vec::new, |geometry| geometry.state()),
        }
    }

    /// Goes on with a saved state that `RunState::check` has let pass.
    ///
    /// # Errors
    /// When what the geometry learned is of another shape.
    pub(crate) fn restore(&mut self, state: MechanismState) -> Result<(), TrainError> {
        geometry::restore(self.geometry.as_deref_mut(), &state.geometry)?;
        self.now = state.controls;
        self.loss_bound = state.loss_bound;
        Ok(())
    }
}

/// Where a step's units come from, and where they are summed.
struct Source<'a> {
    raw: &'a mut Option<RawObserver>,
    units: &'a PrivacyUnits,
    geometry: Option<&'a dyn Geometry>,
    summation: &'a mut Box<dyn Summation>,
    batch: &'a SampledBatch,
}

/// Adds the units of a batch, clipped, to `sum`.
fn add_units(
    sum: &mut ClippedSum,
    source: Source,
    engine: &mut dyn Engine,
    adapter: &Adapter,
) -> Result<(), TrainError> {
    let Source { raw, units, geometry, summation, batch } = source;
    if let Some(raw) = raw {
        let inputs: Vec<_> = batch.indices().iter().map(|&unit| unit_input(units, unit)).collect();
        let mut passage = Passage::new(adapter.layout(), geometry);
        engine.for_each_unit_gradient(adapter, &inputs, &mut |_, unit| {
            raw.add(adapter.layout(), unit.gradient, unit.loss);
            sum.add_unit(Sensitive::new(passage.forth(unit.gradient)), Sensitive::new(unit.loss));
        })?;
        return Ok(());
    }
    let frame = sum.frame().clone();
    let task = SumTask { adapter, units, batch: batch.indices(), frame: &frame };
    let parts = match geometry {
        None => summation.sum(engine, &task)?,
        geometry => sum_on_workers(engine, &task, geometry)?,
    };
    parts.into_iter().try_for_each(|part| sum.absorb(part))?;
    Ok(())
}

/// d_i, parameters of each pair (K).
fn pair_sizes(adapter: &Adapter) -> Vec<usize> {
    adapter.layout().pairs().iter().map(rldp_model::Pair::parameter_count).collect()
}
