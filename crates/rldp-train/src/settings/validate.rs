//! The bounds of settings that need neither data nor model.

use rldp_control::ControllerKind;

use super::{ClippingKind, GeometryKind, OptimizerKind, RegimeKind, TrainSettings};
use crate::error::TrainError;

/// Beyond any run.
const MOST_STEPS: u64 = 1_000_000_000;

impl TrainSettings {
    /// Checks every bound that needs neither data nor model.
    ///
    /// # Errors
    /// The first setting out of range, with its value and bound.
    pub fn validate(&self) -> Result<(), TrainError> {
        let Self { privacy, optimizer, model, data, control, output, .. } = self;
        privacy.validate_target(control.controller)?;
        if !(1..=MOST_STEPS).contains(&privacy.steps) {
            return Err(TrainError::setting("steps", privacy.steps, &format!("between 1 and {MOST_STEPS}")));
        }
        if privacy.other_steps > 0 && privacy.regime != RegimeKind::Committed {
            return Err(TrainError::Usage(
                "--other-steps needs --regime committed: only noise that is fixed in advance can be shared by runs"
                    .into(),
            ));
        }
        self.validate_bands()?;
        positive("batch-size", privacy.batch_size)?;
        within("clip-norm", privacy.clip_norm, 1e-100, 1e100)?;
        within("statistics-share", privacy.statistics_share, 0.0, 0.5)?;
        positive("learning-rate", optimizer.learning_rate)?;
        within("warmup", optimizer.warmup, 0.0, 1.0)?;
        within("beta1", optimizer.beta1, 0.0, 0.999_999)?;
        within("beta2", optimizer.beta2, 0.0, 0.999_999)?;
        positive("adam-epsilon", optimizer.adam_epsilon)?;
        positive("noise-floor", optimizer.noise_floor)?;
        within("weight-decay", optimizer.weight_decay, 0.0, 1.0)?;
        if model.rank == 0 || model.rank > 1024 {
            return Err(TrainError::setting("rank", model.rank, "between 1 and 1024"));
        }
        positive("lora-alpha", model.lora_alpha)?;
        control.sac.validate()?;
        if data.max_length < 2 {
            return Err(TrainError::setting(
                "max-length",
                data.max_length,
                "at least 2 tokens, so that one is predicted",
            ));
        }
        for (name, bound) in
            [("max-records-per-unit", data.max_records_per_unit), ("micro-batch-tokens", model.micro_batch_tokens)]
        {
            if bound == Some(0) {
                return Err(TrainError::setting(name, 0, "at least 1; leave it out for no bound of your own"));
            }
        }
        data.validate_coins()?;
        if data.eval.as_deref() == Some(data.train.as_path()) && data.train.as_os_str() == "-" {
            return Err(TrainError::Usage("standard input can be read once: --train or --eval, not both".into()));
        }
        if data.prompt_column.is_some() != data.completion_column.is_some() {
            return Err(TrainError::Usage("--prompt-column and --completion-column go together".into()));
        }
        if control.interval == 0 || output.eval_every == 0 || output.checkpoint_every == 0 {
            return Err(TrainError::Usage("--interval, --eval-every and --checkpoint-every must be at least 1".into()));
        }
        if control.public_probe && data.eval.is_none() {
            return Err(TrainError::Usage("--public-probe needs --eval with public records".into()));
        }
        if privacy.geometry != GeometryKind::None && optimizer.optimizer == OptimizerKind::AdamBc {
            return Err(TrainError::Usage(
                "--optimizer adam-bc needs noise of one known variance, which --geometry changes from coordinate to \
                 coordinate; use one of the two"
                    .into(),
            ));
        }
        self.validate_controller()
    }

    /// Whether the controller finds what it needs.
    fn validate_controller(&self) -> Result<(), TrainError> {
        let Self { privacy, control, .. } = self;
        if control.controller.needs_statistics() && privacy.statistics_share == 0.0 {
            return Err(TrainError::Usage(format!(
                "--controller {} reads a paid statistic, but --statistics-share is 0; give it a share, such as 0.02",
                control.controller
            )));
        }
        if control.controller.moves_noise_alone() && privacy.regime == RegimeKind::Committed {
            return Err(TrainError::Usage(format!(
                "--controller {} moves nothing but noise, which --regime committed holds fixed; use --regime deck or adaptive",
                control.controller
            )));
        }
        if control.controller.needs_norms() && privacy.clipping == ClippingKind::PairWise {
            return Err(TrainError::Usage(format!(
                "--controller {} sets one threshold for the whole gradient; use it with --clipping joint or flat",
                control.controller
            )));
        }
        if control.controller.needs_shares() && privacy.clipping != ClippingKind::PairWise {
            return Err(TrainError::Usage(format!(
                "--controller {} splits the noise over adapter pairs, which --clipping pair-wise alone can; use it",
                control.controller
            )));
        }
        if control.frozen && control.policy.is_none() && control.controller != ControllerKind::Set {
            return Err(TrainError::Usage("--frozen-policy needs --policy with a saved policy to follow".into()));
        }
        Ok(())
    }
}

pub(super) fn positive(name: &'static str, value: f64) -> Result<(), TrainError> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(TrainError::setting(name, format!("{value:?}"), "positive and finite"))
    }
}

fn within(name: &'static str, value: f64, low: f64, high: f64) -> Result<(), TrainError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(TrainError::setting(name, format!("{value:?}"), &format!("between {low:?} and {high:?}")))
    }
}
