//! The guarantee.

use rldp_control::ControllerKind;
use rldp_privacy::{MOST_BANDS, Scaling, accounting::AccountantKind};

use super::{
    ClippingKind, GeometryKind, RegimeKind,
    describe::{choice, default, derived, positive, required, settings, strictly_between, unset, whole, within},
    groups,
};
use crate::error::TrainError;

/// Beyond any run.
pub(crate) const MOST_STEPS: u64 = 1_000_000_000;

settings! {
    /// What the run must prove, and to whom: everything here touches the guarantee and cannot change on resume.
    #[section("privacy", "Privacy")]
    pub struct PrivacySettings {
        /// Target epsilon.
        epsilon: f64 = required().bound(positive()),
        /// Target delta; far below 1 / number of units. No default, because it is part of the promise.
        delta: f64 = required().bound(strictly_between(0.0, 1.0, ", far below 1/N")),
        /// T, number of noisy steps.
        steps: u64 = derived("as `rldp plan` recommends").bound(whole(1, MOST_STEPS)),
        /// B, expected batch size in units (Poisson sampling).
        batch_size: f64 = derived("as `rldp plan` recommends").bound(positive()),
        /// Steps of other runs on the same records, at the same batch size, that epsilon covers as well: a tuning paid from one
        /// budget.
        other_steps: u64 = default(0),
        /// b, how many steps noise is correlated over, so that later steps take back a part of it; 1 where noise may not be
        /// correlated.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        noise_bands: Option<u64> = derived("what leaves the least noise").bound(whole(1, MOST_BANDS)),
        /// Committed or adaptive noise.
        regime: RegimeKind = choice(RegimeKind::Committed),
        /// Accountant of the committed regime.
        accountant: AccountantKind = choice(AccountantKind::Pld),
        /// What is bounded: every adapter pair, or all of them together.
        clipping: ClippingKind = choice(ClippingKind::Joint),
        /// How gradients come under their bound.
        scaling: Scaling = choice(Scaling::Clip),
        /// Coordinates in which gradients are bounded.
        geometry: GeometryKind = choice(GeometryKind::None),
        /// C, joint L2 bound on one unit's contribution at the start; pair-wise clipping starts at C/√K for each pair.
        clip_norm: f64 = default(0.1).bound(within(1e-100, 1e100)),
        /// w_0, share of every step's budget that buys the released loss and clip fractions; 0 buys none.
        statistics_share: f64 = default(0.02).bound(within(0.0, 0.5)),
        /// Research only, NO PRIVACY: draw sampling and noise from this seed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        unsafe_noise_seed: Option<u64> = unset().group(groups::UNSAFE),
        /// Research only, NO PRIVACY: neither clip nor add noise; takes no --epsilon and --delta, and only --controller fixed.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        unsafe_non_private: bool = default(false).group(groups::UNSAFE),
    }
}

impl PrivacySettings {
    pub(super) fn validate(&self, controller: ControllerKind) -> Result<(), TrainError> {
        if !self.unsafe_non_private {
            return self.check_bounds();
        }
        if self.epsilon != f64::INFINITY || self.delta != 0.0 {
            return Err(TrainError::Usage(format!(
                "--unsafe-non-private trains without noise, so epsilon {} at delta {} would mean nothing; leave both out \
                 (or set epsilon to inf and delta to 0)",
                self.epsilon, self.delta
            )));
        }
        if self.geometry != GeometryKind::None || self.scaling != Scaling::Clip || self.other_steps > 0 {
            return Err(TrainError::Usage(
                "--unsafe-non-private bounds nothing and adds no noise; leave out --geometry, --scaling and --other-steps".into(),
            ));
        }
        if controller != ControllerKind::Fixed || self.regime != RegimeKind::Committed {
            return Err(TrainError::Usage(
                "--unsafe-non-private leaves nothing to steer; use --controller fixed and no --regime".into(),
            ));
        }
        // The two it does without are bounded by what was checked above.
        Self { epsilon: 1.0, delta: 0.5, ..self.clone() }.check_bounds()
    }
}
