//! Every other rank: does its part of what rank 0 asks. It has no ledger, no sampler, no noise and no run folder.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rldp_data::PrivacyUnits;
use rldp_model::{Adapter, AdapterLayout, Engine, Sequence};
use rldp_privacy::{Frame, PartialSum};
use rldp_train::{SumTask, sum_units};

use super::message::{Reply, Request, Share, digest, read, received, set_parameters, write};
use crate::{Group, RanksError};

/// What a rank works with.
pub struct Follower<'a> {
    /// Its engine, over the same model as rank 0's.
    pub engine: &'a mut dyn Engine,
    /// Layout of the adapter; `None` where only the base model is used.
    pub layout: Option<AdapterLayout>,
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
    let empty = AdapterLayout::new(1, 1.0, Vec::new(), Vec::new());
    let layout = follower.layout.take();
    let parameters = layout.as_ref().map_or(0, AdapterLayout::parameter_count);
    let mut adapter = Adapter::from_parameters(layout.unwrap_or(empty), vec![0.0; parameters]);
    loop {
        let bytes = group.broadcast(Vec::new())?;
        let digest = digest(&bytes);
        let request: Request = read(&bytes)?;
        if matches!(request, Request::End) {
            return Ok(());
        }
        let share: Share = read(&group.scatter(Vec::new())?)?;
        let mut reply = Reply { digest, stop: follower.stop.load(Ordering::Relaxed), ..Reply::default() };
        let mut sum = None;
        match follower.answer(&mut adapter, request, share) {
            Ok(Answer::Sum(integers)) => sum = Some(integers),
            Ok(Answer::Losses(losses)) => reply.losses = losses,
            Err(error) => reply.failure = Some(error),
        }
        let failed = reply.failure.is_some();
        group.gather(write(&reply)?)?;
        if let Some(mut integers) = sum.filter(|_| !failed) {
            group.reduce(&mut integers)?;
        }
    }
}

enum Answer {
    Sum(Vec<u64>),
    Losses(Vec<(f64, u64)>),
}

impl Follower<'_> {
    /// Does one part. What fails is said in words.
    fn answer(&mut self, adapter: &mut Adapter, request: Request, share: Share) -> Result<Answer, String> {
        let words = |error: &dyn std::error::Error| error.to_string();
        match (request, share) {
            (Request::Sum { frame, parameters }, share @ (Share::Numbered(_) | Share::Dealt(_))) => {
                set_parameters(adapter, &parameters).map_err(|error| words(&error))?;
                self.sum(adapter, &Arc::new(*frame), share).map(Answer::Sum)
            }
            (Request::Losses { parameters }, Share::Sequences(pieces)) => {
                let sequences: Vec<Sequence> = pieces.iter().map(super::message::Piece::sequence).collect();
                if let Some(parameters) = &parameters {
                    set_parameters(adapter, parameters).map_err(|error| words(&error))?;
                }
                let adapter = parameters.is_some().then_some(&*adapter);
                let losses = self.engine.losses(adapter, &sequences).map_err(|error| words(&error))?;
                Ok(Answer::Losses(losses.iter().map(|loss| (loss.nll, loss.tokens as u64)).collect()))
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

/// The parts of this rank's workers as one vector of integers, as long as the frame's numbers.
pub(super) fn own_sum(parts: Vec<PartialSum>, frame: &Arc<Frame>) -> Vec<u64> {
    let mut total: Vec<u64> =
        PartialSum::new(Arc::clone(frame)).to_wire().into_iter().map(i64::cast_unsigned).collect();
    for part in parts {
        for (total, value) in total.iter_mut().zip(part.to_wire()) {
            *total = total.wrapping_add(value.cast_unsigned());
        }
    }
    total
}
