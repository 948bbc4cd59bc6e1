//! Training on public text before the first private step.
//!
//! It touches no private record, so it is not charged and gets no noise. Whether the text is public is for whoever runs this to say: the
//! claim names the files by their digests. What comes of it is an adapter in the run's `public/` folder, and the private steps begin there.

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;
use rldp_data::{PrivacyUnits, TokenRecord, UnitPolicy};
use rldp_model::{Adapter, Engine};
use rldp_privacy::PublicFile;
use serde::Serialize;

use super::{Optimizer, Step};
use crate::{
    error::TrainError,
    evaluate::{PublicRecords, evaluate},
    mechanism::unit_input,
    run::progress::Progress,
    settings::{Decay, OptimizerKind, OptimizerSettings, TrainSettings},
};

/// Public records of a step.
const BATCH: usize = 64;
/// One record in so many, up to a limit, is held out to tell when to stop.
const HELD_OUT_OF: usize = 10;
const MOST_HELD_OUT: usize = 256;
const FEWEST_RECORDS: usize = 20;
/// Steps between two looks at the records that were held out.
const LOOK_EVERY: u64 = 20;
/// A look that finds less than this gain, in nats a token, found none.
const WORTH_IT: f64 = 0.003;
/// Looks without gain after which the rate falls, by this factor, and how often it may.
const PATIENCE: u32 = 2;
const FALL: f64 = 3.0;
const FALLS: u32 = 1;
/// Learning rate of AdamW over 1/`lora_alpha`, which scales what a step does to the model.
const RATE: f64 = 0.08;
/// The warm-up reads about as many records as all private steps are expected to at most, or so many where those are fewer; and each about so
/// many times at most.
const FEWEST_READ: f64 = 16_384.0;
const MOST_PASSES: usize = 4;
/// Its own stream of the public seed.
const STREAM: u64 = 11;

/// Text that was declared public, in the files it came from.
pub struct PublicText {
    files: Vec<PublicFile>,
    units: PrivacyUnits,
    held_out: PublicRecords,
}

/// How a warm-up went, as a line of the metrics: public values only.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct WarmUpRecord {
    kind: &'static str,
    /// Steps that led to the adapter that was kept.
    pub(crate) updates: u64,
    /// Public records they read.
    records: u64,
    /// On the public records that were held out, in nats a token.
    pub(crate) nll_before: f64,
    pub(crate) nll: f64,
}

impl PublicText {
    /// Declares `records`, of `files`, public. Of records alike one is kept; which are held out depends on what they hold alone.
    ///
    /// # Errors
    /// When there are too few to learn from.
    pub(crate) fn declare(
        files: Vec<PublicFile>,
        mut records: Vec<TokenRecord>,
        max_length: usize,
    ) -> Result<Self, TrainError> {
        records.retain(|record| record.scored_tokens() > 0);
        records.sort_by_key(|record| record.content);
        records.dedup_by_key(|record| record.content);
        if records.len() < FEWEST_RECORDS {
            return Err(TrainError::Refused(format!(
                "the public text has {} different records, but a warm-up needs {FEWEST_RECORDS}, of which some are held out; give more, or \
                 leave --public out",
                records.len()
            )));
        }
        let count = (records.len() / HELD_OUT_OF).clamp(1, MOST_HELD_OUT);
        let held_out = records.split_off(records.len() - count);
        let policy = UnitPolicy { max_length, max_records: None, unsafe_seed: None };
        let units = PrivacyUnits::by_record(&records, &policy)?;
        Ok(Self { files, units, held_out: PublicRecords::declare(&held_out, max_length) })
    }

    /// The files, by digest.
    pub(crate) fn files(&self) -> &[PublicFile] {
        &self.files
    }

