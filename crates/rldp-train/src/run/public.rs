//! The warm-up on public text as a part of a run: made once, and kept before anything is charged.

use rldp_model::peft;

use super::{progress::Progress, recorder::files, storage::replace};
use crate::{error::TrainError, trainer::Trainer};

impl Trainer {
    /// The warm-up on public text, where there is any; `false` when it was stopped. Its adapter and a checkpoint are durable before the
    /// first charge, so that no resumed run makes it a second time after that.
    pub(crate) fn warm_up(&mut self, progress: &mut dyn Progress) -> Result<bool, TrainError> {
        let Some(text) = self.public.take() else { return Ok(true) };
        let Self { engine, learner, run, .. } = self;
        let record = text.warm_up(engine.as_mut(), &mut learner.adapter, &run.settings, progress)?;
        let Some(record) = record else { return Ok(false) };
        learner.first_parameters = learner.adapter.parameters().to_vec();
        let folder = run.recorder.folder().join(files::PUBLIC);
        fs_err::create_dir_all(&folder)?;
        for (name, bytes) in peft::files(&learner.adapter, &run.base_name)? {
            replace(run.recorder.storage(), &folder.join(name), &[&bytes])?;
        }
        run.recorder.metric(&record)?;
        self.checkpoint()?;
        Ok(true)
    }

    /// A run that has a checkpoint has made its warm-up: its private steps began at what that left.
    pub(crate) fn keep_warm_up(&mut self) -> Result<(), TrainError> {
        if self.public.take().is_none() {
            return Ok(());
        }
        let folder = self.run.recorder.folder().join(files::PUBLIC);
        let (found, expected) = (peft::load(&folder, self.engine.config())?, self.learner.adapter.parameters().len());
        if found.parameters().len() != expected {
            return Err(TrainError::Corrupt {
                path: folder.display().to_string(),
                reason: format!(
                    "the adapter holds {} numbers, but the run's has {expected}; restore the folder that the run wrote",
                    found.parameters().len()
                ),
            });
        }
        self.learner.first_parameters = found.parameters().to_vec();
        Ok(())
    }
}
