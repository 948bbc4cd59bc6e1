//! Every other rank: does its part of what rank 0 asks. It has no ledger, no sampler, no noise and no run folder.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rldp_data::PrivacyUnits;
use rldp_model::{Adapter, Engine, Sequence};
use rldp_privacy::{Frame, PartialSum};
use rldp_train::{SumTask, sum_units};

use super::message::{Answer, Piece, Reply, Request, Share, Weights, digest, read, received, write};
use crate::{Group, RanksError};

/// What a rank works with.
pub struct Follower<'a> {
    /// Its engine, over the same model as rank 0's.
    pub engine: &'a mut dyn Engine,
    /// The units, where every rank reads them.
    pub units: Option<PrivacyUnits>,
    /// Set when somebody asks this process to stop; rank 0 hears of it with the next reply.
    pub stop: Arc<AtomicBool>,
}

/// Serves until rank 0 has nothing more to ask.
///
/// # Errors
/// When rank 0 falls silent or sends what cannot be read. What fails in this rank's own work is told to rank 0, which ends the job.
pub fn serve(group: &mut dyn Group, mut follower: Follower) -> Result<(), RanksError> {
    loop {
        let bytes = group.broadcast(Vec::new())?;
        let request: Request = read(&bytes)?;
        if matches!(request, Request::End) {
            return Ok(());
        }
        let digest = digest(&bytes);
        drop(bytes);
        let share: Share = read(&group.scatter(Vec::new())?)?;
        let began = Instant::now();
        let (answer, sum) = match follower.answer(request, share) {
            Ok(Done::Sum(integers)) => (Answer::Kept, Some(integers)),
            Ok(Done::Said(answer)) => (answer, None),
            Err(why) => (Answer::Failed(why), None),
        };
        let (seconds, stop) = (began.elapsed().as_secs_f64(), follower.stop.load(Ordering::Relaxed));
        group.gather(write(&Reply { digest, seconds, stop, answer })?)?;
        if let Some(mut integers) = sum {
            group.reduce(&mut integers)?;
        }
    }
}

enum Done {
    Sum(Vec<u64>),
    Said(Answer),
}

impl Follower<'_> {
    /// Does one part. What fails is said in words.
    fn answer(&mut self, request: Request, share: Share) -> Result<Done, String> {
        match (request, share) {
            (Request::Sum { frame, adapter }, share @ (Share::Numbered(_) | Share::Dealt(_))) => {
                self.sum(&adapter.adapter().map_err(words)?, &Arc::new(*frame), share).map(Done::Sum)
            }
            (Request::Losses(adapter), Share::Sequences(pieces)) => {
                let losses = self.engine.losses(opened(adapter)?.as_ref(), &sequences(&pieces)).map_err(words)?;
                Ok(Done::Said(Answer::of_losses(&losses)))
            }
            (Request::Tokens(adapter), Share::Sequences(pieces)) => {
                let found =
                    self.engine.token_statistics(opened(adapter)?.as_ref(), &sequences(&pieces)).map_err(words)?;
                Ok(Done::Said(Answer::of_tokens(&found)))
            }
            _ => Err("a share arrived that is not of its request".into()),
        }
    }

    fn sum(&mut self, adapter: &Adapter, frame: &Arc<Frame>, share: Share) -> Result<Vec<u64>, String> {
        let (here, batch): (PrivacyUnits, Vec<usize>);
        let units = match share {
            Share::Numbered(numbers) => {
                let units = self.units.as_ref().ok_or("units were named by number, but this rank has read none")?;
                batch = numbers.iter().map(|&number| number as usize).collect();
                if batch.iter().any(|&unit| unit >= units.len()) {
                    return Err(format!("a unit was named that is not among the {} of this rank", units.len()));
                }
                units
            }
            Share::Dealt(dealt) => {
                here = received(dealt);
                batch = (0..here.len()).collect();
                &here
            }
            Share::Sequences(_) => return Err("sequences arrived where units were due".into()),
        };
        let task = SumTask { adapter, units, batch: &batch, frame };
        sum_units(self.engine, &task).map(|parts| own_sum(parts, frame)).map_err(|error| error.to_string())
    }
}

fn words(error: impl std::error::Error) -> String {
    error.to_string()
}

fn opened(adapter: Option<Weights>) -> Result<Option<Adapter>, String> {
    adapter.map(Weights::adapter).transpose().map_err(words)
}

fn sequences(pieces: &[Piece]) -> Vec<Sequence<'_>> {
    pieces.iter().map(Piece::sequence).collect()
}

/// The parts of this rank's workers as one vector of integers, as long as the frame's numbers.
pub(super) fn own_sum(parts: Vec<PartialSum>, frame: &Arc<Frame>) -> Vec<u64> {
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or_else(|| PartialSum::new(Arc::clone(frame)));
    let mut total: Vec<u64> = first.to_wire().into_iter().map(i64::cast_unsigned).collect();
    for part in parts {
        for (total, value) in total.iter_mut().zip(part.to_wire()) {
            *total = total.wrapping_add(value.cast_unsigned());
        }
    }
    total
}
