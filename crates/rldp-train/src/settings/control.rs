//! The controller and its learning.

use std::{borrow::Cow, path::PathBuf};

use rldp_control::{ControllerKind, SacSettings};

use super::{
    Preset, Reader, Setting,
    describe::{at_least, choice, default, derived, settings, unset},
    groups,
};

settings! {
    /// The controller and its learning.
    #[section("control", "Controller")]
    pub struct ControlSettings {
        /// Who chooses clip norms, shares or noise.
        controller: ControllerKind = choice(ControllerKind::Fixed),
        /// Steps between two decisions of the controller.
        interval: u64 = default(10).bound(at_least(1, "")),
        /// Search for the learning rate from released gradients; AdamW's is believed near the default, whatever is given.
        rate_search: bool = default(false),
        /// Let the learning rate follow how far releases agree with each other: up to all that the rule took off for noise, or down.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        rate_adaptation: Option<bool> = derived("true where the learning rate is the rule's, and neither a controller nor a search moves it"),
        /// Saved policy to start from.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        policy: Option<PathBuf> = unset(),
        /// Follow the saved policy's mean action, and learn nothing more.
        frozen: bool = default(false).flag("frozen-policy"),
        /// Begin with the policy of another private run, whose budget adds to this one's; the claim then says so.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        allow_private_policy: bool = default(false),
        /// Declare the --eval file a public probe: the controller is rewarded for its perplexity instead of the released loss.
        public_probe: bool = default(false),
        /// Research only, NO PRIVACY: show the controller gradient norms and losses without noise, as in the paper.
        unsafe_raw_observations: bool = default(false).group(groups::UNSAFE),
        nested
        /// Soft actor-critic.
        sac: SacSettings,
    }
}

/// What of soft actor-critic has a flag; files have all of it.
pub(super) fn described_sac() -> Vec<Setting> {
    let usual = SacSettings::default();
    let one = |key, flag: &'static str, sentence: &str, value: usize| Setting {
        section: "control.sac",
        key,
        flag: Some(Cow::Borrowed(flag)),
        group: "Controller",
        sentence: sentence.to_owned(),
        reader: Reader::Whole,
        default: Preset::Value((value as i64).into()),
    };
    vec![
        one("batch_size", "sac-batch-size", "Transitions of an update of soft actor-critic", usual.batch_size),
        one(
            "updates_per_interval",
            "sac-updates-per-interval",
            "Updates of soft actor-critic at each decision",
            usual.updates_per_interval,
        ),
    ]
}
