//! The bounds of settings, and what must go together, as far as neither data nor model is needed.

use rldp_control::ControllerKind;
use rldp_privacy::accounting::AccountantKind;

use super::{ClippingKind, GeometryKind, OptimizerKind, RegimeKind, TrainSettings};
use crate::error::TrainError;

impl TrainSettings {
    /// Checks every bound that needs neither data nor model.
    ///
    /// # Errors
    /// The first setting out of range, with its value and bound.
    pub fn validate(&self) -> Result<(), TrainError> {
        let Self { privacy, optimizer, model, data, control, output, .. } = self;
        privacy.validate(control.controller)?;
        data.check_bounds()?;
        model.check_bounds()?;
        optimizer.check_bounds()?;
        control.check_bounds()?;
        control.sac.validate()?;
        output.check_bounds()?;
        self.validate_bands()?;
        self.validate_data()?;
        self.validate_sharing()?;
        if privacy.other_steps > 0 && privacy.regime != RegimeKind::Committed {
            return Err(TrainError::Usage(
                "--other-steps needs --regime committed: only noise that is fixed in advance can be shared by runs"
                    .into(),
            ));
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

    /// Whether the records that are named go together.
    fn validate_data(&self) -> Result<(), TrainError> {
        let Self { data, control, .. } = self;
        data.validate_reading()?;
        if control.public_probe && data.eval.is_none() {
            return Err(TrainError::Usage("--public-probe needs --eval with public records".into()));
        }
        Ok(())
    }

    /// What may not be shared even when it is asked for.
    fn validate_sharing(&self) -> Result<(), TrainError> {
        let Self { data, control, output, privacy, .. } = self;
        if data.allow_shared_eval && control.public_probe {
            return Err(TrainError::Usage(
                "--public-probe rewards the controller by figures of --eval, which --allow-shared-eval lets be private; use one of \
                 the two"
                    .into(),
            ));
        }
        if output.book.is_some() && !self.unsafe_reasons().is_empty() {
            return Err(TrainError::Usage(
                "a run without a privacy guarantee spends without bound, so no --book can hold it; leave one of the two out".into(),
            ));
        }
        if output.book.is_some() && privacy.other_steps > 0 {
            return Err(TrainError::Usage(
                "--book adds up the steps of every run by itself; leave out --other-steps".into(),
            ));
        }
        Ok(())
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
        let seen = control.public_probe || control.unsafe_raw_observations || privacy.unsafe_non_private;
        if control.controller.learns() && !control.frozen && privacy.statistics_share == 0.0 && !seen {
            return Err(TrainError::Usage(format!(
                "--controller {} learns from the paid loss, but --statistics-share is 0; give it a share, such as 0.02, or --public-probe \
                 with --eval, or --frozen-policy with a saved policy",
                control.controller
            )));
        }
        if privacy.regime == RegimeKind::Adaptive && privacy.accountant == AccountantKind::Gdp {
            return Err(TrainError::Usage(
                "--regime adaptive has a Rényi filter, which --accountant gdp does not price; use rdp".into(),
            ));
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
        if let (Some(true), Some(reason)) = (control.rate_adaptation, self.reason_against_adaptation()) {
            return Err(TrainError::Usage(format!("{reason}; use it with --rate-adaptation false")));
        }
        if control.frozen && control.policy.is_none() && control.controller != ControllerKind::Set {
            return Err(TrainError::Usage("--frozen-policy needs --policy with a saved policy to follow".into()));
        }
        Ok(())
    }
}
