//! Saving a run, and ending it.

use rldp_control::StateFormat;
use rldp_model::peft;

use super::{
    checkpoint,
    provenance::{POLICY_FILE, with_source},
    recorder::files,
    storage::replace,
};
use crate::{
    error::TrainError,
    trainer::{Outcome, Trainer},
};

impl Trainer {
    /// Saves everything needed to go on.
    pub(crate) fn checkpoint(&mut self) -> Result<(), TrainError> {
        let metrics = self.run.recorder.sync()?;
        let state = self.state(metrics)?;
        checkpoint::save(&state, self.run.recorder.folder(), self.run.recorder.storage())
    }

    /// Writes adapter and policy, closes the ledger when the plan is done, and says what went wrong without failing.
    pub(crate) fn finish(&mut self) -> Result<Outcome, TrainError> {
        self.checkpoint()?;
        let mut warnings = Vec::new();
        let finished = self.has_finished();
        // Texts take a while: what was paid for is safe before them.
        if finished && self.write_samples(&mut warnings)? {
            self.checkpoint()?;
        }
        let Self { mechanism, learner, steering, run, .. } = self;
        let (folder, storage) = (run.recorder.folder(), run.recorder.storage());
        let (adapter, policy) = (folder.join(files::ADAPTER), folder.join(files::POLICY));
        fs_err::create_dir_all(&adapter)?;
        fs_err::create_dir_all(&policy)?;
        for (name, bytes) in peft::files(&learner.average.of(&learner.adapter), &run.base_name)? {
            replace(storage, &adapter.join(name), &[&bytes])?;
        }
        let state = with_source(&steering.controller.state(StateFormat::Json)?, mechanism.spender.claim(), folder);
        replace(storage, &policy.join(POLICY_FILE), &[&state, b"\n"])?;
        let steps = mechanism.spender.steps_charged();
        let digests = run.digests(finished)?;
        if finished {
            mechanism.spender.close(digests)?;
        } else {
            mechanism.spender.pause(digests)?;
        }
        if steps > 0 && learner.adapter.parameters() == learner.first_parameters {
            warnings.push("THE ADAPTER DID NOT MOVE although budget was spent; do not use it".to_owned());
        }
        if let Some(fraction) = run.non_finite.alarming() {
            warnings.push(format!(
                "ABOUT {:.0} % OF THE GRADIENTS WERE NOT FINITE and counted as zero; the model's numbers overflow",
                100.0 * fraction
            ));
        }
        let evaluation = run.evaluation.map(|(_, evaluation)| evaluation);
        Ok(Outcome { steps, finished, evaluation, warnings })
    }

    /// Whether no step follows.
    pub(crate) fn has_finished(&self) -> bool {
        let Self { mechanism, learner, run, .. } = self;
        let steps = mechanism.spender.steps_charged();
        steps >= run.settings.privacy.steps || mechanism.spender.is_exhausted() || learner.post.stops()
    }
}
