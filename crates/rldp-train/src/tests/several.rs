//! Several processes, played by one: units are dealt, frames and sums cross as bytes and integers, and what comes out is what one process
//! releases, to the bit.

use std::sync::Arc;

use rldp_data::PrivacyUnits;
use rldp_model::{Adapter, Engine};
use rldp_privacy::{Frame, PartialSum};

use crate::{
    Silent, SumTask, Summation, TrainError, sum_units,
    testing::{demo_inputs, demo_settings, demo_trainer, metrics},
};

/// Another process: an engine and a copy of the units of its own.
struct Follower {
    engine: Box<dyn Engine>,
    units: PrivacyUnits,
}

impl Follower {
    /// What it answers when it is sent an adapter's parameters, a frame and numbers of units.
    fn answer(&mut self, adapter: &Adapter, frame: &[u8], share: &[usize]) -> Vec<i64> {
        let frame: Arc<Frame> = Arc::new(rmp_serde::from_slice(frame).unwrap());
        let task = SumTask { adapter, units: &self.units, batch: share, frame: &frame };
        let parts = sum_units(self.engine.as_mut(), &task).unwrap();
        let mut total = vec![0_i64; PartialSum::new(frame).to_wire().len()];
        for part in parts {
            total.iter_mut().zip(part.to_wire()).for_each(|(total, part)| *total = total.wrapping_add(part));
        }
        total
    }
}

/// The first process: sums a third itself, and asks the others for the rest.
struct Dealt {
    followers: Vec<Follower>,
}

impl Summation for Dealt {
    fn sum(&mut self, engine: &mut dyn Engine, task: &SumTask) -> Result<Vec<PartialSum>, TrainError> {
        let share = |rank: usize| -> Vec<usize> {
            task.batch.iter().copied().skip(rank).step_by(self.followers.len() + 1).collect()
        };
        let shares: Vec<Vec<usize>> = (0..=self.followers.len()).map(share).collect();
        let frame = rmp_serde::to_vec(&**task.frame).unwrap();
        let mut sums = sum_units(engine, &SumTask { batch: &shares[0], ..*task })?;
        for (follower, share) in self.followers.iter_mut().zip(&shares[1..]) {
            let integers = follower.answer(task.adapter, &frame, share);
            sums.push(PartialSum::from_wire(Arc::clone(task.frame), integers)?);
        }
        Ok(sums)
    }
}

#[test]
fn three_processes_release_what_one_releases() {
    let ends = [false, true].map(|several| {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = demo_settings(folder.path(), 12);
        settings.privacy.batch_size = 6.0;
        settings.privacy.steps = 4;
        settings.privacy.unsafe_noise_seed = Some(8);
        settings.model.rank = 2;
        let mut trainer = demo_trainer(&settings);
        if several {
            let follower = || {
                let inputs = demo_inputs(&settings);
                Follower { engine: inputs.engine, units: inputs.units }
            };
            trainer.sum_by(Box::new(Dealt { followers: vec![follower(), follower()] }));
        }
        trainer.run(&mut Silent).unwrap();
        (trainer.learner.adapter.parameters().to_vec(), metrics(&settings))
    });
    assert!(ends[0] == ends[1], "the runs differ");
}