    /// Trains the adapter until records that were held out gain no more, and leaves it where they were best. `None` when `progress` asked
    /// to stop before: then nothing came of it.
    ///
    /// # Errors
    /// When the engine fails.
    pub(crate) fn warm_up(
        &self,
        engine: &mut dyn Engine,
        adapter: &mut Adapter,
        settings: &TrainSettings,
        progress: &mut dyn Progress,
    ) -> Result<Option<WarmUpRecord>, TrainError> {
        let look = |engine: &mut dyn Engine, adapter: &Adapter| evaluate(engine, Some(adapter), &self.held_out);
        let first = look(engine, adapter)?;
        let mut walk = Walk::new(self, adapter, settings);
        let mut best = (first.nll, 0, adapter.parameters().to_vec());
        let (mut without, mut falls) = (0, 0);
        let most = self.most_updates(settings, walk.batch);
        while walk.updates < most {
            let next_look = most.min(walk.updates + LOOK_EVERY);
            while walk.updates < next_look {
                if progress.should_stop() {
                    return Ok(None);
                }
                walk.step(engine, adapter)?;
            }
            let found = look(engine, adapter)?;
            progress.warming(walk.updates, &found);
            if found.nll < best.0 - WORTH_IT {
                best = (found.nll, walk.updates, adapter.parameters().to_vec());
                without = 0;
                continue;
            }
            without += 1;
            if without == PATIENCE {
                if falls == FALLS {
                    break;
                }
                (without, falls) = (0, falls + 1);
                adapter.parameters_mut().copy_from_slice(&best.2);
                walk.slow_down();
            }
        }
        let (nll, updates, parameters) = best;
        adapter.parameters_mut().copy_from_slice(&parameters);
        let records = updates * walk.batch as u64;
        Ok(Some(WarmUpRecord { kind: "warm_up", updates, records, nll_before: first.nll, nll }))
    }

    /// Tokens that a warm-up reads at most.
    pub(crate) fn most_tokens(&self, settings: &TrainSettings) -> f64 {
        let batch = BATCH.min(self.units.len());
        let tokens = |unit| self.units.unit(unit).blocks.iter().map(|block| block.tokens.len()).sum::<usize>();
        let mean = (0..self.units.len()).map(tokens).sum::<usize>() as f64 / self.units.len().max(1) as f64;
        (self.most_updates(settings, batch) * batch as u64) as f64 * mean
    }

    fn most_updates(&self, settings: &TrainSettings, batch: usize) -> u64 {
        let private = settings.privacy.steps as f64 * settings.privacy.batch_size;
        let read = (private.max(FEWEST_READ) / BATCH as f64).ceil() as u64;
        let passes = (MOST_PASSES * self.units.len() / batch) as u64;
        passes.min(read.next_multiple_of(LOOK_EVERY))
    }
}

/// AdamW through the records in random order, over and over.
struct Walk<'a> {
    text: &'a PublicText,
    order: Vec<usize>,
    rng: ChaCha12Rng,
    batch: usize,
    optimizer: Optimizer,
    rate: f64,
    updates: u64,
}

impl<'a> Walk<'a> {
    fn new(text: &'a PublicText, adapter: &Adapter, settings: &TrainSettings) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(settings.seed);
        rng.set_stream(STREAM);
        let rate = RATE / settings.model.scaled_alpha();
        let optimizer = Optimizer::new(adamw(), adapter.parameters().len());
        Self { text, order: Vec::new(), rng, batch: BATCH.min(text.units.len()), optimizer, rate, updates: 0 }
    }

    fn step(&mut self, engine: &mut dyn Engine, adapter: &mut Adapter) -> Result<(), TrainError> {
        if self.order.len() < self.batch {
            self.order = (0..self.text.units.len()).collect();
            self.order.shuffle(&mut self.rng);
        }
        let batch = self.order.split_off(self.order.len() - self.batch);
        let inputs: Vec<_> = batch.iter().map(|&unit| unit_input(&self.text.units, unit)).collect();
        let mut mean = vec![0.0_f32; adapter.parameters().len()];
        let share = 1.0 / self.batch as f32;
        engine.for_each_unit_gradient(adapter, &inputs, &mut |_, unit| {
            if unit.gradient.iter().all(|g| g.is_finite()) {
                mean.iter_mut().zip(unit.gradient).for_each(|(mean, g)| *mean += share * g);
            }
        })?;
        let pairs = adapter.layout().pairs().len();
        let (ones, zeros) = (vec![1.0; pairs], vec![0.0; pairs]);
        let made = Step {
            rescale: &ones,
            noise_std: &zeros,
            lasting: 1.0,
            gains: &ones,
            beta1: adamw().beta1,
            learning_rate: self.rate,
        };
        self.optimizer.update(adapter, &mean, made);
        self.updates += 1;
        Ok(())
    }

    /// A lower rate from here on, with moments of its own.
    fn slow_down(&mut self) {
        self.rate /= FALL;
        self.optimizer = Optimizer::new(adamw(), self.optimizer.first_moment().len());
    }
}

fn adamw() -> OptimizerSettings {
    OptimizerSettings {
        optimizer: OptimizerKind::Adamw,
        learning_rate: None,
        warmup: 0.0,
        decay: Decay::Constant,
        beta1: 0.9,
        beta2: 0.99,
        adam_epsilon: 1e-8,
        noise_floor: 1.0,
        weight_decay: 0.0,
    }
}
