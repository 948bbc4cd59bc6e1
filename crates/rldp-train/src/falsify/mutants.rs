//! Planted bugs: the honest step with one thing wrong. For tests only.

use std::io;

use rldp_model::{Pair, Sequence, UnitInput};
use rldp_privacy::{
    Charge, ClippedSum, LedgerSink, NoisyRelease, Public, Regime, Secrecy, Sensitive, Spender, noise_delta,
};

use crate::{
    TrainError, Trainer,
    mechanism::unit_input,
    steering::{observation::PublicFacts, observer::Observer},
};

type Stepped = Result<Option<NoisyRelease>, TrainError>;

struct Nowhere;

impl LedgerSink for Nowhere {
    fn append(&mut self, _line: &str) -> io::Result<()> {
        Ok(())
    }
}

/// A charge that the run's ledger knows nothing of, with noise `factor` times smaller than planned.
fn secret_charge(trainer: &Trainer, factor: f64) -> Result<Charge, TrainError> {
    const EPSILON: f64 = 25.0;
    let mut claim = trainer.mechanism.spender.claim().clone();
    let noise_multiplier = trainer.mechanism.start.noise_multiplier / factor;
    claim.target_epsilon = EPSILON;
    claim.noise_delta = noise_delta(EPSILON, claim.delta, claim.noise_coordinates, claim.steps)?;
    if let Regime::Committed { segments, .. } = &mut claim.regime {
        for event in segments {
            event.noise_multiplier = noise_multiplier;
        }
    }
    let mut spender = Spender::open(claim, Box::new(Nowhere))?;
    Ok(spender.charge(noise_multiplier, Secrecy::Secret)?.expect("a fresh claim grants its first step"))
}

fn sum(trainer: &Trainer, charge: Charge) -> Result<ClippedSum, TrainError> {
    let sizes: Vec<usize> = trainer.learner.adapter.layout().pairs().iter().map(Pair::parameter_count).collect();
    Ok(ClippedSum::new(
        charge,
        &sizes,
        trainer.mechanism.now.allocation()?,
        trainer.mechanism.statistics.clone(),
        1 << 16,
    )?)
}

