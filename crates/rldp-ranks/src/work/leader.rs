//! Rank 0: deals units, adds up what comes back.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rldp_data::PrivacyUnits;
use rldp_model::{Adapter, Engine, EngineError, Sequence, SequenceLoss};
use rldp_privacy::{Frame, PartialSum};
use rldp_train::{SumTask, Summation, TrainError, sum_units};

use super::{
    follower::own_sum,
    message::{Piece, Reply, Request, Share, dealt, digest, parameters, read, write},
    share::deal,
};
use crate::{Group, RanksError};

/// The ranks, as rank 0 has them. Clones share them.
#[derive(Clone)]
pub struct Team {
    group: Arc<Mutex<Box<dyn Group>>>,
    /// Set when somebody asked another rank to stop.
    stop: Arc<AtomicBool>,
    /// Whether units are sent instead of their numbers.
    deals: bool,
}

impl Team {
    /// Leads `group`. `deals` says that the other ranks have not read the records, and get their tokens.
    pub fn new(group: Box<dyn Group>, stop: Arc<AtomicBool>, deals: bool) -> Self {
        Self { group: Arc::new(Mutex::new(group)), stop, deals }
    }

    /// Tells the other ranks that nothing more will be asked.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub fn end(&self) -> Result<(), RanksError> {
        let message = write(&Request::End)?;
        self.with(|group| group.broadcast(message).map(|_| ()))
    }

    /// Ends all ranks at once.
    pub fn abort(&self, code: i32) -> ! {
        let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        group.abort(code)
    }

    fn with<T>(&self, act: impl FnOnce(&mut dyn Group) -> T) -> T {
        act(self.group.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }

    /// The exact sum of a step's units, of which each rank makes a part.
    ///
    /// **Sensitivity.** Each unit of the batch is dealt to one rank, and adds there what [`PartialSum::add_unit`] adds. Integers are added
    /// modulo 2^64, so the sum is that of one process to the bit. It is looked at only after every rank has said that it did its part of
    /// this very request; otherwise the step's charge stays spent and nothing is released.
    fn sum(&self, engine: &mut dyn Engine, task: &SumTask) -> Result<PartialSum, Error> {
        let SumTask { adapter, units, batch, frame } = *task;
        let request = write(&Request::Sum { frame: Box::new(Frame::clone(frame)), parameters: parameters(adapter) })?;
        let sizes: Vec<usize> = batch.iter().map(|&unit| tokens(units, unit)).collect();
        self.with(|group| {
            let shares = deal(&sizes, group.size());
            let numbers: Vec<Vec<usize>> =
                shares.iter().map(|share| share.iter().map(|&at| batch[at]).collect()).collect();
            let request = group.broadcast(request)?;
            let parts = numbers.iter().skip(1).map(|numbers| write(&self.share(units, numbers)));
            // Rank 0 keeps its own part.
            let parts = std::iter::once(Ok(Vec::new())).chain(parts).collect::<Result<_, _>>()?;
            group.scatter(parts)?;
            let own = SumTask { batch: &numbers[0], ..*task };
            let mut sum = own_sum(sum_units(engine, &own)?, frame);
            self.check(&request, &collect(group, &request, Vec::new())?)?;
            group.reduce(&mut sum)?;
            let sum = sum.into_iter().map(u64::cast_signed).collect();
            Ok(PartialSum::from_wire(Arc::clone(frame), sum).map_err(TrainError::from)?)
        })
    }

    fn share(&self, units: &PrivacyUnits, numbers: &[usize]) -> Share {
        if self.deals {
            Share::Dealt(dealt(units, numbers))
        } else {
            Share::Numbered(numbers.iter().map(|&number| number as u32).collect())
        }
    }

    /// Losses in input order, of which each rank computes a part.
    pub(super) fn losses(
        &self,
        engine: &mut dyn Engine,
        adapter: Option<&Adapter>,
        sequences: &[Sequence],
    ) -> Result<Vec<SequenceLoss>, Error> {
        let request = write(&Request::Losses { parameters: adapter.map(parameters) })?;
        let sizes: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens.len()).collect();
        self.with(|group| {
            let shares = deal(&sizes, group.size());
            let request = group.broadcast(request)?;
            let pieces = |share: &Vec<usize>| share.iter().map(|&at| Piece::new(&sequences[at])).collect();
            let parts = shares.iter().skip(1).map(|share| write(&Share::Sequences(pieces(share))));
            let parts = std::iter::once(Ok(Vec::new())).chain(parts).collect::<Result<_, _>>()?;
            group.scatter(parts)?;
            let own: Vec<Sequence> = shares[0].iter().map(|&at| sequences[at]).collect();
            let own = engine.losses(adapter, &own).map_err(TrainError::from)?;
            let own = own.iter().map(|loss| (loss.nll, loss.tokens as u64)).collect();
            let replies = collect(group, &request, own)?;
            self.check(&request, &replies)?;
            let mut losses = vec![SequenceLoss::default(); sequences.len()];
            for (rank, (share, reply)) in shares.iter().zip(&replies).enumerate() {
                if share.len() != reply.losses.len() {
                    return Err(RanksError::Garbled(format!("rank {rank} lost a sequence")).into());
                }
                for (&at, &(nll, tokens)) in share.iter().zip(&reply.losses) {
                    losses[at] = SequenceLoss { nll, tokens: tokens as usize };
                }
            }
            Ok(losses)
        })
    }

    /// Whether every rank did its part of this request.
    fn check(&self, request: &[u8], replies: &[Reply]) -> Result<(), RanksError> {
        let ours = digest(request);
        for (rank, reply) in replies.iter().enumerate() {
            if let Some(why) = &reply.failure {
                return Err(RanksError::Failed { rank, why: why.clone() });
            }
            if reply.digest != ours {
                let hex = |bytes: &[u8]| bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
                let what = "the digest of what was released".to_owned();
                return Err(RanksError::Differs { what, rank, ours: hex(&ours), theirs: hex(&reply.digest) });
            }
            if reply.stop {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl Summation for Team {
    fn sum(&mut self, engine: &mut dyn Engine, task: &SumTask) -> Result<Vec<PartialSum>, TrainError> {
        Ok(vec![Self::sum(self, engine, task)?])
    }
}

/// Everybody's replies, with rank 0's own.
fn collect(group: &mut dyn Group, request: &[u8], losses: Vec<(f64, u64)>) -> Result<Vec<Reply>, RanksError> {
    let own = Reply { digest: digest(request), losses, ..Reply::default() };
    group.gather(write(&own)?)?.iter().map(|bytes| read(bytes)).collect()
}

fn tokens(units: &PrivacyUnits, unit: usize) -> usize {
    units.unit(unit).blocks.iter().map(|block| block.tokens.len()).sum()
}

/// What fails here, or among the ranks.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Ranks(#[from] RanksError),
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl From<Error> for TrainError {
    fn from(error: Error) -> Self {
        match error {
            Error::Ranks(error) => EngineError::Backend(error.to_string()).into(),
            Error::Train(error) => error,
        }
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        Self::Backend(error.to_string())
    }
}
