//! The one interface of all controllers, and their registry.

use rldp_privacy::{Observable, choices};
use serde_json::{Map, Value};

use crate::{
    action::{Action, ActionBounds},
    baselines::{
        DcSgdController, DcSgdRule, MseSplit, NoiseSchedule, QuantileController, SnrShares, SpectralController,
        WienerSteps,
    },
    error::ControlError,
    fixed::FixedController,
    observation::Observation,
    random::RandomController,
    sac::{SacController, SacSettings, SetController},
    state::StateFormat,
};

/// Chooses the mechanism of the next interval from what was released so far.
pub trait Controller: Send {
    /// A short name for reports.
    fn name(&self) -> &'static str;

    /// One decision: `reward` is that of the interval since the last one (absent at first, or when nothing was
    /// released to judge by), `done` says that no interval follows.
    fn act(&mut self, observation: &Observation, reward: Option<Observable>, done: bool) -> Action;

    /// Figures for the log: functions of what was observed and of the controller's own public randomness.
    fn telemetry(&self) -> Map<String, Value> {
        Map::new()
    }

    /// From now on follows what it has learned by its mean action, and learns no more.
    ///
    /// # Errors
    /// When the controller learns nothing.
    fn freeze(&mut self) -> Result<(), ControlError> {
        Err(ControlError::Frozen(self.name()))
    }

    /// Everything needed to go on exactly from here.
    ///
    /// # Errors
    /// When it cannot be written in this format.
    fn state(&self, format: StateFormat) -> Result<Vec<u8>, ControlError>;

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When the state is another controller's, of another size, or was damaged.
    fn restore(&mut self, format: StateFormat, bytes: &[u8]) -> Result<(), ControlError>;
}

choices! {
    /// The controllers there are. To add one: a file with its type, a line here, a line in [`controller`].
    pub enum ControllerKind as "controller" {
        /// Changes nothing.
        Fixed = "fixed",
        /// Moves at random within the same bounds: the control of SAC.
        Random = "random",
        /// Soft actor-critic, online from scratch, on flat vectors.
        Sac = "sac",
        /// Soft actor-critic over a set of pairs, online from the policy that ships with the program.
        Set = "set",
        /// The same from scratch.
        SetScratch = "set-scratch",
        /// Thresholds follow the median of the norms by a paid count.
        Quantile = "quantile",
        /// The threshold is a percentile of a paid histogram of norms.
        DcSgdP = "dc-sgd-p",
        /// The threshold minimises noise plus bias over a paid histogram of norms.
        DcSgdE = "dc-sgd-e",
        /// The threshold follows the spectrum of the released update.
        Spectral = "spectral",
        /// Shares follow the root of each pair's estimated signal.
        SnrShares = "snr-shares",
        /// Thresholds as quantile, shares in proportion to them.
        MseSplit = "mse-split",
        /// Step sizes follow each pair's Wiener gain.
        Wiener = "wiener",
        /// Noise that rises over the run.
        NoiseRising = "noise-rising",
        /// Noise that falls over the run.
        NoiseFalling = "noise-falling",
    }
}

impl ControllerKind {
    /// Whether it needs the paid histogram of joint norms, which is of flat clipping.
    pub fn needs_norms(self) -> bool {
        matches!(self, Self::DcSgdP | Self::DcSgdE)
    }

    /// Whether it moves the noise multiplier and nothing else.
    pub fn moves_noise_alone(self) -> bool {
        matches!(self, Self::NoiseRising | Self::NoiseFalling)
    }

    /// Whether it moves the learning rate.
    pub fn moves_learning_rate(self) -> bool {
        self.learns() || self == Self::Random
    }

    /// Whether it moves shares, which pair-wise clipping has and no other.
    pub fn needs_shares(self) -> bool {
        matches!(self, Self::SnrShares | Self::MseSplit)
    }

    /// Whether it learns from rewards.
    pub fn learns(self) -> bool {
        matches!(self, Self::Sac | Self::Set | Self::SetScratch)
    }

    /// Whether it needs a paid statistic.
    pub fn needs_statistics(self) -> bool {
        self.needs_norms() || matches!(self, Self::Quantile | Self::MseSplit)
    }
}

/// A controller over `pairs` pairs that decides `decisions` times, if the run goes to its end; `seed` is public and drives its
/// own randomness only.
///
/// # Errors
/// When a setting is out of range.
pub fn controller(
    kind: ControllerKind,
    pairs: usize,
    decisions: u64,
    settings: &SacSettings,
    seed: u64,
) -> Result<Box<dyn Controller>, ControlError> {
    let bounds = ActionBounds::over(decisions);
    Ok(match kind {
        ControllerKind::Fixed => Box::new(FixedController::new(pairs)),
        ControllerKind::Random => Box::new(RandomController::new(pairs, bounds, seed)),
        ControllerKind::Sac => Box::new(SacController::new(pairs, bounds, settings.clone(), seed)?),
        ControllerKind::Set => Box::new(SetController::pretrained(pairs, bounds, settings.clone(), seed)?),
        ControllerKind::SetScratch => Box::new(SetController::from_scratch(pairs, bounds, settings.clone(), seed)?),
        ControllerKind::SnrShares => Box::new(SnrShares::default()),
        ControllerKind::MseSplit => Box::new(MseSplit),
        ControllerKind::Wiener => Box::new(WienerSteps::default()),
        ControllerKind::NoiseRising => Box::new(NoiseSchedule::new(true)),
        ControllerKind::NoiseFalling => Box::new(NoiseSchedule::new(false)),
        ControllerKind::Quantile => Box::new(QuantileController),
        ControllerKind::DcSgdP => Box::new(DcSgdController::new(DcSgdRule::Percentile)),
        ControllerKind::DcSgdE => Box::new(DcSgdController::new(DcSgdRule::Error)),
        ControllerKind::Spectral => Box::new(SpectralController::new(bounds)),
    })
}