/// A block that counts as a whole unit.
fn alone(block: Sequence<'_>) -> UnitInput<'_> {
    let weight = 1.0 / block.scored_tokens().max(1) as f32;
    UnitInput { sequences: vec![Sequence { weight, ..block }] }
}

/// Gradients and losses of units, one after another.
fn gradients(trainer: &mut Trainer, indices: &[usize], each_block: bool) -> Result<Vec<(Vec<f32>, f64)>, TrainError> {
    let kept = indices.iter().filter(|unit| trainer.mechanism.units.includes(**unit));
    let mut inputs: Vec<UnitInput> = kept.map(|&unit| unit_input(&trainer.mechanism.units, unit)).collect();
    if each_block {
        inputs = inputs.iter().flat_map(|unit| unit.sequences.iter().map(|block| alone(*block))).collect();
    }
    let mut found = Vec::new();
    trainer.engine.for_each_unit_gradient(&trainer.learner.adapter, &inputs, &mut |_, unit| {
        found.push((unit.gradient.to_vec(), unit.loss));
    })?;
    Ok(found)
}

fn release(trainer: &mut Trainer, charge: Charge, units: &[(Vec<f32>, f64)], batch: f64) -> Stepped {
    let mut sum = sum(trainer, charge)?;
    for (gradient, loss) in units {
        sum.add_unit(Sensitive::new(gradient.as_slice()), Sensitive::new(*loss));
    }
    Ok(Some(sum.release(&mut trainer.mechanism.noise, &mut trainer.mechanism.past, batch)?))
}

/// What every step begins with.
fn charge_and_sample(trainer: &mut Trainer) -> Result<Option<(Charge, Vec<usize>)>, TrainError> {
    let Some(charge) = trainer.mechanism.spender.charge(trainer.mechanism.now.noise_multiplier, Secrecy::Secret)?
    else {
        return Ok(None);
    };
    Ok(Some((charge, trainer.mechanism.sampled().indices().to_vec())))
}

/// Every pair gets the noise of the whole: the true multiplier is z/√K, the ledger says z.
pub(super) fn single_sigma_charge(trainer: &mut Trainer) -> Stepped {
    let Some((_, indices)) = charge_and_sample(trainer)? else { return Ok(None) };
    let pairs = trainer.learner.adapter.layout().pairs().len() as f64;
    let charge = secret_charge(trainer, pairs.sqrt())?;
    let units = gradients(trainer, &indices, false)?;
    let batch = trainer.run.settings.privacy.batch_size;
    release(trainer, charge, &units, batch)
}

/// Bounds every unit by 13 % more than was charged: once by its bound, and again by 0.13 of it.
pub(super) fn a_little_too_much(trainer: &mut Trainer) -> Stepped {
    let Some((charge, indices)) = charge_and_sample(trainer)? else { return Ok(None) };
    let mut sum = sum(trainer, charge)?;
    let bound = 0.13 * super::white_box::bound(trainer) as f32;
    let inputs: Vec<UnitInput> = indices.iter().map(|&unit| unit_input(&trainer.mechanism.units, unit)).collect();
    trainer.engine.for_each_unit_gradient(&trainer.learner.adapter, &inputs, &mut |_, unit| {
        let norm = unit.gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
        let more: Vec<f32> = unit.gradient.iter().map(|g| g * bound / norm).collect();
        sum.add_unit(Sensitive::new(unit.gradient), Sensitive::new(unit.loss));
        sum.add_unit(Sensitive::new(more.as_slice()), Sensitive::new(unit.loss));
    })?;
    let batch = trainer.mechanism.batch_size;
    Ok(Some(sum.release(&mut trainer.mechanism.noise, &mut trainer.mechanism.past, batch)?))
}

/// Divides by how many units there happened to be.
pub(super) fn realised_batch_size(trainer: &mut Trainer) -> Stepped {
    let Some((charge, indices)) = charge_and_sample(trainer)? else { return Ok(None) };
    let units = gradients(trainer, &indices, false)?;
    release(trainer, charge, &units, indices.len().max(1) as f64)
}

/// Clips the mean gradient of the batch instead of every unit's.
pub(super) fn clip_after_averaging(trainer: &mut Trainer) -> Stepped {
    let Some((charge, indices)) = charge_and_sample(trainer)? else { return Ok(None) };
    let units = gradients(trainer, &indices, false)?;
    let mut mean = vec![0.0; trainer.learner.adapter.parameters().len()];
    for (gradient, _) in &units {
        mean.iter_mut().zip(gradient).for_each(|(mean, g)| *mean += g / units.len() as f32);
    }
    let batch = trainer.run.settings.privacy.batch_size;
    let repeated: Vec<(Vec<f32>, f64)> = units.iter().map(|(_, loss)| (mean.clone(), *loss)).collect();
    release(trainer, charge, &repeated, batch)
}

/// Clips every block of a unit on its own.
pub(super) fn blocks_as_units(trainer: &mut Trainer) -> Stepped {
    let Some((charge, indices)) = charge_and_sample(trainer)? else { return Ok(None) };
    let units = gradients(trainer, &indices, true)?;
    let batch = trainer.run.settings.privacy.batch_size;
    release(trainer, charge, &units, batch)
}

/// Samples from all units in every step, whosever turn it is.
pub(super) fn ignores_turns(trainer: &mut Trainer) -> Stepped {
    let Some((charge, _)) = charge_and_sample(trainer)? else { return Ok(None) };
    let everybody: Vec<usize> = (0..trainer.mechanism.units.len()).collect();
    let units = gradients(trainer, &everybody, false)?;
    let batch = trainer.run.settings.privacy.batch_size;
    release(trainer, charge, &units, batch)
}

/// Takes B units in turn, as an epoch over shuffled data does.
pub(super) fn shuffled_batches(trainer: &mut Trainer) -> Stepped {
    let Some(charge) = trainer.mechanism.spender.charge(trainer.mechanism.now.noise_multiplier, Secrecy::Secret)?
    else {
        return Ok(None);
    };
    let (batch, count) = (trainer.run.settings.privacy.batch_size, trainer.mechanism.units.len());
    let first = trainer.mechanism.spender.steps_charged() as usize * batch as usize;
    let indices: Vec<usize> = (first..first + batch as usize).map(|index| index % count).collect();
    let units = gradients(trainer, &indices, false)?;
    release(trainer, charge, &units, batch)
}

/// Two micro-batches, each with noise of its own.
pub(super) fn noise_per_micro_batch(trainer: &mut Trainer) -> Stepped {
    let Some((charge, indices)) = charge_and_sample(trainer)? else { return Ok(None) };
    let units = gradients(trainer, &indices, false)?;
    let (first, second) = units.split_at(units.len() / 2);
    let batch = trainer.run.settings.privacy.batch_size;
    let uncharged = secret_charge(trainer, 1.0)?;
    let one = release(trainer, charge, first, batch)?;
    let two = release(trainer, uncharged, second, batch)?;
    Ok(one.zip(two).map(|(one, two)| NoisyRelease {
        mean_gradient: one.mean_gradient.zip(two.mean_gradient).map(|(mut one, two)| {
            one.iter_mut().zip(&two).for_each(|(one, two)| *one += two);
            one
        }),
        ..two
    }))
}

/// No units, no step.
pub(super) fn skips_empty_batches(trainer: &mut Trainer) -> Stepped {
    let Some((charge, indices)) = charge_and_sample(trainer)? else { return Ok(None) };
    if indices.is_empty() {
        return Ok(None);
    }
    let units = gradients(trainer, &indices, false)?;
    let batch = trainer.run.settings.privacy.batch_size;
    release(trainer, charge, &units, batch)
}

/// Draws first with the noise multiplier of the moment, and writes a committed plan that fits afterwards.
pub(super) fn charges_whatever_it_drew(trainer: &mut Trainer) -> Stepped {
    let factor = trainer.mechanism.start.noise_multiplier / trainer.mechanism.now.noise_multiplier;
    let charge = secret_charge(trainer, factor)?;
    let indices = trainer.mechanism.sampled().indices().to_vec();
    let units = gradients(trainer, &indices, false)?;
    let batch = trainer.run.settings.privacy.batch_size;
    release(trainer, charge, &units, batch)
}

fn facts(trainer: &Trainer) -> PublicFacts<'_> {
    PublicFacts {
        step_fraction: 0.5,
        budget_fraction: 0.5,
        start: &trainer.mechanism.start,
        now: &trainer.mechanism.now,
        post: &trainer.learner.post,
        last_reward: None,
        drift: vec![0.0; trainer.mechanism.now.clip_norms.len()],
        spectral_tails: vec![0.0; trainer.mechanism.now.clip_norms.len()],
        noise_energy: 1.0,
        norm_bins: None,
    }
}

/// The flat observation after one release.
pub(super) fn honest_observation(trainer: &mut Trainer, release: &NoisyRelease) -> Vec<f64> {
    let mut observer = Observer::default();
    observer.record(trainer.learner.adapter.layout(), release, trainer.learner.optimizer.first_moment(), None, true);
    observer.finish(&facts(trainer)).unwrap().flat()
}

/// The same with the exact training loss declared public.
pub(super) fn raw_loss_in_the_observation(trainer: &mut Trainer, release: &NoisyRelease) -> Vec<f64> {
    let everybody: Vec<usize> = (0..trainer.mechanism.units.len()).collect();
    let losses = gradients(trainer, &everybody, false).unwrap();
    let mean = losses.iter().map(|(_, loss)| loss).sum::<f64>() / losses.len() as f64;
    let mut observer = Observer::default();
    observer.record(trainer.learner.adapter.layout(), release, trainer.learner.optimizer.first_moment(), None, true);
    let last_reward = Some(Public::declare(-mean).into());
    observer.finish(&PublicFacts { last_reward, ..facts(trainer) }).unwrap().flat()
}
