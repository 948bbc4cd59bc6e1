//! The step of a run that promises nothing: the private step without clipping and noise.

use rldp_model::{Adapter, Engine};
use rldp_privacy::{NoisyRelease, PlainSum, Sensitive};

use super::{Mechanism, Passage, pair_sizes, unit_input};
use crate::error::TrainError;

impl Mechanism {
    /// Counts, samples, sums and divides by the expected batch size. `None` when all steps are made.
    ///
    /// # Errors
    /// When the claim is a promise, the ledger cannot be synced, or the engine fails.
    pub(crate) fn plain_step(
        &mut self,
        engine: &mut dyn Engine,
        adapter: &Adapter,
    ) -> Result<Option<NoisyRelease>, TrainError> {
        let Some(step) = self.spender.unsafe_step()? else { return Ok(None) };
        let mut sum = PlainSum::new(step, &pair_sizes(adapter), self.statistics.clone());
        let batch = self.sampled();
        let inputs: Vec<_> = batch.indices().iter().map(|&unit| unit_input(&self.units, unit)).collect();
        let mut passage = Passage::new(adapter.layout(), None);
        engine.for_each_unit_gradient(adapter, &inputs, &mut |_, unit| {
            sum.add_unit(Sensitive::new(passage.forth(unit.gradient)), Sensitive::new(unit.loss));
        })?;
        let release = sum.release(self.batch_size);
        Ok(Some(Passage::new(adapter.layout(), None).back(release)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::{
        Silent, Trainer,
        settings::TrainSettings,
        testing::{demo_settings, demo_trainer},
    };

    fn bare(settings: &mut TrainSettings) {
        settings.privacy.unsafe_non_private = true;
        settings.privacy.epsilon = f64::INFINITY;
        settings.privacy.delta = 0.0;
    }

    /// With everybody in the batch the mean is exact, so two runs agree to the bit although nothing is seeded.
    #[test]
    fn the_full_batch_without_noise_is_deterministic_and_says_that_it_promises_nothing() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let ends = folders.each_ref().map(|folder| {
            let mut settings = demo_settings(folder.path(), 8);
            settings.privacy.batch_size = 8.0;
            settings.privacy.steps = 5;
            bare(&mut settings);
            settings.validate().unwrap();
            let mut trainer = demo_trainer(&settings);
            assert!(trainer.private_step().is_err(), "a run without a promise was charged");
            let outcome = trainer.run(&mut Silent).unwrap();
            assert!(outcome.finished && outcome.warnings.is_empty(), "{:?}", outcome.warnings);
            assert!(trainer.statement().contains("NO PRIVACY GUARANTEE"));
            assert_ne!(trainer.learner.adapter.parameters(), trainer.learner.first_parameters);
            trainer.learner.adapter.parameters().to_vec()
        });
        assert_eq!(ends[0], ends[1]);
    }

    #[test]
    fn what_a_run_without_noise_cannot_have_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut good = demo_settings(folder.path(), 8);
        bare(&mut good);
        good.validate().unwrap();
        let changes: [fn(&mut TrainSettings); 4] = [
            |settings| settings.privacy.epsilon = 4.0,
            |settings| settings.control.controller = rldp_control::ControllerKind::Sac,
            |settings| settings.privacy.regime = crate::settings::RegimeKind::Adaptive,
            |settings| settings.privacy.unsafe_non_private = false,
        ];
        for change in changes {
            let mut settings = good.clone();
            change(&mut settings);
            assert!(settings.validate().unwrap_err().is_usage());
        }
    }

    #[test]
    fn a_private_run_has_no_plain_step() {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = demo_trainer(&demo_settings(folder.path(), 24));
        let Trainer { engine, mechanism, learner, .. } = &mut trainer;
        assert!(mechanism.plain_step(engine.as_mut(), &learner.adapter).is_err());
    }
}
