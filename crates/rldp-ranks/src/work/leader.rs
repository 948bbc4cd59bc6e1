//! Rank 0: deals units, adds up what comes back.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rldp_data::PrivacyUnits;
use rldp_model::{Adapter, Engine, EngineError, Sequence, SequenceLoss, TokenStats};
use rldp_privacy::{Frame, PartialSum};
use rldp_train::{SumTask, Summation, TrainError, sum_units};

use super::{
    follower::own_sum,
    message::{Answer, Piece, Reply, Request, Share, Weights, dealt, digest, read, write},
    share::{Pace, deal, loads},
};
use crate::{Group, RanksError};

/// The ranks, as rank 0 has them. Clones share them.
#[derive(Clone)]
pub struct Team {
    crew: Arc<Mutex<Crew>>,
    /// Set when somebody asked another rank to stop.
    stop: Arc<AtomicBool>,
    /// Whether units are sent instead of their numbers.
    deals: bool,
}

struct Crew {
    group: Box<dyn Group>,
    /// Of every kind of work by itself.
    paces: [Pace; 3],
}

#[derive(Clone, Copy)]
enum Work {
    Sums,
    Losses,
    Tokens,
}

/// What came of a request.
struct Divided<T> {
    /// Items of each rank.
    shares: Vec<Vec<usize>>,
    /// What rank 0 made of its own.
    own: T,
    /// Of all ranks, which have done their part of this very request.
    replies: Vec<Reply>,
}

impl Team {
    /// Leads `group`. `deals` says that the other ranks have not read the records, and get their tokens.
    pub fn new(group: Box<dyn Group>, stop: Arc<AtomicBool>, deals: bool) -> Self {
        Self { crew: Arc::new(Mutex::new(Crew { group, paces: Default::default() })), stop, deals }
    }

