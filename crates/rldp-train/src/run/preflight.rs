//! Before anything is spent: proof on public tokens that the model works and that the adapter reaches its loss.
//!
//! Adapters that silently stay untrained while epsilon accrues are the costliest known defect of private fine-tuning.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rldp_model::{Adapter, Engine, Sequence, UnitInput, UnitInvariance};

use crate::{error::TrainError, settings::TrainSettings};

const PROBE_SEQUENCES: usize = 4;
const PROBE_TOKENS: usize = 24;
/// Size of the trial values of B, against activations of order one.
const TRIAL: f32 = 0.02;

/// Refuses a promise on an engine that cannot say that a unit's gradient depends on that unit alone: sensitivity is proved for
/// a unit's own contribution, and units that moved each other's last bits would add up to more.
///
/// # Errors
/// When the run promises privacy and the engine does not promise that.
pub fn check_invariance(engine: &dyn Engine, settings: &TrainSettings) -> Result<(), TrainError> {
    if engine.unit_invariance() == UnitInvariance::Exact || !settings.unsafe_reasons().is_empty() {
        return Ok(());
    }
    Err(TrainError::Refused(format!(
        "the engine `{}` does not promise that a unit's gradient depends on that unit alone, to the last bit, which epsilon {} \
         rests on; use --engine cpu, or train without a promise by --unsafe-non-private",
        settings.model.engine, settings.privacy.epsilon
    )))
}

/// Checks the model's loss and every pair's gradient on random public tokens.
///
/// With B at zero only B has a gradient, so the check looks at B there, and at A after B was given small trial values.
///
/// # Errors
/// When the loss is not finite, or a pair has no or a non-finite gradient; names the pair.
pub fn preflight(engine: &mut dyn Engine, adapter: &Adapter, seed: u64) -> Result<(), TrainError> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let vocab = engine.config().vocab_size as u32;
    let length = PROBE_TOKENS.min(engine.config().max_positions).max(2);
    let probes: Vec<Vec<u32>> =
        (0..PROBE_SEQUENCES).map(|_| (0..length).map(|_| rng.random_range(0..vocab)).collect()).collect();
    let mut trial = adapter.clone();
    for k in 0..adapter.layout().pairs().len() {
        let range = adapter.layout().pairs()[k].b.clone();
        for value in &mut trial.parameters_mut()[range] {
            *value += rng.random_range(-TRIAL..TRIAL);
        }
    }
    let sequences: Vec<Sequence> = probes.iter().map(|tokens| sequence(tokens)).collect();
    let base = probe_loss(engine, None, &sequences)?;
    let moved = probe_loss(engine, Some(&trial), &sequences)?;
    if base == moved {
        return Err(TrainError::Refused(
            "the adapter does not change the model's loss on probe tokens; check --target-modules".into(),
        ));
    }
    let gradient = probe_gradient(engine, &trial, &sequences)?;
    for pair in adapter.layout().pairs() {
        let trained = [("lora_A", &pair.a), ("lora_B", &pair.b)].into_iter().skip(usize::from(!pair.trains_a));
        for (side, range) in trained {
            let energy: f64 = gradient[range.clone()].iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
            if !energy.is_finite() || energy == 0.0 {
                return Err(TrainError::Refused(format!(
                    "{}.{side} has {} gradient on probe tokens: training it would spend the budget for nothing",
                    pair.linear.name,
                    if energy == 0.0 { "no" } else { "a non-finite" }
                )));
            }
        }
    }
    Ok(())
}

fn sequence(tokens: &[u32]) -> Sequence<'_> {
    Sequence { tokens, scored_from: 1, skipped: &[], weight: 1.0 / (tokens.len() - 1) as f32 }
}

fn probe_loss(engine: &mut dyn Engine, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<f64, TrainError> {
    let loss: f64 = engine.losses(adapter, sequences)?.iter().map(|loss| loss.nll).sum();
    if loss.is_finite() {
        Ok(loss)
    } else {
        Err(TrainError::Refused(format!(
            "the model's loss on probe tokens is {loss}; its weights are damaged or of another architecture"
        )))
    }
}

fn probe_gradient(engine: &mut dyn Engine, adapter: &Adapter, sequences: &[Sequence]) -> Result<Vec<f32>, TrainError> {
    let units = [UnitInput { sequences: sequences.to_vec() }];
    let mut gradient = Vec::new();
    engine.for_each_unit_gradient(adapter, &units, &mut |_, unit| gradient = unit.gradient.to_vec())?;
    Ok(gradient)
}