    /// Tells the other ranks that nothing more will be asked.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub fn end(&self) -> Result<(), RanksError> {
        self.crew().group.broadcast(write(&Request::End)?).map(|_| ())
    }

    /// Ends all ranks at once.
    pub fn abort(&self, code: i32) -> ! {
        self.crew().group.abort(code)
    }

    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and each rank's share of items of these sizes, does rank 0's share, and collects the replies.
    fn divide<T>(
        &self,
        (work, request): (Work, &Request),
        sizes: &[usize],
        share: &dyn Fn(&[usize]) -> Share,
        own: impl FnOnce(&[usize]) -> Result<T, Error>,
    ) -> Result<Divided<T>, Error> {
        let request = write(request)?;
        let mut crew = self.crew();
        let Crew { group, paces } = &mut *crew;
        let shares = deal(sizes, group.size(), &paces[work as usize]);
        let request = group.broadcast(request)?;
        // Rank 0 keeps its own part.
        let parts = shares.iter().skip(1).map(|items| write(&share(items)));
        group.scatter(std::iter::once(Ok(Vec::new())).chain(parts).collect::<Result<_, _>>()?)?;
        let digest = digest(&request);
        drop(request);
        let began = Instant::now();
        let own = own(&shares[0])?;
        let seconds = began.elapsed().as_secs_f64();
        let mine = Reply { digest: digest.clone(), seconds, stop: false, answer: Answer::Kept };
        let replies: Vec<Reply> =
            group.gather(write(&mine)?)?.iter().map(|bytes| read(bytes)).collect::<Result<_, _>>()?;
        self.check(&digest, &replies)?;
        let seconds: Vec<f64> = replies.iter().map(|reply| reply.seconds).collect();
        paces[work as usize].learn(&loads(sizes, &shares), &seconds);
        Ok(Divided { shares, own, replies })
    }

    /// The exact sum of a step's units, of which each rank makes a part.
    ///
    /// **Sensitivity.** Each unit of the batch is dealt to one rank, and adds there what [`PartialSum::add_unit`] adds. Integers are added
    /// modulo 2^64, so the sum is that of one process to the bit. It is looked at only after every rank has said that it did its part of
    /// this very request; otherwise the step's charge stays spent and nothing is released.
    fn sum(&self, engine: &mut dyn Engine, task: &SumTask) -> Result<PartialSum, Error> {
        let SumTask { adapter, units, batch, frame } = *task;
        let request = Request::Sum { frame: Box::new(Frame::clone(frame)), adapter: Weights::of(adapter) };
        let sizes: Vec<usize> = batch.iter().map(|&unit| tokens(units, unit)).collect();
        let numbers = |items: &[usize]| -> Vec<usize> { items.iter().map(|&at| batch[at]).collect() };
        let share = |items: &[usize]| self.share(units, &numbers(items));
        let own =
            |items: &[usize]| Ok(own_sum(sum_units(engine, &SumTask { batch: &numbers(items), ..*task })?, frame));
        let mut sum = self.divide((Work::Sums, &request), &sizes, &share, own)?.own;
        self.crew().group.reduce(&mut sum)?;
        let sum = sum.into_iter().map(u64::cast_signed).collect();
        Ok(PartialSum::from_wire(Arc::clone(frame), sum).map_err(TrainError::from)?)
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
        let request = (Work::Losses, &Request::Losses(adapter.map(Weights::of)));
        self.each(request, sequences, |own| engine.losses(adapter, own), Answer::losses)
    }

    /// Statistics of scored tokens in input order, likewise.
    pub(super) fn token_statistics(
        &self,
        engine: &mut dyn Engine,
        adapter: Option<&Adapter>,
        sequences: &[Sequence],
    ) -> Result<Vec<Vec<TokenStats>>, Error> {
        let request = (Work::Tokens, &Request::Tokens(adapter.map(Weights::of)));
        self.each(request, sequences, |own| engine.token_statistics(adapter, own), Answer::tokens)
    }

    /// Something of each sequence, in input order.
    fn each<T>(
        &self,
        request: (Work, &Request),
        sequences: &[Sequence],
        own: impl FnOnce(&[Sequence]) -> Result<Vec<T>, EngineError>,
        said: impl Fn(Answer) -> Option<Vec<T>>,
    ) -> Result<Vec<T>, Error> {
        let sizes: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens.len()).collect();
        let share = |items: &[usize]| Share::Sequences(items.iter().map(|&at| Piece::new(&sequences[at])).collect());
        let own = |items: &[usize]| {
            let mine: Vec<Sequence> = items.iter().map(|&at| sequences[at]).collect();
            Ok(own(&mine).map_err(TrainError::from)?)
        };
        let Divided { shares, own, replies } = self.divide(request, &sizes, &share, own)?;
        let others = replies.into_iter().skip(1).map(|reply| said(reply.answer).unwrap_or_default());
        let mut found: Vec<Option<T>> = sequences.iter().map(|_| None).collect();
        for (rank, (share, part)) in shares.iter().zip(std::iter::once(own).chain(others)).enumerate() {
            if share.len() != part.len() {
                return Err(RanksError::Garbled(format!("rank {rank} lost a sequence")).into());
            }
            share.iter().zip(part).for_each(|(&at, of)| found[at] = Some(of));
        }
        let all: Option<Vec<T>> = found.into_iter().collect();
        all.ok_or_else(|| RanksError::Garbled("a sequence was dealt to nobody".into()).into())
    }

    /// Whether every rank did its part of the request of this digest.
    fn check(&self, ours: &[u8], replies: &[Reply]) -> Result<(), RanksError> {
        for (rank, reply) in replies.iter().enumerate() {
            if let Answer::Failed(why) = &reply.answer {
                return Err(RanksError::Failed { rank, why: why.clone() });
            }
            if reply.digest != ours {
                let hex = |bytes: &[u8]| bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
                let what = "the digest of what was released".to_owned();
                return Err(RanksError::Differs { what, rank, ours: hex(ours), theirs: hex(&reply.digest) });
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
